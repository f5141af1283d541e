"""What a bottleneck keeps of its input, streamed over a text.

    effective_rank   the participation ratio (tr C)^2 / tr C^2 of the codes' covariance C: from 1 to the width K,
                     the number of equally strong directions with that spread (Gao et al. 2017)
    dead             units that hardly move: their standard deviation is below 1 % of the units' root mean square
    saturated        units that leave the bend of the GELU, -3 to 3, at 95 % of positions and more: they are
                     switched off (below) or as good as linear (above); None where there is no nonlinearity
    readout_r2       how much of the input a linear map recovers from the code: R^2 = 1 - SSE / SST over all
                     features together, of a ridge regression (Hoerl and Kennard 1970) that is fitted to every
                     second window and scored on the others, as in linear probing (Alain and Bengio 2017)
    pca_r2           the same for the K first principal components: what the best linear bottleneck of the
                     same width would keep

Shapes: N positions, D width, K code.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from aeattn.analysis.capture import attentions, layer_inputs
from aeattn.analysis.heads import mean, means
from aeattn.analysis.results import CodeMeans, CodeMeasures, CodeSummary
from aeattn.analysis.windows import Sample
from aeattn.config.projections import ROLES
from aeattn.nn.attention import Attention
from aeattn.nn.projection import PerHead, Projection, encode_together
from aeattn.nn.transformer import LanguageModel

DEAD_BELOW = 0.01
BEND, SATURATED_FROM = 3.0, 0.95
RIDGE = 1e-6  # times the mean variance of a unit
POSITIONS_A_UNIT = 4  # fewer to fit to make no regression


class Moments:
    """Count, sums and products of joint rows [code, input] in float64: all that covariances and linear
    regressions need, however long the text is."""

    def __init__(self, width: int) -> None:
        self.count = 0
        self.sums = torch.zeros(width, dtype=torch.float64)
        self.products = torch.zeros(width, width, dtype=torch.float64)

    def add(self, rows: Tensor) -> None:
        """Rows (N, K + D)."""
        rows = rows.double().cpu()
        self.count += len(rows)
        self.sums += rows.sum(dim=0)
        self.products += rows.T @ rows

    def __add__(self, other: Moments) -> Moments:
        both = Moments(len(self.sums))
        both.count = self.count + other.count
        both.sums, both.products = self.sums + other.sums, self.products + other.products
        return both

    @property
    def mean(self) -> Tensor:
        return self.sums / max(1, self.count)

    def covariance(self, about: Tensor | None = None) -> Tensor:
        """(K + D, K + D), about the mean or another point."""
        mean, centre = self.mean, self.mean if about is None else about
        cross = torch.outer(mean, centre)
        return self.products / max(1, self.count) - cross - cross.T + torch.outer(centre, centre)


def participation_ratio(covariance: Tensor) -> float | None:
    """(sum of eigenvalues)^2 / sum of their squares, from 1 to K (Gao et al. 2017, "A theory of multineuronal
    dimensionality, dynamics and measurement"); None where nothing varies."""
    squares = float(covariance.square().sum())
    return float(covariance.trace()) ** 2 / squares if squares > 0 else None


def readout_r2(fit: Moments, test: Moments, width: int) -> float | None:
    """R^2 on `test` of the ridge regression from codes (the first `width` columns) to inputs (the others) that is
    fitted to `fit`; None where there are too few positions, or nothing to explain."""
    if fit.count < POSITIONS_A_UNIT * width or test.count < 2:
        return None
    c = fit.covariance()
    codes, cross = c[:width, :width], c[:width, width:]
    ridge = RIDGE * float(codes.trace()) / width
    slope = torch.linalg.solve(codes + max(ridge, 1e-12) * torch.eye(width, dtype=c.dtype), cross)
    about = test.covariance(about=fit.mean)  # the fitted line passes through the fitted mean
    left = about[width:, width:].trace() - 2 * (slope * about[:width, width:]).sum()
    left = left + (slope * (about[:width, :width] @ slope)).sum()
    return _explained(float(left), test, width)


def pca_r2(fit: Moments, test: Moments, width: int) -> float | None:
    """R^2 on `test` of the projection onto the first `width` principal components of the inputs of `fit`."""
    if fit.count < POSITIONS_A_UNIT * width or test.count < 2:
        return None
    basis = torch.linalg.eigh(fit.covariance()[width:, width:]).eigenvectors[:, -width:]
    inputs = test.covariance(about=fit.mean)[width:, width:]
    left = inputs.trace() - (basis * (inputs @ basis)).sum()
    return _explained(float(left), test, width)


def _explained(left: float, test: Moments, width: int) -> float | None:
    there = float(test.covariance()[width:, width:].trace())
    return 1 - left / there if there > 0 else None


class Watch:
    """Everything that is collected about one projection."""

    def __init__(self, projection: Projection, d_model: int) -> None:
        self.projection, self.width = projection, projection.d_code
        self.halves = (Moments(self.width + d_model), Moments(self.width + d_model))
        self.beyond: Tensor | None = None  # (2, K), at how many positions a unit lies below and above the bend

    def add(self, x: Tensor, code: Tensor, first_window: int) -> None:
        """Inputs (B, T, D) and their codes (B, T, K); the first is window number `first_window`, and every
        second one is for fitting."""
        joint = torch.cat([code, x], dim=-1)
        for half in (0, 1):
            rows = joint[(half - first_window) % 2 :: 2]
            self.halves[half].add(rows.flatten(0, 1))
        if self.projection.shares_code:
            return
        before = self.projection.before_gelu(F.linear(x, self.projection.encoder_weight))
        if before is not None:
            beyond = torch.stack([(side > BEND).sum(dim=(0, 1)) for side in (-before, before)]).cpu()
            self.beyond = beyond if self.beyond is None else self.beyond + beyond

    def result(self, layer: int, projection: str, head: int | None) -> CodeMeasures:
        fit, test = self.halves
        both = fit + test
        codes = both.covariance()[: self.width, : self.width]
        saturated: list[int | None] = [None, None]
        if self.beyond is not None:
            saturated = (self.beyond >= SATURATED_FROM * both.count).sum(dim=1).tolist()
        return CodeMeasures(
            layer=layer,
            projection=projection,
            head=head,
            kind=self.projection.kind,
            width=self.width,
            effective_rank=participation_ratio(codes),
            dead=dead_units(codes),
            saturated_below=saturated[0],
            saturated_above=saturated[1],
            readout_r2=readout_r2(fit, test, self.width),
            pca_r2=pca_r2(fit, test, self.width),
        )


def dead_units(codes: Tensor) -> int:
    """Units whose standard deviation is below 1 % of the root mean square of all, from their covariance (K, K)."""
    variances = codes.diagonal().clamp(min=0)
    typical = math.sqrt(float(variances.mean()))
    return int((variances.sqrt() <= DEAD_BELOW * typical).sum())


def _parts(projection: Projection) -> list[Projection]:
    """The projections of the heads, where each has its own, or the one of all."""
    if not isinstance(projection, PerHead):
        return [projection]
    return [head for head in projection.heads if isinstance(head, Projection)]


class WatchLayer:
    """What is collected about queries, keys and values of one layer."""

    def __init__(self, attention: Attention, d_model: int) -> None:
        self.whole: list[Projection] = [attention.query, attention.key, attention.value]
        self.parts = [[Watch(part, d_model) for part in _parts(projection)] for projection in self.whole]

    def add(self, x: Tensor, first_window: int) -> None:
        """Inputs (B, T, D). Values that share the code of the keys are given it."""
        for code, watches in zip(encode_together(self.whole, x), self.parts, strict=True):
            pieces = torch.split(code, [watch.width for watch in watches], dim=-1)
            for watch, piece in zip(watches, pieces, strict=True):
                watch.add(x, piece, first_window)

    def results(self, layer: int) -> Iterator[CodeMeasures]:
        for name, watches in zip(ROLES, self.parts, strict=True):
            for head, watch in enumerate(watches):
                yield watch.result(layer, name, None if len(watches) == 1 else head)


@torch.inference_mode()
def code_measures(model: LanguageModel, sample: Sample, rows: int) -> tuple[CodeMeasures, ...]:
    """One entry for each projection of each layer (of each head, where heads have their own), over all positions
    of all windows."""
    watched = [WatchLayer(attention, model.config.d_model) for attention in attentions(model)]
    first = 0
    for inputs, _ in sample.batches(rows, next(model.parameters()).device):
        for layer, x in zip(watched, layer_inputs(model, inputs), strict=True):
            layer.add(x, first)
        first += len(inputs)
    return tuple(result for number, layer in enumerate(watched) for result in layer.results(number))


def over_projections(projections: Sequence[CodeMeasures]) -> CodeSummary:
    """Means over all projections, and over those of queries, keys and values alone."""
    query, key, value = (CodeMeans(**_means([p for p in projections if p.projection == role])) for role in ROLES)
    return CodeSummary(**_means(projections), query=query, key=key, value=value)


def _means(projections: Sequence[CodeMeasures]) -> dict[str, float | None]:
    kept = means(projections, ("effective_rank", "readout_r2", "pca_r2"))
    for name in ("effective_rank", "dead", "saturated_below", "saturated_above"):
        counts = ((getattr(p, name), p.width) for p in projections)
        kept[f"{name}_share"] = mean(None if count is None else count / width for count, width in counts)
    return kept
