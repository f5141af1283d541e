"""`aeattn bench generate`: how fast text is written, as tables, a picture and JSON."""

from __future__ import annotations

import argparse
from typing import Any

from aeattn.commands.printing import print_json, print_table, say


def bench_generate(options: argparse.Namespace) -> int:
    from aeattn.bench import generate
    from aeattn.bench.picture_generate import draw_generation

    result = generate.bench_generate(
        options.run,
        chars=options.chars,
        batches=options.batch,
        rounds=options.rounds,
        nanogpt=options.nanogpt,
        peers=not options.no_peers,
        lengths=[] if options.no_long else options.lengths,
        say=say,
    )
    draw_generation(result, options.picture)
    say(f"picture: {options.picture}")
    if options.json:
        print_json(result)
    else:
        for found in result["batches"].values():
            _print_speed(found)
        _print_long(result["long_context"])
    return 0


def _print_speed(found: dict[str, Any]) -> None:
    rows = []
    for name, facts in {**found["ours"], **found["peers"]}.items():
        rate = facts["chars_per_second"]
        speed = (f"{rate[key]:,.0f}" for key in ("median", "low", "high"))
        times = found["ratio"].get(name)
        kept = f"{facts['cache_bytes']:,}" if "cache_bytes" in facts else ""
        rows.append((name, *speed, f"{times['median']:.1f}" if times else "", kept))
    shape = found["shape"]
    columns = (f"{shape['batch']} at once, {shape['chars']} characters", "chars/s", "from", "to", "ours: times",
               "cache bytes")  # fmt: skip
    print_table(columns, rows)
    for name, limit in found["ceilings"]["chars_per_second"].items():
        if limit:
            print(f"ceiling by {name}: {limit:,.0f} characters a second")
    for name, reason in found["skipped"].items():
        print(f"{name} is left out: {reason}")


def _print_long(found: dict[str, Any]) -> None:
    for key, title in (("chars_per_second", "characters a second"), ("cache_bytes", "cache bytes")):
        rows = [(name, *(f"{value:,.0f}" for value in curve[key])) for name, curve in found["curves"].items()]
        if found["lengths"]:
            print_table((f"{title}, by length", *(f"{n:,}" for n in found["lengths"])), rows)
