"""`aeattn generate`: let a model write, as it is drawn."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from aeattn.cli.options import (
    EXAMPLE_RUN,
    Command,
    Example,
    add_declared,
    add_json,
    add_run,
    check_run,
    number,
    whole,
)
from aeattn.errors import InputError
from aeattn.files import read_bytes
from aeattn.terminal.tables import print_json, say, shown
from aeattn.terminal.wrapping import Flow, width_of

if TYPE_CHECKING:
    from aeattn.generation.writer import Writer, Writing

MOST_SAMPLES, MOST_PASSAGES = 100_000, 1_000_000
PROMPT_BYTES = 1 << 26  # that are read of a file
COMPILING_SECONDS = 3.0  # before the user is told what takes so long


def generate(options: argparse.Namespace) -> int:
    if not 1 <= options.samples <= MOST_SAMPLES:
        raise InputError(f"{options.samples:,} samples: choose at least 1 sample, at most {MOST_SAMPLES:,}")
    read = _read_prompts(options)
    if len(read) * options.samples > MOST_PASSAGES:
        raise InputError(
            f"{options.samples:,} samples of {len(read):,} prompts: choose at most {MOST_PASSAGES:,} in all"
        )
    check_run(options.run)

    from aeattn.runs.load import open_writer

    prompts = [prompt for prompt in read for _ in range(options.samples)]
    waiting = "getting ready: the fast engine is compiled once on a machine"
    note = threading.Timer(COMPILING_SECONDS, say, [waiting])
    note.daemon = True
    note.start()
    try:
        writer = open_writer(
            options.run, device=options.device, engine=options.engine, cache=options.cache, say=say
        )
    finally:
        note.cancel()
    heads = [writer.read_prompt(prompt) for prompt in prompts]
    start = time.perf_counter()
    writing = writer.write(
        prompts, chars=options.chars, temperature=options.temperature, top_k=options.top_k, top_p=options.top_p,
        seed=options.seed, stop=options.stop,
    )  # fmt: skip
    if options.json:
        _generate_json(writer, writing, heads, start)
    elif len(prompts) == 1:
        _stream(heads[0], (pieces[0] for pieces in writing))
    else:
        _print_passages(heads, writing)
    return 0


def _generate_json(writer: Writer, writing: Writing, heads: list[str], start: float) -> None:
    pieces = list(writing)
    seconds = time.perf_counter() - start
    texts = [head + "".join(parts) for head, parts in zip(heads, zip(*pieces, strict=True), strict=True)]
    result = {
        "text": texts[0], "chars": writing.chars, "seconds": seconds, "chars_per_second": writing.chars / seconds,
        "cache": "latent" if writer.engine.latent else "full", "cache_bytes": writing.cache_bytes,
        "engine": writer.engine.name,
    }  # fmt: skip
    print_json(result | ({"samples": texts} if len(texts) > 1 else {}))


def _stream(prompt: str, pieces: Iterable[str]) -> None:
    """As it is drawn; a terminal gets lines that are broken between words, a pipe the very text."""
    flow = Flow(width_of(sys.stdout)) if sys.stdout.isatty() else None
    try:
        for piece in chain([prompt], pieces):
            sys.stdout.write(shown(piece) if flow is None else flow.push(shown(piece)))
            sys.stdout.flush()
    finally:
        sys.stdout.write((flow.close() if flow else "") + "\n")
        sys.stdout.flush()


def _print_passages(heads: list[str], writing: Iterable[list[str]]) -> None:
    """Passages one after another. They are written at once, so each waits in a file of its own, not in memory."""
    with ExitStack() as stack:
        files = [
            stack.enter_context(tempfile.SpooledTemporaryFile(1 << 20, "w+", encoding="utf-8", newline=""))
            for _ in heads
        ]
        try:
            for pieces in writing:
                for file, piece in zip(files, pieces, strict=True):
                    file.write(piece)
        finally:  # when interrupted too
            for number, (head, file) in enumerate(zip(heads, files, strict=True), start=1):
                file.seek(0)
                flow = Flow(width_of(sys.stdout)) if sys.stdout.isatty() else None
                sys.stdout.write(f"--- sample {number}\n")
                for piece in chain([head], iter(partial(file.read, 1 << 16), "")):
                    sys.stdout.write(shown(piece) if flow is None else flow.push(shown(piece)))
                sys.stdout.write(flow.close() if flow else "")
                sys.stdout.write("\n")


def _read_prompts(options: argparse.Namespace) -> list[str]:
    if options.prompts is not None:
        prompts = re.sub(r"\r\n?", "\n", _read_text(options.prompts)).removesuffix("\n").split("\n")
        if prompts == [""]:
            raise InputError(f"{options.prompts} has no prompts: write one a line")
        return prompts
    return [str(options.prompt) if options.prompt_file is None else _read_text(options.prompt_file)]


def _read_text(name: str) -> str:
    try:
        most = PROMPT_BYTES
        raw = sys.stdin.buffer.read(most + 1) if name == "-" else read_bytes(Path(name), most, pipes=True)
        if len(raw) > PROMPT_BYTES:
            raise InputError(
                f"the prompt {name} has more than {PROMPT_BYTES:,} bytes: give a part of it at a time"
            )
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"the prompt is no UTF-8 at byte {error.start}: convert it") from error
    except OSError as error:
        raise InputError(f"the prompt {name} cannot be read: {error.strerror}") from error


def _options(parser: argparse.ArgumentParser) -> None:
    from aeattn.config.generation import GenerationConfig

    add_run(parser)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--prompt", default="", metavar="S", help="what the text begins with")
    source.add_argument("--prompt-file", metavar="FILE", help="one prompt; - for standard input")
    source.add_argument("--prompts", metavar="FILE", help="many prompts, one a line; - for standard input")
    parser.add_argument(
        "--samples", type=number, default=1, metavar="N", help="samples for each prompt (default 1)"
    )
    add_declared(parser, GenerationConfig, chars=whole)
    add_json(parser)


COMMAND = Command(
    "generate",
    "generate text with a trained model",
    _options,
    generate,
    examples=(
        Example(f"aeattn generate {EXAMPLE_RUN} --prompt 'The '", "500 characters that go on from a prompt"),
        Example("aeattn generate runs/mine --samples 5 --temperature 1.0 --chars 200", "five varied samples"),
        Example(
            "aeattn generate runs/mine --temperature 0 --cache full --json",
            "the likeliest text, and the cache's bytes",
        ),
    ),
)
