"""`aeattn bench train` and `aeattn bench generate`: speed as tables, a picture and JSON."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aeattn.terminal.tables import print_json, print_table, say


def bench(options: argparse.Namespace) -> int:
    measure, draw, print_tables = BENCHES[options.bench](options)
    result = measure()
    draw(result, options.picture)
    say(f"picture: {options.picture}")
    (print_json if options.json else print_tables)(result)
    return 0


Result = dict[str, Any]
# what measures, what draws, what prints
Bench = tuple[Callable[[], Result], Callable[[Result, Path], None], Callable[[Result], None]]


def _shared(options: argparse.Namespace) -> dict[str, Any]:
    """What both measurements are told alike."""
    return {"rounds": options.rounds, "nanogpt": options.nanogpt, "peers": not options.no_peers, "say": say}


# -- train -------------------------------------------------------------------------------------------------


def _training(options: argparse.Namespace) -> Bench:
    from aeattn.benchmarks.picture import draw_training
    from aeattn.benchmarks.train import bench_train

    def measure() -> Result:
        return bench_train(
            options.context,
            batch=options.batch,
            **_shared(options),
        )

    return measure, draw_training, _print_training


def _print_training(result: Result) -> None:
    for found in result["contexts"].values():
        _print_training_speed(found)
    speeds = (f"{speed:,.0f} MB/s of {alphabet}" for alphabet, speed in result["encoding"].items())
    print(f"characters to ids: {', '.join(speeds)}")


def _print_training_speed(found: Result) -> None:
    limits = found["ceilings"]
    contenders = {**found["ours"], **found["peers"]}
    columns = (f"{found['shape']['batch']} x {found['shape']['context']} a step", "parameters", "chars/s", "from",
               "to", "GFLOP/s", "of ceiling")  # fmt: skip
    rows = []
    for name, facts in contenders.items():
        reached = (
            (f"{facts['gflops']:,.0f}", f"{100 * facts['of_ceiling']:.0f} %") if "gflops" in facts else ("", "")
        )
        rows.append((name, f"{facts['parameters']:,}", *_speed(facts), *reached))
    print_table(columns, rows)
    times = [(name, *(f"{r[k]:.2f}" for k in ("median", "low", "high"))) for name, r in found["ratio"].items()]
    print_table(("autoencoder attention is faster by", "times", "from", "to"), times)
    shares = [(part, *(f"{100 * found['parts'][name][part]:.0f}" for name in found["parts"]))
              for part in next(iter(found["parts"].values()))]  # fmt: skip
    print_table(("where the time goes, %", *found["parts"]), shares)
    for precision, rates in limits["gflops"].items():
        print(
            f"products of {precision}: {', '.join(f'{rate:,.0f} GFLOP/s {name}' for name, rate in rates.items())}"
        )
    print(f"memory: {limits['gigabytes_per_second']:.1f} GB/s; {limits['threads']} threads")
    for name, reason in found["skipped"].items():
        print(f"{name}: not timed; {reason}")


# -- generate ----------------------------------------------------------------------------------------------


def _writing(options: argparse.Namespace) -> Bench:
    from aeattn.benchmarks.generate import bench_generate
    from aeattn.benchmarks.picture_generate import draw_generation

    def measure() -> Result:
        return bench_generate(
            options.run,
            chars=options.chars,
            batches=options.batch,
            lengths=[] if options.no_long else options.lengths,
            **_shared(options),
        )

    return measure, draw_generation, _print_writing


def _print_writing(result: Result) -> None:
    for found in result["batches"].values():
        _print_writing_speed(found)
    _print_long(result["long_context"])


def _print_writing_speed(found: Result) -> None:
    rows = []
    for name, facts in {**found["ours"], **found["peers"]}.items():
        times = found["ratio"].get(name)
        kept = f"{facts['cache_bytes']:,}" if "cache_bytes" in facts else ""
        rows.append((name, *_speed(facts), f"{times['median']:.1f}" if times else "", kept))
    shape = found["shape"]
    columns = (f"{shape['batch']} at once, {shape['chars']} characters", "chars/s", "from", "to", "ours: times",
               "cache bytes")  # fmt: skip
    print_table(columns, rows)
    for name, limit in found["ceilings"]["chars_per_second"].items():
        if limit:
            print(f"ceiling by {name}: {limit:,.0f} characters a second")
    for name, reason in found["skipped"].items():
        print(f"{name} is left out: {reason}")


def _print_long(found: Result) -> None:
    for key, title in (("chars_per_second", "characters a second"), ("cache_bytes", "cache bytes")):
        rows = [(name, *(f"{value:,.0f}" for value in curve[key])) for name, curve in found["curves"].items()]
        if found["lengths"]:
            print_table((f"{title}, by length", *(f"{n:,}" for n in found["lengths"])), rows)


def _speed(facts: Result) -> tuple[str, ...]:
    rate = facts["chars_per_second"]
    return tuple(f"{rate[key]:,.0f}" for key in ("median", "low", "high"))


BENCHES: dict[str, Callable[[argparse.Namespace], Bench]] = {"train": _training, "generate": _writing}
