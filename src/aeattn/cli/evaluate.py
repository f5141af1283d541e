"""`aeattn evaluate`: losses over texts."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from aeattn.cli.options import (
    EXAMPLE_RUN,
    Command,
    Example,
    add_device,
    add_json,
    add_run,
    add_settings,
    add_texts,
    add_yes,
    check_run,
    whole,
)
from aeattn.terminal.tables import figure, print_json, print_next, print_table, print_text, print_title

if TYPE_CHECKING:
    from aeattn.config.run import RowsAre
    from aeattn.files import Json


def evaluate(options: argparse.Namespace) -> int:
    from aeattn.files import refuse_existing

    if options.harness is not None:
        refuse_existing(options.harness)
    check_run(options.run)

    from aeattn.integrations.harness import write_task
    from aeattn.terminal.work import Work
    from aeattn.training.evaluate_run import evaluate_run

    column, split = getattr(options, "data.column"), getattr(options, "data.split")
    rows: RowsAre = getattr(options, "data.rows") or "auto"
    with Work() as work:
        result = evaluate_run(
            options.run, options.text, device=options.device, stride=options.stride,
            sliding=not options.no_sliding, baseline=not options.no_baseline, column=column, rows=rows,
            split=split, say=work.note, work=work, rolling=options.harness is not None,
        )  # fmt: skip
    if options.json:
        print_json(result)
    else:
        _print(result)
        print_next(f"aeattn inspect {options.run}", f"aeattn report {options.run}")
    if options.harness is not None:
        write_task(options.harness, options.run, options.text, column=column, rows=rows, split=split)
    return 0


def _print(result: Json) -> None:
    from aeattn.data.quality import Quality

    scores = [*result["files"], {**result, "name": "all"}]
    if "sliding" in result:
        stride = result["sliding"]["stride"]
        scores.append({**result["sliding"], "name": f"all, sliding by {stride}"})
    if "rolling" in result:
        scores.append({**result["rolling"], "name": "all, as lm-evaluation-harness"})
    measures = ("nats_per_char", "bits_per_char", "nats_per_byte", "bits_per_byte")
    rows = [(s["name"], f"{s['chars']:,}", *(figure(s[measure], ".4f") for measure in measures)) for s in scores]
    for order, nats in result.get("ngram_nats_per_char", {}).items():
        bits = result["ngram_bits_per_byte"][order]
        losses = (nats, nats / math.log(2), bits * math.log(2), bits)
        rows.append((f"{order}-gram model", "", *(f"{loss:.4f}" for loss in losses)))
    print_title("Loss: negative log-likelihood, lower is better")
    print_table(("text", "characters", "nats/char", "bits/char", "nats/byte", "bits/byte"), rows)
    print_text(*_legend(result))
    print_title("The text, as the model reads it")
    print_table(("", ""), Quality.from_dict(result["quality"]).rows(), words=2)
    print_text(_conclusion(result))


def _legend(result: Json) -> list[str]:
    lines = ["Each file and `all`: fixed windows, neighbours of the model's whole context."]
    if "sliding" in result:
        lines.append(
            "Sliding: every prediction sees at least the context less the stride, where there is as much."
        )
    if result.get("ngram_nats_per_char"):
        lines.append(
            "n-gram models count the run's training text: what a model must beat to have learnt anything."
        )
    return [" ".join(lines), ""]


def _conclusion(result: Json) -> str:
    """What is to be learnt from the table, in a sentence."""
    nats, counted = result["nats_per_char"], result.get("ngram_nats_per_char")
    said = f"The model predicts this text at {nats:.4f} nats/char ({result['bits_per_char']:.4f} bits/char)"
    if not counted:
        return f"{said}."
    order, best = min(counted.items(), key=lambda item: item[1])
    side = "less" if nats < best else "more"
    return f"{said}, {abs(nats - best):.4f} nats/char {side} than the best n-gram model ({order}-gram)."


def _options(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_texts(parser, "+")
    parser.add_argument(
        "--stride", type=whole, metavar="N", help="tokens that the sliding window moves (default context / 4)"
    )
    parser.add_argument("--no-sliding", action="store_true", help="fixed windows alone: faster")
    parser.add_argument("--no-baseline", action="store_true", help="no n-gram models for scale")
    parser.add_argument("--harness", type=Path, metavar="DIR",
                        help="also as lm-evaluation-harness does, and write the texts as its task")  # fmt: skip
    add_settings(parser, "data", only=("column", "rows", "split"))
    add_yes(parser)
    add_device(parser)
    add_json(parser)


COMMAND = Command(
    "evaluate",
    "measure how well a model predicts a text, in nats/char",
    _options,
    evaluate,
    examples=(
        Example(f"aeattn evaluate {EXAMPLE_RUN} tales", "on text of the same corpus that it has not seen"),
        Example(
            "aeattn evaluate runs/mine another_book.txt --no-sliding --no-baseline",
            "the loss with fixed windows alone: the fastest",
        ),
    ),
)
