"""A run on disk: config, tokenizer, weights, metrics, samples, checkpoints, and where it all came from."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from aeattn import files
from aeattn.config.run import RunConfig, TrainingConfig
from aeattn.errors import Damaged, InputError
from aeattn.files import JSON_BYTES, Json, Lock, parse_json, read_json, sealed, to_json, unseal, write

if TYPE_CHECKING:
    from aeattn.data.tokenizer import Tokenizer

CONFIG_BYTES = 8 << 20  # of config.json, which names the texts: more than a command line can hold
LINE_BYTES = 256  # more than a line of metrics takes in a record of a comparison
FORMAT = 2  # of run folders; raised when older versions of this package could not read them


class RunFolder:
    """The files of one run, by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config, self.tokenizer = path / "config.json", path / "tokenizer.json"
        self.model, self.metrics = path / "model.safetensors", path / "metrics.jsonl"
        self.samples, self.environment = path / "samples.txt", path / "environment.json"
        self.checkpoints, self.curve = path / "checkpoints", path / "learning_curve.png"
        self.tracking = path / "tracking"
        self._lock: Lock | None = None

    # -- whose it is -------------------------------------------------------------------------------------

    def lock(self) -> str | None:
        """Keep other processes out until `unlock` or the end of this one. Returns a warning where the file
        system cannot do that; raises InputError where another process is there."""
        try:
            self._lock = self._lock or Lock(self.path)
        except OSError as error:
            raise InputError(f"{self.path} cannot be opened ({error.strerror}): check the path") from error
        return self._lock.warning

    def unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    # -- the beginning -----------------------------------------------------------------------------------

    def check_free(self) -> None:
        """Raise InputError if something else is there. What a start that was killed left behind is nothing."""
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file: name another folder with --out")
        if not self.path.is_dir():
            return
        ours = {self.tokenizer.name, self.environment.name, self.checkpoints.name}
        others = [path for path in self.path.iterdir() if path.name not in ours and not path.name.endswith(".tmp")]
        if others or (self.checkpoints.is_dir() and any(self.checkpoints.iterdir())):
            kind = "another run" if self.config.exists() else "other files"
            raise InputError(f"{self.path} holds {kind}: name another folder with --out, or go on with `resume`")

    def create(self, config: RunConfig, tokenizer: Tokenizer, environment: Json) -> str | None:
        """Make the folder, lock it, and write what is known before training; the config last, as without one it
        is no run. Returns the warning of `lock`. Raises InputError, and then nothing is left behind."""
        check_logs(config.training)
        start = {
            self.tokenizer: json.dumps(tokenizer.to_dict()).encode() + b"\n",
            self.environment: to_json(environment, self.environment),
            self.config: config_content(config, self.config),
        }
        self.check_free()
        new = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            warning = self.lock()
            self.check_free()
            self.remove_leftovers()
            self.checkpoints.mkdir(exist_ok=True)
            for path, content in start.items():
                write(path, content)
        except OSError as error:
            self._remove(start, new)
            raise InputError(
                f"{self.path} cannot be made ({error.strerror}): name another folder with --out"
            ) from error
        return warning

    def _remove(self, start: Iterable[Path], folder_too: bool) -> None:
        if self._lock is None:
            return
        for path in start:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        with suppress(OSError):
            self.checkpoints.rmdir()
            if folder_too:
                self.path.rmdir()

    def remove_leftovers(self) -> None:
        """Drop the temporary files of processes that were killed. Only for whoever holds the lock."""
        for folder in (self.path, self.checkpoints):
            files.remove_leftovers(folder)

    def check_writable(self) -> None:
        """Raise InputError where nothing can be written."""
        try:
            with tempfile.TemporaryFile(dir=self.path) as file:
                file.write(b"\n")
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be written to ({error.strerror}): free some space, or get the permission to"
            ) from error

    def check_space(self, needed: int) -> None:
        """Raise InputError where the file system has less room than `needed` bytes."""
        there = next(path for path in (self.path, *self.path.absolute().parents) if path.exists())
        try:
            free = shutil.disk_usage(there).free
        except OSError:  # a file system that does not say
            return
        if free < needed:
            raise InputError(
                f"the run needs about {needed / 1e6:,.1f} MB in {self.path}, {free / 1e6:,.1f} MB are free: make "
                "room, name another folder with --out, or lower keep_checkpoints"
            )

    # -- config and tokenizer ----------------------------------------------------------------------------

    def write_config(self, config: RunConfig) -> None:
        """Write the config with a checksum, by which `read_sealed_config` knows it again."""
        write(self.config, config_content(config, self.config))

    def read_config(self) -> RunConfig:
        """Raises InputError where this is no run, or one of a newer version."""
        return self.read_sealed_config()[0]

    def read_sealed_config(self) -> tuple[RunConfig, bool]:
        """The config, and whether it is as it was written."""
        if self.checkpoints.is_dir() and not self.config.exists():
            raise InputError(
                f"{self.path} is no run folder: config.json is not there, so training had not begun: start it "
                "again with `aeattn train`"
            )
        values = read_json(self.config, f"{self.path} is no run folder", CONFIG_BYTES)
        whole = unseal(values)
        found = values.pop("format", None)
        if not isinstance(found, int) or found > FORMAT:
            raise InputError(
                f"{self.path} has run format {str(found)[:20]}, this version reads up to {FORMAT}: update aeattn"
            )
        return RunConfig.from_dict(values), whole

    def read_tokenizer(self) -> Tokenizer:
        from aeattn.data.tokenizer import load_tokenizer  # NumPy comes with it: not for a folder that is no run

        return load_tokenizer(self.tokenizer)

    def publish(self, weights: bytes) -> None:
        """Put weights where `aeattn generate` finds them."""
        write(self.model, weights)

    # -- logs --------------------------------------------------------------------------------------------

    def append_metrics(self, line: Json) -> None:
        files.append(self.metrics, json.dumps(line) + "\n")

    def append_sample(self, step: int, text: str) -> None:
        files.append(self.samples, f"--- step {step}\n{text}\n\n")

    def read_log(self, name: str) -> bytes:
        """What `metrics.jsonl` or `samples.txt` holds, nothing where it is not there. Raises InputError where it
        cannot be read."""
        path = self.path / name
        try:
            return files.read_bytes(path, sys.maxsize - 1)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}): restore it, or remove it") from error

    def read_metrics(self) -> list[Json]:
        """All lines; a last line that was cut off by a crash is left out."""
        lines: list[Json] = []
        with suppress(Damaged):
            for line in self.read_log(self.metrics.name).splitlines():
                lines.append(parse_json(line, self.metrics.name))
        return lines

    def read_samples(self) -> list[tuple[int, str]]:
        """What was generated as training went on: after how many steps, and the text."""
        text = self.read_log(self.samples.name).decode("utf-8", errors="replace")
        pieces = re.split(r"^--- step (\d+)\n", text, flags=re.MULTILINE)[1:]
        return [(int(a), b.removesuffix("\n\n")) for a, b in zip(pieces[::2], pieces[1::2], strict=True)]

    def restore_log(self, name: str, content: bytes) -> None:
        """Put back `metrics.jsonl` or `samples.txt`; an empty one is no file. Raises InputError where something
        else has its name."""
        self.read_log(name)
        if content:
            write(self.path / name, content)
        else:
            (self.path / name).unlink(missing_ok=True)


def config_content(config: RunConfig, path: Path) -> bytes:
    """What config.json of a run holds."""
    return to_json(sealed({"format": FORMAT, **config.to_dict()}), path, CONFIG_BYTES)


def check_logs(settings: TrainingConfig) -> None:
    """Raise InputError for metrics or samples that would be too many to be read as JSON when all is trained."""
    steps, tenth = settings.steps, -(-settings.steps // 10)
    evaluations, samples = (tenth if n is None else n for n in (settings.eval_every, settings.sample_every))
    lines = steps // max(1, (evaluations or steps) // 10)
    sampled = steps // samples * settings.sample_chars if samples else 0
    for name, needed in (("eval_every", lines * LINE_BYTES), ("sample_every", 4 * sampled)):
        if needed > JSON_BYTES:
            raise InputError(f"{name} is so small that {needed:,} bytes would be logged: choose a larger one")
