"""A run on disk: config, tokenizer, weights, metrics, samples, checkpoints, and where it all came from."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aeattn.data.tokenizer import CharTokenizer
from aeattn.errors import InputError
from aeattn.training.config import RunConfig

FORMAT = 1  # of run folders; raised when older versions of this package could not read them


class RunFolder:
    """The files of one run, by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config, self.tokenizer = path / "config.json", path / "tokenizer.json"
        self.model, self.metrics = path / "model.safetensors", path / "metrics.jsonl"
        self.samples, self.environment = path / "samples.txt", path / "environment.json"
        self.checkpoints, self.curve = path / "checkpoints", path / "learning_curve.png"

    def check_free(self) -> None:
        """Raise InputError if something else is there."""
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file: name another folder with --out")
        if self.path.is_dir() and any(self.path.iterdir()):
            kind = "another run" if self.config.exists() else "other files"
            raise InputError(f"{self.path} holds {kind}: name another folder with --out, or go on with `resume`")

    def create(self, config: RunConfig, tokenizer: CharTokenizer, environment: dict[str, Any]) -> None:
        """Make the folder and write what is known before training."""
        self.check_free()
        try:
            self.checkpoints.mkdir(parents=True)
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be made ({error.strerror}): name another folder with --out"
            ) from error
        tokenizer.save(self.tokenizer)
        write_json(self.environment, environment)
        self.write_config(config)

    def write_config(self, config: RunConfig) -> None:
        write_json(self.config, {"format": FORMAT, **config.to_dict()})

    def read_config(self) -> RunConfig:
        """Raises InputError where this is no run, or one of a newer version."""
        values = read_json(self.config, f"{self.path} is no run folder")
        found = values.pop("format", None)
        if not isinstance(found, int) or found > FORMAT:
            raise InputError(
                f"{self.path} has run format {found!r}, this version reads up to {FORMAT}: update aeattn"
            )
        return RunConfig.from_dict(values)

    def read_tokenizer(self) -> CharTokenizer:
        return CharTokenizer.load(self.tokenizer)

    def append_metrics(self, line: dict[str, Any]) -> None:
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """All lines; a last line that was cut off by a crash is left out."""
        if not self.metrics.exists():
            return []
        return list(_json_lines(self.metrics.read_text(encoding="utf-8")))

    def truncate(self, step: int) -> None:
        """Drop metrics and samples after `step`: what a resumed run will write again."""
        kept = [json.dumps(line) + "\n" for line in self.read_metrics() if line["step"] <= step]
        with replacing(self.metrics) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")
        if self.samples.exists():
            pieces = re.split(r"^(?=--- step \d+$)", self.samples.read_text(encoding="utf-8"), flags=re.MULTILINE)
            with replacing(self.samples) as temporary:
                early = [piece for piece in pieces if piece and int(piece.split(maxsplit=3)[2]) <= step]
                temporary.write_text("".join(early), encoding="utf-8")

    def append_sample(self, step: int, text: str) -> None:
        with self.samples.open("a", encoding="utf-8") as file:
            file.write(f"--- step {step}\n{text}\n\n")


def _json_lines(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`: written by the caller, then made durable and renamed over it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """The same for a folder that is not there yet."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for file in temporary.iterdir():
            sync(file)
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sync(path: Path) -> None:
    """Wait until a file or a folder has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, values: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path, complaint: str) -> dict[str, Any]:
    """A JSON object from a file, or InputError that begins with the complaint."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{complaint}: {path.name} is not there") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{complaint}: {path.name} cannot be read ({str(error)[:100]})") from error
    if not isinstance(values, dict):
        raise InputError(f"{complaint}: {path.name} holds no object")
    return values
