"""The answer of a comparison in one sentence of at most 25 words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from aeattn.compare.metrics import LOSSES, describe_measure
from aeattn.compare.results import ContrastResult
from aeattn.compare.sentences import SCREENING, Found, brief
from aeattn.report.charts import NATS
from aeattn.report.data import Comparison

WORDS = 25
UNDECIDED = {"no difference found": "undecided"}


def answer(comparison: Comparison) -> str:
    """What came of the primary difference, with its interval and the cache that the variant keeps; of several, of
    the one from the first variant, or else how many came out how."""
    if comparison.summary is None:
        done = sum(record.status == "done" for record in comparison.records)
        return f"There is no answer yet: {done} runs are done, and nothing has been concluded from them."
    return headline([(comparison, comparison.contrasts)])


def headline(found: Sequence[tuple[Comparison, Sequence[ContrastResult]]]) -> str:
    """The sentence for the chief difference of all; where there is none, how many came out how."""
    primary = [c for _, contrasts in found for c in contrasts if c.primary]
    if not primary:
        return SCREENING
    alone = chief(found)
    if alone is None:
        return counted(primary)
    comparison, contrast = alone
    said, kept = one(contrast, comparison.declaration.smallest_effect), _kept(comparison, contrast)
    return next((text for text in (f"{said}{kept}.", f"{said}.") if len(text.split()) <= WORDS), f"{said}.")


def chief(
    found: Sequence[tuple[Comparison, Sequence[ContrastResult]]],
) -> tuple[Comparison, ContrastResult] | None:
    """The only primary difference of all, or the only loss among several, of the first comparison that has just
    one, that is compared with its first variant."""
    primary = [(comparison, c) for comparison, contrasts in found for c in contrasts if c.primary]
    if len(primary) == 1:
        return primary[0]
    from_first = ([(comparison, c) for c in _from_first(comparison, contrasts)] for comparison, contrasts in found)
    return next((losses[0] for losses in from_first if len(losses) == 1), None)


def _from_first(comparison: Comparison, contrasts: Sequence[ContrastResult]) -> list[ContrastResult]:
    """Primary differences of loss from the first variant."""
    first = comparison.declaration.arms[0].id
    return [c for c in contrasts if c.primary and c.than == first and c.measure in LOSSES]


def detail(comparison: Comparison) -> list[str]:
    """The same in full: the sentence of the primary difference, or how several came out, each in a phrase."""
    primary = [contrast for contrast in comparison.contrasts if contrast.primary]
    if len(primary) > 1:
        return each(primary, answer(comparison))
    return [capital(contrast.sentence) for contrast in primary]


def each(primary: Sequence[ContrastResult], above: str) -> list[str]:
    """How several differences came out, unless that stands above, and each in a phrase."""
    whole = counted(primary)
    return [*([] if whole == above else [whole]), *(f"{capital(brief(contrast))}." for contrast in primary)]


def one(contrast: ContrastResult, smallest_effect: float) -> str:
    """A difference in a phrase, without what it was matched by."""
    ours, theirs = contrast.labels
    if contrast.center is None or contrast.shown is None:
        return f"{capital(ours)} against {theirs}: {contrast.verdict}"
    found = Found(contrast.center, *contrast.shown, describe_measure(contrast.measure))
    if contrast.verdict == "equivalent":
        text = f"{ours} and {theirs} are equivalent within {smallest_effect:g} {NATS}: {found.signed()}"
    elif contrast.verdict == "no difference found":
        text = f"no difference between {ours} and {theirs} was found: {found.signed()}"
    elif contrast.measure in LOSSES:
        text = f"{ours} is {contrast.verdict} than {theirs} by {found.size()}"
    else:
        way = "lower" if found.mean < 0 else "higher"
        text = f"{ours} has {way} {found.measure.text} than {theirs}: by {found.size()}"
    return capital(text)


def counted(primary: Sequence[ContrastResult]) -> str:
    """How many of several differences came out how."""
    verdicts = Counter(UNDECIDED.get(contrast.verdict, contrast.verdict) for contrast in primary)
    found = ", ".join(f"{n} {verdict}" for verdict, n in verdicts.most_common())
    return f"Of {len(primary)} primary differences: {found}."


def _kept(comparison: Comparison, contrast: ContrastResult) -> str:
    """How the KV cache of a variant compares with that of the other."""
    ours, theirs = map(comparison.mean_kept_bytes, (contrast.arm, contrast.than))
    if not ours or not theirs or ours == theirs:
        return ""
    return f", with {100 * ours / theirs:.0f} % of its KV cache"


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]
