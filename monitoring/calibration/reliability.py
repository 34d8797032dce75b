"""How well stated confidences agree with what was said: scores, one test, and the picture, each with its error.

Pure. Of the usual number, the error over bins, much is chance where labels are few (0.10 at 100 labels of a perfectly
calibrated model), so that it is never compared with a threshold: the test asks what chance alone would do. The label is
a thumb: P(liked, given that it was rated) is not P(correct). Knows no rows.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monitoring.calibration.betting import pairs
from monitoring.experiments.sequential import Array

TEST = "consistency resampling"
RESAMPLES = 500
"""Of the test, whose p-value cannot be below one in so many, and of the bands, at 95 % for each place."""
POINTS = 41
LEAST_WIDTH = 0.02


@dataclass(frozen=True, slots=True)
class Scores:
    """How good stated confidences are: `brier` is their mean squared error, `base` that of always saying the mean.

    `ece` is the squared calibration error without the bias of few labels; it may be below zero by chance.
    """

    n: int
    confidence: float
    liked: float
    brier: float
    base: float
    ece: float


@dataclass(frozen=True, slots=True)
class Bin:
    """Labels of like confidence, from `low` to `high`; the share liked would lie in the band 95 times of 100 if the
    confidence were the chance of being liked."""

    low: float
    high: float
    n: int
    confidence: float
    liked: float
    band_low: float
    band_high: float


@dataclass(frozen=True, slots=True)
class Curve:
    """The share liked (`y`) at each confidence (`x`), smoothed, with the band it would lie in by chance."""

    x: Array
    y: Array
    low: Array
    high: Array


@dataclass(frozen=True, slots=True)
class Slice:
    """The labels of one name, with the p-value that their confidence means what it says."""

    by: str
    name: str
    n: int
    confidence: float
    liked: float
    ece: float
    p: float


def scores(confidence: ArrayLike, liked: ArrayLike, bins: int = 15) -> Scores | None:
    """The scores of confidences in 0..1 and their labels 0 or 1; None when there are none. Raises ValueError."""
    f, y = pairs(confidence, liked)
    if f.size == 0:
        return None
    mean = float(y.mean())
    brier = float(np.mean((f - y) ** 2))
    return Scores(f.size, float(f.mean()), mean, brier, mean * (1 - mean), debiased_ece(f, y, bins))


def debiased_ece(confidence: ArrayLike, liked: ArrayLike, bins: int = 15) -> float:
    """The squared calibration error over bins of equal count, less what chance alone adds to it.

    J. Broecker, Estimating reliability and resolution of probability forecasts, Climate Dynamics 39 (2012); C. Ferro
    and T. Fricker, A bias-corrected decomposition of the Brier score, QJRMS 138 (2012).
    """
    f, y = pairs(confidence, liked)
    groups = _groups(f, bins)
    return float(sum(len(g) / f.size * _excess(f[g], y[g]) for g in groups if len(g) > 1))


def binned_ece(confidence: ArrayLike, liked: ArrayLike, bins: int = 15) -> float:
    """The usual number, over bins of equal width; biased upward, the more so the fewer labels there are."""
    f, y = pairs(confidence, liked)
    place = np.minimum((f * bins).astype(int), bins - 1)
    return float(np.abs(np.bincount(place, f - y)).sum() / f.size)


def smooth_ece(confidence: ArrayLike, liked: ArrayLike) -> float:
    """The calibration error under a kernel whose width fits the error itself.

    J. Blasiok and P. Nakkiran, Smooth ECE: principled reliability diagrams via kernel smoothing, ICLR 2024.
    """
    return _smoothed(*pairs(confidence, liked))[0]


def _smoothed(f: Array, y: Array) -> tuple[float, float]:
    """The error, and the width of its kernel."""
    # It brings matplotlib and pandas along, which nothing else needs here.
    from relplot.metrics import smECE

    error, width = smECE(f, y, return_width=True)
    return float(error), float(width)


def p_value(confidence: ArrayLike, liked: ArrayLike, rng: np.random.Generator, bins: int = 15) -> float:
    """The p-value of the hypothesis that each confidence is the chance of being liked, 0..1.

    Labels are drawn anew by the confidences themselves, and the squared error over bins of equal count is taken of
    each draw: J. Broecker and L. Smith, Increasing the reliability of reliability diagrams, Weather and Forecasting 22
    (2007). Exact for any number of labels and any law of confidences, constant ones included.
    """
    f, y = pairs(confidence, liked)
    if f.size == 0:
        return 1.0
    groups = _groups(f, bins)
    order, sizes = np.concatenate(groups), np.array([len(group) for group in groups])
    sums = _summed(f[order], sizes)
    seen = float((((_summed(y[order], sizes) - sums) ** 2) / sizes).sum())
    errors = (((_drawn(f[order], rng, lambda y: _summed(y, sizes)) - sums) ** 2) / sizes).sum(axis=-1)
    # Rounding must not decide between draws that are the same as what was seen.
    return (1 + int((errors >= seen * (1 - 1e-9) - 1e-12).sum())) / (RESAMPLES + 1)


def diagram(confidence: ArrayLike, liked: ArrayLike, rng: np.random.Generator, bins: int = 15) -> Sequence[Bin]:
    """Bins of about equal count, with consistency bands."""
    f, y = pairs(confidence, liked)
    groups = [group for group in _groups(f, bins) if len(group)]
    if not groups:
        return ()
    order, sizes = np.concatenate(groups), np.array([len(group) for group in groups])
    draws = _drawn(f[order], rng, lambda y: _summed(y, sizes)) / sizes
    low, high = np.quantile(draws, (0.025, 0.975), axis=0)
    return [
        Bin(
            *(float(f[g].min()), float(f[g].max()), len(g), float(f[g].mean()), float(y[g].mean())),
            *(float(low[i]), float(high[i])),
        )
        for i, g in enumerate(groups)
    ]


def curve(confidence: ArrayLike, liked: ArrayLike, rng: np.random.Generator) -> Curve:
    """The smoothed share liked over the middle 98 % of the confidences, with consistency bands."""
    f, y = pairs(confidence, liked)
    if f.size == 0:
        empty = np.zeros(0)
        return Curve(empty, empty, empty, empty)
    x = np.linspace(float(np.quantile(f, 0.01)), float(np.quantile(f, 0.99)), POINTS)
    width = max(_smoothed(f, y)[1], LEAST_WIDTH)
    near = np.exp(-0.5 * ((x[:, None] - f) / width) ** 2)
    near /= near.sum(axis=1, keepdims=True)
    low, high = np.quantile(_drawn(f, rng, lambda y: y @ near.T), (0.025, 0.975), axis=0)
    return Curve(x, near @ y, low, high)


def slices(
    parts: Iterable[tuple[str, str, Array, Array]], rng: np.random.Generator, least: int, bins: int = 15
) -> Iterator[Slice]:
    """Of parts of the labels (what they are divided by, the name, confidences and labels) those with labels enough."""
    for by, name, f, y in parts:
        found = scores(f, y, bins)
        if found and found.n >= least:
            p = p_value(f, y, rng, bins)
            yield Slice(by, name, found.n, found.confidence, found.liked, found.ece, p)


def _groups(f: Array, bins: int) -> Sequence[NDArray[np.int64]]:
    """Places of like confidences, in bins of about equal count; equal confidences may lie in two."""
    return np.array_split(np.argsort(f, kind="stable"), max(1, min(bins, f.size // 2)))


def _summed(y: Array, sizes: NDArray[np.int64]) -> Array:
    """The sums of what is in order over groups of these sizes, on the last axis."""
    return np.add.reduceat(y, np.concatenate([[0], np.cumsum(sizes)[:-1]]), axis=-1)


def _drawn(f: Array, rng: np.random.Generator, summary: Callable[[Array], Array]) -> Array:
    """What a summary says of labels that were drawn by the confidences, one draw a row."""
    batches = max(1, RESAMPLES * f.size // 2_000_000)
    rows = [len(part) for part in np.array_split(np.arange(RESAMPLES), batches)]
    return np.concatenate([summary((rng.random((row, f.size)) < f).astype(float)) for row in rows])


def _excess(f: Array, y: Array) -> float:
    share = float(y.mean())
    return (share - float(f.mean())) ** 2 - share * (1 - share) / (len(y) - 1)
