"""Few words of people and many guesses of a judge joined into one estimate that is no worse than the people's alone.

Pure. A. N. Angelopoulos et al., Prediction-powered inference, Science 382 (2023), with the power tuning of A. N.
Angelopoulos, J. C. Duchi and T. Zrnic, PPI++ (arXiv 2311.01453): the mean of the guesses, corrected by how far they
were off where people spoke too. A judge that is always wrong costs width, never truth. For one look.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from core.stats import Interval

LEAST = 10
"""Units with a word of people; fewer say nothing about how far the judge is off."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and its interval."""

    value: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Combined:
    """The mean by people alone and by both; `weight` 0..1 is how far the judge is listened to."""

    labelled: int
    guessed: int
    people: Estimate
    both: Estimate
    weight: float


def combine(
    labels: Sequence[float], guesses: Sequence[float], others: Sequence[float], alpha: float, *, least: int = LEAST
) -> Combined | None:
    """The mean of what people say, over units of which a few have both a label and a guess and `others` a guess only.

    Intervals are Student's, for `alpha` at one look, with the labelled units less one as degrees of freedom. None with
    fewer than `least` labels or without others. Raises ValueError when labels and guesses do not match.
    """
    y, f, rest = (np.asarray(values, dtype=float) for values in (labels, guesses, others))
    if len(y) != len(f):
        raise ValueError(f"{len(y)} labels do not match {len(f)} guesses")
    if len(y) < max(least, 2) or len(rest) < 2:
        return None
    reach = float(stats.t.ppf(1 - alpha / 2, len(y) - 1))
    weight = tuned(y, f, rest)
    people = _estimate(float(y.mean()), _error(y), reach)
    value = float((y - weight * f).mean() + weight * rest.mean())
    both = _estimate(value, sqrt(_error(y - weight * f) ** 2 + weight**2 * _error(rest) ** 2), reach)
    return Combined(len(y), len(rest), people, both, weight)


def tuned(y: NDArray[np.float64], f: NDArray[np.float64], rest: NDArray[np.float64]) -> float:
    """How much of the guesses makes the variance least, 0..1: none where they say nothing about the labels."""
    spread = float(np.concatenate([f, rest]).var(ddof=1))
    if spread == 0:
        return 0.0
    together = float(np.cov(y, f)[0, 1])
    return min(max(together / ((1 + len(f) / len(rest)) * spread), 0.0), 1.0)


def _error(values: NDArray[np.float64]) -> float:
    return sqrt(float(values.var(ddof=1)) / len(values))


def _estimate(value: float, error: float, reach: float) -> Estimate:
    return Estimate(value, Interval(value - reach * error, value + reach * error))
