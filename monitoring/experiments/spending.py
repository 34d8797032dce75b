"""Group-sequential boundaries: how much of a test's error each look may spend, at whatever looks there were.

P. Armitage, C. K. McPherson and B. C. Rowe, Repeated significance tests on accumulating data, JRSS-A 132 (1969): the
law of a standardised sum that has not left its boundaries yet is carried from look to look by numerical integration.
Pure mathematics; knows nothing of subjects or verdicts. A fraction is information over what is planned in all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, inf, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

Array = NDArray[np.float64]

_REACH = 8.0
"""Standard deviations beyond which no mass is followed: 1e-15 of it."""
_FEWEST, _MOST, _DENSITY = 48, 3000, 1.5
"""Points of a look's law: enough to resolve the next step, `_DENSITY` to its standard deviation."""
_PANEL = 24
_SMALLEST = 1e-290


@dataclass(frozen=True, slots=True)
class _Walk:
    """The law of a Brownian path at time `at` among those paths that have crossed no boundary: points and masses."""

    at: float
    points: Array
    mass: Array

    def leaving(self, until: float, bound: float, drift: float = 0.0) -> Array:
        """The chances to be below -`bound` and above `bound` (standardised) at time `until`."""
        edge, spread = bound * sqrt(until), sqrt(until - self.at)
        moved = self.points + drift * (until - self.at)
        return np.array([self.mass @ ndtr((-edge - moved) / spread), self.mass @ ndtr((moved - edge) / spread)])

    def stays(self, until: float, bound: float, then: float, drift: float = 0.0) -> "_Walk":
        """The law at `until` of those within `bound`, fine enough for a step to `then`."""
        # Where mass is depends on the drift, which moves it away from zero.
        reach = min(bound * sqrt(until), _REACH * sqrt(until) + abs(drift) * until)
        count = ceil(min(max(_DENSITY * 2 * reach / sqrt(then - until), _FEWEST), _MOST))
        nodes, weights = _legendre(count)
        points, spread = reach * nodes, sqrt(until - self.at)
        moved = self.points + drift * (until - self.at)
        density = np.exp(-0.5 * ((points[:, None] - moved[None, :]) / spread) ** 2) @ self.mass
        return _Walk(until, points, reach * weights * density / (spread * sqrt(2 * np.pi)))


_ORIGIN = _Walk(0.0, np.zeros(1), np.ones(1))


def spent(fraction: ArrayLike, alpha: float) -> Array:
    """The two-sided error that may be spent until an information fraction; all of `alpha` from 1 on.

    K. K. G. Lan and D. L. DeMets, Discrete sequential boundaries for clinical trials, Biometrika 70 (1983): for each
    side the law of a Brownian path's maximum, which gives boundaries much like those of O'Brien and Fleming.
    """
    share = np.clip(np.asarray(fraction, dtype=float), 1e-12, 1.0)
    return np.asarray(4 * ndtr(ndtri(alpha / 4) / np.sqrt(share)))


def boundaries(fractions: Sequence[float] | Array, alpha: float) -> Array:
    """The |z| that rejects at each look, for increasing information fractions, which need not be equally spaced.

    A fraction beyond 1 is a last look that came late: it spends what is left. Raises ValueError for fractions that do
    not increase from above 0.
    """
    return np.array(_boundaries(tuple(float(share) for share in fractions), alpha))


@lru_cache(maxsize=4096)
def _boundaries(fractions: tuple[float, ...], alpha: float) -> tuple[float, ...]:
    steps, walk, found = _steps(fractions), _ORIGIN, []
    for (at, then), cost in zip(steps, np.diff(spent(fractions, alpha), prepend=0.0), strict=True):
        found.append(_bound(walk, at, float(cost)))
        walk = walk.stays(at, found[-1], then)
    return tuple(found)


def _bound(walk: _Walk, at: float, cost: float) -> float:
    """The boundary beyond which a share of `cost` of all paths is at this look; infinite where nothing may be spent."""
    if cost < _SMALLEST:
        return inf

    def excess(bound: float) -> float:
        # In logarithms, since early looks spend as little as 1e-50.
        return float(np.log(max(walk.leaving(at, bound).sum(), _SMALLEST)) - np.log(cost))

    return float(brentq(excess, 0.0, 40.0, xtol=1e-9)) if excess(0.0) > 0 else 0.0


def leaving(bounds: Sequence[float] | Array, fractions: Sequence[float] | Array, drift: float = 0.0) -> Array:
    """The chance to cross for the first time at each look: a row for below and one for above.

    `drift` is the expectation of z at information fraction 1.
    """
    walk, found = _ORIGIN, []
    for (at, then), bound in zip(_steps(fractions), bounds, strict=True):
        found.append(walk.leaving(at, float(bound), drift))
        walk = walk.stays(at, float(bound), then, drift)
    return np.array(found).T


def fixed_drift(alpha: float, power: float) -> float:
    """The expectation of z at which a test with a single look has this power."""
    return float(ndtri(1 - alpha / 2) + ndtri(power))


@lru_cache(maxsize=64)
def budget(looks: int, alpha: float, power: float) -> float:
    """How many times the subjects of a single look it takes at most for this power with equally spaced looks."""
    fractions = equal(looks)
    bounds = boundaries(fractions, alpha)
    return (drift_for(bounds, fractions, power) / fixed_drift(alpha, power)) ** 2


def drift_for(bounds: Array, fractions: Array, power: float) -> float:
    """The drift at which the boundaries are crossed with this chance."""
    return float(brentq(lambda drift: leaving(bounds, fractions, drift).sum() - power, 0.0, 20.0, xtol=1e-6))


def equal(looks: int) -> Array:
    """The fractions of equally spaced looks."""
    return np.arange(1, looks + 1) / looks


def peeking_error(looks: int, alpha: float) -> float:
    """How often a fixed-sample test of level `alpha` rejects a true hypothesis that it is applied to at every look."""
    return float(leaving(np.full(looks, ndtri(1 - alpha / 2)), equal(looks)).sum())


def pocock(looks: int, alpha: float) -> float:
    """S. J. Pocock's constant (Biometrika 64, 1977): the same |z| at each of the equally spaced looks."""
    return _constant(np.ones(looks), alpha)


def obrien_fleming(looks: int, alpha: float) -> float:
    """The constant of P. C. O'Brien and T. R. Fleming (Biometrics 35, 1979): the |z| that rejects at the last look."""
    return _constant(1 / np.sqrt(equal(looks)), alpha)


def _constant(shape: Array, alpha: float) -> float:
    fractions = equal(len(shape))
    return float(brentq(lambda c: leaving(c * shape, fractions).sum() - alpha, 1.0, 6.0, xtol=1e-7))


def _steps(fractions: Sequence[float] | Array) -> Iterator[tuple[float, float]]:
    """Each look's time and that of the next one; the last has none, so that any will do."""
    times = [float(share) for share in fractions]
    if any(later <= earlier for earlier, later in zip([0.0, *times], times, strict=False)):
        raise ValueError(f"information grows from look to look, not {times}")
    return zip(times, [*times[1:], times[-1] * 2 if times else 1.0], strict=True)


@lru_cache(maxsize=256)
def _legendre(count: int) -> tuple[Array, Array]:
    """At least so many points and weights on -1..1: Gauss-Legendre within panels, since one rule for all is slow."""
    nodes, weights = np.polynomial.legendre.leggauss(_PANEL)
    panels = -(-count // _PANEL)
    starts = np.linspace(-1, 1, panels, endpoint=False)
    return (starts[:, None] + (nodes + 1) / panels).ravel(), np.tile(weights / panels, panels)
