"""What the figures say, in plain words; every word is computed from an interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aeattn.compare.match import PACE_TOLERANCE
from aeattn.compare.metrics import Measure, describe_measure
from aeattn.compare.plan import Declaration
from aeattn.compare.records import Record

MATCHED = {
    "width": "at equal width",
    "parameters": "at equal parameters",
    "flops": "at equal training FLOPs",
    "wall-clock": "at equal training time",
}


def verdict(contrast: dict[str, Any]) -> str:
    """`better`, `worse`, `no difference found`, `one seed`, `no runs`, `not measured` where one arm's runs lack
    the measure; `more`, `less` where neither is better."""
    if not contrast["n"]:
        return "not measured" if contrast["pairs"] else "no runs"
    if contrast["interval"] is None:
        return "one seed"
    low, high = contrast["interval"]
    if low <= 0 <= high:
        return "no difference found"
    better = describe_measure(contrast["measure"]).better
    if better is None:
        return "less" if high < 0 else "more"
    return "better" if (high < 0) == (better == "less") else "worse"


def sentence(contrast: dict[str, Any], declaration: Declaration) -> str:
    """The contrast in one sentence, with its interval."""
    ours, theirs = contrast["labels"]
    where = ("" if _is_equal(contrast, declaration) else "though not ") + MATCHED[contrast["matching"]]
    where += f", {contrast['size']}" if contrast["size"] else ""
    measure, kind = describe_measure(contrast["measure"]), contrast["verdict"]
    if kind == "no runs":
        return f"{ours} against {theirs} {where}: no pair of runs has succeeded yet."
    if kind == "not measured":
        return f"{ours} against {theirs} {where}: one of the two has no {measure.text}, so nothing is compared."
    if kind == "one seed":
        shown = _signed(contrast["mean"], measure)
        return (
            f"{ours} against {theirs} {where}: {shown} {_unit(measure)}, from one seed: no interval is possible."
        )
    if kind == "no difference found":
        return _nothing(contrast, measure, where) + _doubts(contrast)
    return _something(contrast, measure, where, declaration.smallest_effect) + _doubts(contrast)


def _is_equal(contrast: dict[str, Any], declaration: Declaration) -> bool:
    """Whether the two cost the same, in what they were matched by: an arm may be left out of it."""
    ours, theirs = declaration.arm(contrast["arm"]), declaration.arm(contrast["than"])
    shares = {
        "width": 1.0,
        "parameters": ours.parameters / theirs.parameters,
        "flops": ours.train_flops / theirs.train_flops,
        "wall-clock": (1 + (ours.off_by or 0.0)) / (1 + (theirs.off_by or 0.0)),
    }
    tolerance: float = declaration.matching["tolerance"]
    if contrast["matching"] == "wall-clock":
        tolerance = max(tolerance, PACE_TOLERANCE)
    return abs(shares[contrast["matching"]] - 1) <= 2 * tolerance  # each may be off by it


def _nothing(contrast: dict[str, Any], measure: Measure, where: str) -> str:
    ours, theirs = contrast["labels"]
    low, high = contrast["interval"]
    if low == high:
        return f"{ours} and {theirs} have the same {measure.text} {where}, with every seed."
    largest = _plain(max(-low, high), measure)
    return (
        f"No difference between {ours} and {theirs} was found {where}: {_signed(contrast['mean'], measure)} "
        f"{_unit(measure)} [{_signed(low, measure)}, {_signed(high, measure)}]; a difference larger than "
        f"{largest} can be excluded."
    )


def _something(contrast: dict[str, Any], measure: Measure, where: str, smallest_effect: float) -> str:
    ours, theirs = contrast["labels"]
    near, far = sorted(abs(end) for end in contrast["interval"])
    ends = f"[{_plain(near, measure)}, {_plain(far, measure)}]"
    size = " ".join(filter(None, (_plain(abs(contrast["mean"]), measure), measure.unit, ends)))
    if contrast["measure"] != "valid_nats":
        way = "lower" if contrast["mean"] < 0 else "higher"
        baseline = contrast["baseline"]
        share = f" ({100 * contrast['mean'] / abs(baseline):+.1f} %)" if baseline else ""
        return f"{ours} has {way} {measure.text} than {theirs} {where}: by {size}{share}."
    percent = abs(contrast["percent_perplexity"]["mean"])
    text = f"{ours} is {contrast['verdict']} than {theirs} by {size} {where}, {percent:.1f} % of perplexity"
    if far < smallest_effect:
        text += f"; that is less than {smallest_effect:g} nats, declared as the smallest difference that matters"
    elif near < smallest_effect:
        text += f"; it may be less than {smallest_effect:g} nats, declared as the smallest difference that matters"
    return text + "."


def _doubts(contrast: dict[str, Any]) -> str:
    text = ""
    low, high = contrast["interval"]
    found = not low <= 0 <= high
    if found and not contrast["primary"] and contrast["p_holm"] is not None and contrast["p_holm"] > 0.05:
        text += f" Corrected for the number of contrasts this is no longer clear (p = {contrast['p_holm']:.2g})."
    ends = (contrast["bootstrap"] or {}).get("interval")
    if found and ends is not None and ends[0] <= 0 <= ends[1]:
        text += " On other books it might be otherwise: drawn anew with the seeds, they leave 0 in the interval."
    if contrast["lost"]:
        declared = contrast["lost"] + contrast["n"]
        text += f" Of {declared} seeds, {contrast['lost']} failed or are missing in one of the two."
    if not contrast["paired_batches"]:
        text += " The two did not read the same batches."
    return text


def _unit(measure: Measure) -> str:
    return measure.unit if measure.text == "validation loss" else f"{measure.unit} of {measure.text}".lstrip()


def _plain(value: float, measure: Measure) -> str:
    """With as many decimals as the measure has, but never fewer than show what is not 0."""
    digits = measure.digits
    while digits < 7 and value and abs(value) < 0.95 * 10**-digits:
        digits += 1
    return f"{value:,.{digits}f}"


def _signed(value: float, measure: Measure) -> str:
    return ("+" if value > 0 else "") + _plain(value, measure)


def notes(summary: dict[str, Any], declaration: Declaration, records: Sequence[Record]) -> list[str]:
    """What a reader must know besides: failures, missing runs, edges of the grid, sizes that do not match."""
    runs = summary["runs"]
    found = [f"{r['name']} failed ({r['failure']}) and counts nowhere: {r['reason']}" for r in summary["failed"]]
    if runs["missing"]:
        found.append(f"{runs['missing']} of {runs['wanted']} runs are still missing.")
    if len(declaration.seeds["final"]) == 1:
        found.append("One seed was declared: no interval is possible.")
    found += _edges(summary["tuning"])
    if not runs["missing"]:
        lost = [tuning["id"] for tuning in summary["tuning"] if tuning["chosen"] is None]
        found += [f"{id}: no learning rate could be trained." for id in lost]
    found += [
        f"{arm.label} ({arm.id}) is {100 * arm.off_by:+.2f} % off the {arm.matching} of the others."
        for arm in declaration.arms
        if arm.off_by is not None and abs(arm.off_by) > declaration.matching["tolerance"]
    ]
    if declaration.amended:
        found.append(f"The declaration was amended {len(declaration.amended)} time(s) after runs had been made.")
    return found + _provenance(records)


def _edges(tunings: Sequence[dict[str, Any]]) -> list[str]:
    """One sentence for all arms whose optimum is on an edge that was extended, one for all others."""
    found = []
    for extended, what in ((False, ""), (True, ", which was extended there")):
        arms = [tuning["id"] for tuning in tunings if tuning["at_edge"] and tuning["extended"] == extended]
        if arms:
            verb, who = ("does", "it") if len(arms) == 1 else ("do", "they")
            names = " and ".join(filter(None, (", ".join(arms[:-1]), arms[-1])))
            found.append(
                f"{names} {verb} best on the edge of what was searched{what}: {who} may be tuned too little."
            )
    return found


def _provenance(records: Sequence[Record]) -> list[str]:
    places = [record.environment or {} for record in records]
    commits = {str(place.get("commit")) for place in places}
    machines = {f"{place.get('cpu')}, {place.get('threads')} threads" for place in places}
    found = []
    if len(commits) > 1:
        found.append(f"The runs were made with {len(commits)} versions of the code.")
    if any(place.get("dirty") for place in places):
        found.append("Some runs were made with code that was changed after its commit.")
    if len(machines) > 1:
        found.append(f"The runs were made on different machines: {'; '.join(sorted(machines))}.")
    return found
