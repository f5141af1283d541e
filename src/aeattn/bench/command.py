"""`aeattn bench`: what it prints."""

from __future__ import annotations

import argparse
from typing import Any

from aeattn.bench.picture import draw_training
from aeattn.bench.train import bench_train
from aeattn.output import print_json, print_table, say


def train_speed(options: argparse.Namespace) -> int:
    """Time training steps, draw a picture, print tables; returns the exit code."""
    result = bench_train(
        options.context,
        batch=options.batch,
        rounds=options.rounds,
        nanogpt=options.nanogpt,
        peers=not options.no_peers,
        say=say,
    )
    draw_training(result, options.picture)
    say(f"picture: {options.picture}")
    if options.json:
        print_json(result)
    else:
        for found in result["contexts"].values():
            _print_training_speed(found)
    return 0


def _print_training_speed(found: dict[str, Any]) -> None:
    limits = found["ceilings"]
    contenders = {**found["ours"], **found["peers"]}
    columns = (f"{found['shape']['batch']} x {found['shape']['context']} a step", "parameters", "chars/s", "from",
               "to", "GFLOP/s", "of ceiling")  # fmt: skip
    rows = []
    for name, facts in contenders.items():
        rate = facts["chars_per_second"]
        reached = (
            (f"{facts['gflops']:,.0f}", f"{100 * facts['of_ceiling']:.0f} %") if "gflops" in facts else ("", "")
        )
        speed = (f"{rate[key]:,.0f}" for key in ("median", "low", "high"))
        rows.append((name, f"{facts['parameters']:,}", *speed, *reached))
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
