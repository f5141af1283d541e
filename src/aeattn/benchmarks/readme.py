"""What the README says that stands elsewhere: figures, from records, and the address of the repository."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec

from aeattn.benchmarks.results import GenerationBench, TrainingBench
from aeattn.benchmarks.tables import Block, Table, interval, paired, to_markdown
from aeattn.compare.metrics import LOSSES
from aeattn.compare.records import CACHED_CHARS
from aeattn.compare.study import parts_of
from aeattn.report.answer import answer as answer_of
from aeattn.report.answer import capital, chief
from aeattn.report.data import Comparison, load
from aeattn.report.study import make_page, with_joint

PICTURE = "[![Loss of each variant against standard attention](docs/first/report.svg)](docs/first/report.md)"
PEER, BF16 = "nanoGPT", "bfloat16"
COLUMNS = ("measured", "standard", "auto&shy;encoder")  # three that are no wider than a phone
LENGTH = CACHED_CHARS  # of the context at which generation is compared
MISSING = "not measured yet"
SECOND = "docs/second/report"  # of the study against rivals, without what follows the dot
UNDER_WAY = (
    "Whether rivals with as small a cache, such as multi-query attention, lose less is not known yet: a "
    "[screening](docs/screening/report.md) of many designs has said where to look, and the comparison is "
    "[pre-registered](docs/experiments.md#screening-and-the-second-comparison) and under way."
)


def with_facts(readme: str, root: Path) -> str:
    """The README of a checkout with each `<!-- from NAME -->` ... `<!-- end -->` filled anew."""
    results, first = root / "results", root / "results" / "first"
    found = measured(results)
    facts = {"results/speed": headline(found), "results": bargain(found), "results/first": answer(load(first)),
             "results/second": rivals(results / "second"),
             "pyproject.toml": clone(root / "pyproject.toml")}  # fmt: skip

    def filled(match: re.Match[str]) -> str:
        return f"{match[1]}\n{facts[match[2]]}\n{match[3]}"

    return re.sub(r"(<!-- from (\S+) -->)\n(?:.*?\n)??(<!-- end -->)", filled, readme, flags=re.DOTALL)


def clone(pyproject: Path) -> str:
    """How to get the source, from where `[project.urls]` says that it is."""
    address = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["urls"]["Repository"]
    note = "\n\nOWNER is the account where you found this page." if "/OWNER/" in address else ""
    return f"```sh\ngit clone {address} && cd {address.rsplit('/', 1)[-1]}\npip install .\n```{note}"


# -- the answer of the study -------------------------------------------------------------------------------


def rivals(study: Path) -> str:
    """What the study against rivals with small caches has found: its picture, the conditions, the commands that
    measure it again, and its primary differences."""
    parts = parts_of(study)
    if not parts:
        return UNDER_WAY
    page = make_page(study)
    done, wanted = (sum(getattr(part.summary.runs, name) for part in parts) for name in ("done", "wanted"))
    hero = page.hero.figures[0].title if page.hero else None
    picture = f"[![{hero}]({SECOND}.svg)]({SECOND}.md)" if hero else ""
    commands = ", ".join(f"`aeattn compare {study.name}-{part.folder.name}`" for part in parts)
    blocks = [
        f"**{page.answer}**",
        picture,
        "" if done == wanted else f"So far, with {done} of {wanted} runs done.",
        page.conditions,
        f"[All of it]({SECOND}.md). To measure it again: {commands}.",
        "\n".join(f"- {said}" for said in page.detail),
    ]
    return "\n\n".join(filter(None, blocks))


# -- the answer of a comparison ----------------------------------------------------------------------------


def answer(comparison: Comparison) -> str:
    """The answer of a comparison, as far as it has been run, with its conditions, other losses of the same variant
    beside those of controls, and its picture."""
    summary = comparison.summary
    said = [f"**{answer_of(comparison)}**"]
    if summary is None or all(c.mean is None for c in summary.contrasts if c.primary):
        return said[0]
    runs = summary.runs
    so_far = "" if runs.done == runs.wanted else f"So far, with {runs.done} of {runs.wanted} runs done."
    primary = {c.arm for c in summary.contrasts if c.primary}
    others = (c for c in summary.contrasts if not c.primary and c.measure in LOSSES and c.arm in primary)
    controls = "\n\n".join(contrast.sentence for contrast in others)
    return "\n\n".join(filter(None, [*said, so_far, summary.conditions, controls, PICTURE]))


# -- what one pays, and what one gets ----------------------------------------------------------------------


Rows = list[tuple[str, ...]]
Measured = list[tuple[Rows, str]]
"""The rows of the table, and what must be said of each group of them."""


def measured(results: Path) -> Measured:
    """What the records of a folder say."""
    peer = (_peer(results, record) for record in ("train", "train-460k"))
    return [_loss_and_cache(results), _generation(results), _training(results), *peer]


def bargain(found: Measured) -> str:
    """Loss, bytes of cache and speed beside standard attention, with the difference under ours, and under which
    conditions each was measured."""
    rows: list[tuple[str, ...]] = []
    conditions: list[str] = []
    for marked, said in found:
        rows += [
            (f"{name} [{len(conditions) + 1}]", standard, f"{ours}<br>{found}" if ours else found)
            for name, standard, ours, found in marked
        ]
        conditions.append(said)
    table = Table(COLUMNS, rows)
    notes = "\n".join(f"{n}. {said}" for n, said in enumerate(conditions, 1))
    blocks: list[Block] = [table, notes, "[All measurements](results/README.md)."]
    return "\n".join(to_markdown(blocks))


def headline(found: Measured) -> str:
    """What the bargain saves, in one sentence: what has been measured of it."""
    (_, cache), (generation,), (training,), (peer,), (faster,) = ([row[-1] for row in rows] for rows, _ in found)
    parts = [
        (cache, "a KV cache {}"),
        (generation, f"generating {{}} with {LENGTH:,} characters of context"),
        (training, "training {}"),
        (peer, "training {}"),
        (faster, f"{{}} with {BF16}"),
    ]
    *said, beside, fast = (
        None if cell == MISSING else form.format(cell.split(" [")[0] + cell.partition("]")[2])
        for cell, form in parts
    )
    known = [part for part in said if part]
    sentences = [f"Beside standard attention: {', '.join(known)}."] if known else []
    besides = [part for part in (beside, fast) if part]
    sentences += [f"Beside {PEER}: {', '.join(besides)}."] if besides else []
    return f"**{' '.join(sentences)}** [Conditions](#the-bargain)" if sentences else ""


def _loss_and_cache(results: Path) -> tuple[Rows, str]:
    study = results / "second"
    comparison, contrast = chief(with_joint(parts_of(study))) or (None, None)
    summary = comparison.summary if comparison else None
    if not comparison or not summary or not contrast or contrast.center is None or contrast.shown is None:
        names = ("loss, nats/char", "KV cache, bytes a token")
        return [(name, "", "", MISSING) for name in names], "Not measured."
    low, high = contrast.shown
    both = (contrast.than, contrast.arm)
    losses = (arm.mean for name in both for arm in summary.arms if arm.id == name)
    theirs, ours = (comparison.mean_kept_bytes(name) or 0.0 for name in both)
    rows: Rows = [
        ("loss, nats/char", *(f"{loss:.4f}" for loss in losses),
         f"{contrast.center:+.4f} [{low:+.4f}, {high:+.4f}]"),
        ("KV cache, bytes a token", f"{theirs:,.0f}", f"{ours:,.0f}", f"{_times(theirs / ours)} smaller"),
    ]  # fmt: skip
    return rows, (
        f"{capital(contrast.labels[0])} in the second comparison, under the conditions at the top of this page: "
        "means over seeds, and the difference with its interval; less is better. Caches hold float32 numbers, and "
        f"are counted over all layers, the last inputs of convolutions spread over {CACHED_CHARS:,} characters."
    )


def _times(ratio: float) -> str:
    return f"{ratio:.1f} times"


def _generation(results: Path) -> tuple[Rows, str]:
    path = results / "speed" / "generate.json"
    found = msgspec.json.decode(path.read_bytes(), type=GenerationBench) if path.exists() else None
    name = f"chars/s generated, {LENGTH:,} in context"
    if found is None or LENGTH not in found.long_context.lengths:
        return [(name, "", "", MISSING)], "Not measured."
    at = found.long_context.lengths.index(LENGTH)
    curves = [curve.chars_per_second[at] for curve in found.long_context.curves.values()]
    ours, standard = curves[0], curves[-1]
    earlier = "" if found.engine else ", by an earlier version of the decoding loop than the one that is here"
    row = (name, f"{standard:,.0f}", f"{ours:,.0f}", f"{_times(ours / standard)} as fast")
    return [row], (
        f"One sequence whose context is full, models of {found.model['parameters']:,} parameters, the best of "
        f"three{earlier}. `{found.command}`, {_machine(found.environment)}."
    )


def _training(results: Path) -> tuple[Rows, str]:
    found = _bench(results, "cost")
    if found is None:
        return [("training, chars/s", "", "", MISSING)], "Not measured."
    speed = next(iter(found.contexts.values()))
    ours, standard = speed.ours
    medians = (f"{speed.ours[who].chars_per_second.median:,.0f}" for who in (standard, ours))
    faster = interval(paired(speed, standard), 2)
    row = ("training, chars/s", *medians, f"{faster} times as fast")
    return [row], f"{_steps(found)}. `{found.command} --no-peers`, {_machine(found.environment)}."


def _peer(results: Path, record: str) -> tuple[Rows, str]:
    found = _bench(results, record)
    if found is None:
        return [(f"training beside {PEER}, chars/s", "", "", MISSING)], "Not measured."
    speed = next(iter(found.contexts.values()))
    theirs = max(
        (timed for name, timed in speed.peers.items() if name.startswith(f"{PEER},")),
        key=lambda timed: timed.chars_per_second.median,
    )
    ours = next(iter(speed.ours.values()))
    peer, own = (f"{timed.chars_per_second.median:,.0f}" for timed in (theirs, ours))
    fast = speed.ceilings.best(BF16) > speed.ceilings.best("float32")
    where = f"the same with {BF16}" if fast else f"training beside {PEER}"
    row = (f"{where}, chars/s", f"{PEER}: {peer}", own,
           f"{interval(paired(speed, PEER), 2)} times as fast")  # fmt: skip
    return [row], (
        f"{_steps(found)}, {PEER} with {theirs.parameters:,} parameters in the faster of its modes, ours with "
        f"{ours.parameters:,}. `{found.command}`, {_machine(found.environment)}, "
        f"{'with' if fast else 'without'} fast products in {BF16}."
    )


def _bench(results: Path, name: str) -> TrainingBench | None:
    path = results / "speed" / f"{name}.json"
    return msgspec.json.decode(path.read_bytes(), type=TrainingBench) if path.exists() else None


def _steps(found: TrainingBench) -> str:
    shape = next(iter(found.contexts.values())).shape
    each = f"{shape['batch']} x {shape['context']} characters"
    return f"Steps of {each} in turn; the median of the rounds' ratios, and its 95 % interval"


def _machine(environment: dict[str, object]) -> str:
    return f"{environment['cpu']}, {environment['threads']} threads"
