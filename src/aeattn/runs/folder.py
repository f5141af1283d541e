"""A run on disk: config, tokenizer, weights, metrics, samples, checkpoints, and where it all came from."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from aeattn import files
from aeattn.config.run import RunConfig
from aeattn.data.tokenizer import Tokenizer, load_tokenizer
from aeattn.errors import InputError
from aeattn.files import Lock, read_json, replacing, sealed, unseal, write_json

CONFIG_BYTES = 8 << 20  # of config.json, which names the texts: more than a command line can hold
FORMAT = 2  # of run folders; raised when older versions of this package could not read them


class RunFolder:
    """The files of one run, by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config, self.tokenizer = path / "config.json", path / "tokenizer.json"
        self.model, self.metrics = path / "model.safetensors", path / "metrics.jsonl"
        self.samples, self.environment = path / "samples.txt", path / "environment.json"
        self.checkpoints, self.curve = path / "checkpoints", path / "learning_curve.png"
        self._lock: Lock | None = None
        self._is_ours = False  # what lies there was written by us

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

    def create(self, config: RunConfig, tokenizer: Tokenizer, environment: Mapping[str, Any]) -> str | None:
        """Make the folder, lock it, and write what is known before training; the config last, as without one it
        is no run. Returns the warning of `lock`. Raises InputError, and then nothing is left behind."""
        self.check_free()
        new = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            warning = self.lock()
            self.check_free()
            self._write_start(config, tokenizer, environment)
        except OSError as error:
            self._remove_start(new)
            raise InputError(
                f"{self.path} cannot be made ({error.strerror}): name another folder with --out"
            ) from error
        except InputError:
            if self._is_ours:
                self._remove_start(new)
            raise
        return warning

    def _write_start(self, config: RunConfig, tokenizer: Tokenizer, environment: Mapping[str, Any]) -> None:
        self._is_ours = True
        self.remove_leftovers()
        self.checkpoints.mkdir(exist_ok=True)
        with replacing(self.tokenizer) as temporary:
            temporary.write_text(json.dumps(tokenizer.to_dict()) + "\n", encoding="ascii")
        write_json(self.environment, environment)
        self.write_config(config)

    def _remove_start(self, folder_too: bool) -> None:
        """Only where we hold the lock and nobody else had begun a run."""
        if self._lock is None:
            return
        for path in (self.config, self.environment, self.tokenizer):
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

    # -- config and tokenizer ----------------------------------------------------------------------------

    def write_config(self, config: RunConfig) -> None:
        """Write the config with a checksum, by which `read_sealed_config` knows it again."""
        write_json(self.config, sealed({"format": FORMAT, **config.to_dict()}), CONFIG_BYTES)

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
        return load_tokenizer(self.tokenizer)

    def publish(self, weights: bytes) -> None:
        """Put weights where `aeattn generate` finds them."""
        with replacing(self.model) as temporary:
            temporary.write_bytes(weights)

    # -- logs --------------------------------------------------------------------------------------------

    def append_metrics(self, line: dict[str, Any]) -> None:
        files.append(self.metrics, json.dumps(line) + "\n")

    def append_sample(self, step: int, text: str) -> None:
        files.append(self.samples, f"--- step {step}\n{text}\n\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """All lines; a last line that was cut off by a crash is left out."""
        if not self.metrics.exists():
            return []
        return list(_json_lines(self.metrics.read_text(encoding="utf-8", errors="replace")))

    def read_samples(self) -> list[tuple[int, str]]:
        """What was generated as training went on: after how many steps, and the text."""
        if not self.samples.exists():
            return []
        text = self.samples.read_text(encoding="utf-8", errors="replace")
        pieces = re.split(r"^--- step (\d+)\n", text, flags=re.MULTILINE)[1:]
        return [(int(a), b.removesuffix("\n\n")) for a, b in zip(pieces[::2], pieces[1::2], strict=True)]

    def restore_log(self, name: str, content: bytes) -> None:
        """Put back `metrics.jsonl` or `samples.txt`; an empty one is no file."""
        if content:
            with replacing(self.path / name) as temporary:
                temporary.write_bytes(content)
        else:
            (self.path / name).unlink(missing_ok=True)


def _json_lines(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return
