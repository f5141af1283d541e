"""What the figures say, in plain words; every word is computed from an interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aeattn.compare.declaration import Declaration
from aeattn.compare.intervals import LEVEL, percent_perplexity
from aeattn.compare.match import TIME_TOLERANCE
from aeattn.compare.metrics import LOSSES, Measure, describe_measure
from aeattn.compare.records import Record
from aeattn.compare.results import ContrastResult, FailedRun, RunCounts, TuningResult, Verdict
from aeattn.compare.spec import Tuning

MATCHED = {
    "width": "at equal width",
    "parameters": "at equal parameters",
    "flops": "at equal training FLOPs",
    "wall-clock": "at equal training time",
}
BUDGETS = {"chars": "characters", "flops": "training FLOPs", "minutes": "minutes of training"}
SCREENING = "A screening makes no claims: it says which variants deserve a comparison."
AT_ONCE = 200  # characters of what an amendment changed, as part of a sentence
_SHARES = {0.25: "a quarter", 0.5: "half"}


def verdict(contrast: ContrastResult, smallest_effect: float) -> Verdict:
    """What the shown interval says. Within the smallest difference that matters, losses are `equivalent`; figures
    of which neither is better are `more` or `less`."""
    interval = contrast.shown
    if contrast.center is None or interval is None:
        return contrast.verdict
    low, high = interval
    better = describe_measure(contrast.measure).better
    if interval != (0, 0) and contrast.measure in LOSSES and max(-low, high) <= smallest_effect:
        return "equivalent"
    if not _differs(contrast, interval):
        return "no difference found"
    if contrast.family:
        low = high = contrast.center  # Holm's correction may find what an interval for all at once does not
    if better is None:
        return "less" if high < 0 else "more"
    return "better" if (high < 0) == (better == "less") else "worse"


def _differs(contrast: ContrastResult, interval: tuple[float, float]) -> bool:
    if contrast.family:
        return contrast.p_holm is not None and contrast.p_holm < 1 - LEVEL
    return not interval[0] <= 0 <= interval[1]


def sentence(contrast: ContrastResult, declaration: Declaration) -> str:
    """The contrast in one sentence, with its interval."""
    where = ("" if _is_equal(contrast, declaration) else "though not ") + MATCHED[contrast.matching]
    where += f", {contrast.size}" if contrast.size else ""
    if contrast.center is None or contrast.shown is None:
        return " against ".join(contrast.labels) + f" {where}: {_without_interval(contrast)}"
    found = Found(contrast.center, *contrast.shown, describe_measure(contrast.measure))
    said = _said(contrast, found, where, declaration.smallest_effect) + _doubts(contrast, found)
    return said if contrast.primary or found.is_exact else f"Exploratory: {said}"


@dataclass(frozen=True)
class Found:
    """A mean difference with the interval to show."""

    mean: float
    low: float
    high: float
    measure: Measure

    @property
    def is_exact(self) -> bool:
        """The same with every seed."""
        return self.low == self.high

    @property
    def excludes_0(self) -> bool:
        return not self.low <= 0 <= self.high

    def signed(self) -> str:
        low, mean, high = (self.measure.signed(value) for value in (self.low, self.mean, self.high))
        return f"{mean} {self.measure.unit_in_text} [{low}, {high}]"

    def size(self) -> str:
        if not self.excludes_0 and not self.is_exact:
            return self.signed()
        near, far, mean = (
            self.measure.plain(x) for x in (*sorted((abs(self.low), abs(self.high))), abs(self.mean))
        )
        return " ".join(filter(None, (mean, self.measure.unit, f"[{near}, {far}]")))


def brief(contrast: ContrastResult) -> str:
    """What came of a contrast among several, in a phrase."""
    ours, theirs = contrast.labels
    if contrast.center is None or contrast.shown is None:
        return f"{ours} against {theirs}: {contrast.verdict}"
    found = Found(contrast.center, *contrast.shown, describe_measure(contrast.measure))
    said = {
        "better": f"{ours} is better than {theirs}",
        "worse": f"{ours} is worse than {theirs}",
        "equivalent": f"{ours} and {theirs} are equivalent",
    }.get(contrast.verdict, f"{ours} against {theirs}: {contrast.verdict}")
    return f"{said}: {found.signed()}"


def _without_interval(contrast: ContrastResult) -> str:
    measure = describe_measure(contrast.measure)
    return {
        "no runs": "no pair of runs has succeeded yet.",
        "not measured": f"one of the two has no {measure.text}, so nothing is compared.",
        "not comparable": f"{measure.text} was measured in runs that shared the machine, so nothing is compared.",
    }.get(contrast.verdict) or (
        f"{measure.signed(contrast.mean or 0.0)} {measure.unit_in_text}, from one seed: no confidence interval is "
        "possible."
    )


def _is_equal(contrast: ContrastResult, declaration: Declaration) -> bool:
    """Whether the two cost the same, in what they were matched by: an arm may be left out of it."""
    ours, theirs = declaration.arm(contrast.arm), declaration.arm(contrast.than)
    shares = {
        "width": 1.0,
        "parameters": ours.parameters / theirs.parameters,
        "flops": ours.train_flops / theirs.train_flops,
        "wall-clock": (1 + (ours.off_by or 0.0)) / (1 + (theirs.off_by or 0.0)),
    }
    tolerance: float = declaration.matching.tolerance
    if contrast.matching == "wall-clock":
        tolerance = max(tolerance, TIME_TOLERANCE)
    return abs(shares[contrast.matching] - 1) <= 2 * tolerance  # each may be off by it


def _said(contrast: ContrastResult, found: Found, where: str, smallest_effect: float) -> str:
    ours, theirs = contrast.labels
    if contrast.verdict == "equivalent":
        side = "better" if found.mean < 0 else "worse"
        though = f"; {ours} is {side} by less than that" if found.excludes_0 else ""
        size = f"within {smallest_effect:g} nats/char {where}"
        return f"{ours} and {theirs} are equivalent {size}: {found.signed()}{though}."
    if contrast.verdict == "no difference found":
        return _nothing(contrast, found, where)
    if contrast.measure in LOSSES:
        return _better_or_worse(contrast, found, where, smallest_effect)
    way = "lower" if found.mean < 0 else "higher"
    share = f" ({100 * found.mean / abs(contrast.baseline):+.1f} %)" if contrast.baseline else ""
    return f"{ours} has {way} {found.measure.text} than {theirs} {where}: by {found.size()}{share}."


def _nothing(contrast: ContrastResult, found: Found, where: str) -> str:
    ours, theirs = contrast.labels
    if found.is_exact:
        return f"{ours} and {theirs} have the same {found.measure.text} {where}, with every seed."
    largest = found.measure.plain(max(-found.low, found.high))
    no, together = ("No", "") if contrast.primary else ("no", ", all exploratory contrasts together")
    return (
        f"{no} difference between {ours} and {theirs} was found {where}: {found.signed()}; a difference larger "
        f"than {largest} can be excluded at 95 % confidence{together}."
    )


def _better_or_worse(contrast: ContrastResult, found: Found, where: str, smallest_effect: float) -> str:
    ours, theirs = contrast.labels
    percent = abs(percent_perplexity(found.mean))
    text = f"{ours} is {contrast.verdict} than {theirs} by {found.size()} {where}, {percent:.1f} % of perplexity"
    if not found.excludes_0 or min(abs(found.low), abs(found.high)) < smallest_effect:
        text += (
            f"; it is not shown to exceed {smallest_effect:g} nats/char, the declared smallest difference that "
            "matters"
        )
    return text + "."


def _doubts(contrast: ContrastResult, found: Found) -> str:
    said = ""
    if contrast.family and contrast.p_holm is not None:
        said += f" Of {contrast.family} primary contrasts, whose intervals hold all at once: Holm's p is "
        said += f"{contrast.p_holm:.2g}."
    ends = contrast.bootstrap.interval if contrast.bootstrap else None
    if contrast.two_way is None and found.excludes_0 and ends is not None and ends[0] <= 0 <= ends[1]:
        said += " On other books it might be otherwise: drawn anew with the seeds, they leave 0 in the interval."
    if contrast.lost:
        declared = contrast.lost + contrast.n
        said += f" Of {declared} seeds, {contrast.lost} failed or are missing in one of the two."
    return said if contrast.paired_batches else said + " The two did not read the same batches."


_WORDS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


def conditions(declaration: Declaration) -> str:
    """Under which conditions the answer was found: size, budget, text, seeds, tuning, amendments."""
    parameters = _listed(list(dict.fromkeys(map(_short, sorted(_sizes(declaration))))))
    data = declaration.arm(declaration.baseline).run_config.data
    text = data.recipe or ", ".join(Path(name).name for name in data.corpus) or "tales"
    parts = [
        f"{parameters} parameters",
        f"{_short(declaration.budget.amount)} {BUDGETS[declaration.budget.kind]} of {text}",
        _counted(len(declaration.seeds.final), "seed"),
        _tuned(declaration.tuning),
    ]
    said = f"Found at {', '.join(parts)}{_judged(declaration)}{_amended(declaration)}."
    if declaration.family:
        said += (
            f" Holm's correction counts {declaration.family} primary contrasts, whose intervals hold all at once; "
            "everything else is exploratory."
        )
    if len(declaration.contrasts) > 1:
        said += " In brackets: 95 % confidence intervals; those of exploratory contrasts hold all at once."
    return said


def _sizes(declaration: Declaration) -> list[int]:
    """Parameters of both sides of the primary contrast; of the baseline in each size where there is none."""
    if primary := declaration.primary:
        return [declaration.arm(id).parameters for id in (primary.arm, primary.than)]
    baseline = declaration.arm(declaration.baseline)
    alike = [arm for arm in declaration.arms if (arm.arm, arm.matching) == (baseline.arm, baseline.matching)]
    return [arm.parameters for arm in alike]


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _judged(declaration: Declaration) -> str:
    """Which text arms are compared on, where it is not the one that they were tuned on."""
    sides = [text.judged["test"] for text in declaration.text if "test" in text.judged]
    if not sides:
        return ""
    texts = _counted(len(sides[0].files or ()), "text")
    return (
        f"; judged once, at the end, on {_short(sides[0].chars)} characters of {texts} that nothing was chosen by"
    )


def _tuned(tuning: Tuning | None) -> str:
    if tuning is None:
        return "learning rates not tuned"
    rates = "Muon's and AdamW's learning rates tuned apart" if tuning.apart else "learning rates tuned"
    share = "" if tuning.share == 1 else f" on {_SHARES.get(tuning.share, f'{tuning.share:.0%}')} of the budget"
    return f"{rates}{share} with {_counted(len(tuning.seeds), 'other seed')}"


def _amended(declaration: Declaration) -> str:
    if not (times := len(declaration.amended)):
        return ""
    often = {1: "once", 2: "twice"}.get(times, f"{times} times")
    what = "; ".join(change for amendment in declaration.amended for change in amendment.changed)
    if len(what) > AT_ONCE:
        what = "what was changed stands in the declaration"
    return f"; amended {often} after runs had been made" + (f" ({what})" if what else "")


def _counted(n: int, what: str) -> str:
    return f"{_WORDS[n] if n < len(_WORDS) else n} {what}{'' if n == 1 else 's'}"


def _short(value: float) -> str:
    """460K, 20M, 6.6e13."""
    if value >= 1e12:
        return f"{value:.2g}"
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "K")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:g}"


def notes(
    declaration: Declaration,
    records: Sequence[Record],
    runs: RunCounts,
    failed: Sequence[FailedRun],
    tuning: Sequence[TuningResult],
) -> list[str]:
    """What a reader must know besides: failures, missing runs, edges of the grid, sizes that do not match."""
    found = [f"{run.name} failed ({run.failure}) and counts nowhere: {run.reason}" for run in failed]
    if runs.missing:
        found.append(f"{runs.missing} of {runs.wanted} runs are still missing.")
    if len(declaration.seeds.final) == 1:
        found.append("One seed was declared: no confidence interval is possible.")
    if len(declaration.seeds.final) == 2:
        found.append("Two seeds were declared: confidence intervals are very wide.")
    found += edges(tuning)
    if not runs.missing:
        found += [f"{each.id}: no learning rate could be trained." for each in tuning if each.chosen is None]
    found += [
        f"{arm.label} ({arm.id}) is {100 * arm.off_by:+.2f} % off the {arm.matching} of the others."
        for arm in declaration.arms
        if arm.off_by is not None and abs(arm.off_by) > declaration.matching.tolerance
    ]
    resumed = [record.name for record in records if record.resumed]
    if resumed:
        found.append(f"Interrupted, and resumed from a checkpoint: {', '.join(resumed)}.")
    return found + _provenance(records)


def edges(tunings: Sequence[TuningResult]) -> list[str]:
    """One sentence for all arms whose optimum is on an edge that was extended, one for all others."""
    found = []
    for extended, what in ((False, ""), (True, ", which was extended there")):
        arms = [tuning.id for tuning in tunings if tuning.at_edge and tuning.extended == extended]
        if arms:
            verb, who = ("does", "it") if len(arms) == 1 else ("do", "they")
            found.append(
                f"{_listed(arms)} {verb} best on the edge of what was searched{what}: "
                f"{who} may be tuned too little."
            )
    return found


def _provenance(records: Sequence[Record]) -> list[str]:
    known = [record.environment for record in records if record.environment is not None]
    commits = {str(each.commit) for each in known}
    machines = {f"{each.cpu}, {each.threads} threads" for each in known}
    precisions = Counter(r.config["training"]["precision"] for r in records if r.valid is not None)
    found = []
    if len(commits) > 1:
        found.append(f"The runs were made with {len(commits)} versions of the code.")
    if any(each.dirty for each in known):
        found.append("Some runs were made with code that was changed after its commit.")
    if len(machines) > 1:
        found.append(f"The runs were made on different machines: {'; '.join(sorted(machines))}.")
    if len(precisions) > 1:
        parts = (f"{number} in {precision}" for precision, number in sorted(precisions.items()))
        found.append(f"The runs were not computed in one precision: {', '.join(parts)}.")
    return found
