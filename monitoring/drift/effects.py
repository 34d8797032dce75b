"""How far the numbers of a window are from those of a reference: effect sizes beside what chance alone would bring.

None of them is a verdict, which is the stream's own watch's. The population stability index over B bins is about
(B - 1)(1/n + 1/m) while nothing changes, so a fixed bound such as 0.1 is exceeded by most small windows; its 95 % point
under no change, chi-square with B - 1 degrees of freedom times (1/n + 1/m), is told beside it. Pure.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, kolmogorov

BINS = 10
FEWEST = 30
"""Values on either side below which nothing is said."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Effect:
    """One stream: its index with the 95 % point, the largest difference of the distributions with its p-value."""

    stream: str
    n: int
    psi: float
    psi_95: float
    ks: float
    ks_p: float


def effects(reference: Mapping[str, Floats], window: Mapping[str, Floats]) -> Iterator[Effect]:
    """For each stream with enough values on both sides; those of the reference are sorted."""
    for stream, values in window.items():
        before = reference.get(stream)
        if before is not None and min(len(before), len(values)) >= FEWEST:
            yield Effect(stream, len(values), *stability(before, values), *largest_difference(before, values))


def stability(reference: Floats, values: Floats, bins: int = BINS) -> tuple[float, float]:
    """The population stability index over bins of equal shares of the sorted reference, and its 95 % point.

    Ties may leave fewer bins; half a value is added to each bin, so that none is empty.
    """
    n, m = len(reference), len(values)
    edges = np.unique(reference[(np.arange(1, bins) * n) // bins])
    expected = np.diff(np.searchsorted(reference, edges, side="right"), prepend=0, append=n)
    found = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
    p, q = ((counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (expected, found))
    return float(((q - p) * np.log(q / p)).sum()), float(chdtri(len(edges), 0.05)) * (1 / n + 1 / m)


def largest_difference(reference: Floats, values: Floats) -> tuple[float, float]:
    """The statistic of Kolmogorov and Smirnov, and its asymptotic p-value, which ties make larger than it is."""
    n, m, ordered = len(reference), len(values), np.sort(values)
    points = np.concatenate([reference, ordered])
    shares = (np.searchsorted(side, points, side="right") / len(side) for side in (reference, ordered))
    statistic = float(np.abs(np.subtract(*shares)).max())
    return statistic, float(kolmogorov(statistic * sqrt(n * m / (n + m))))
