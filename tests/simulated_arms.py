"""Simulated experiments, many at once, with a look at every subject: R replicates by T subjects."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from monitoring.experiments.sequential import Difference, Joint, Moments, difference

Numbers = NDArray[np.float64]


def moments(outcome: Numbers, member: NDArray[np.bool_], rated: NDArray[np.bool_] | None = None) -> Moments:
    """One arm's moments after each subject; the first axis is the (one) split. Who did not rate is less informed."""
    n = np.cumsum(member, axis=1, dtype=float)
    total = np.cumsum(np.where(member, outcome, 0.0), axis=1)
    squares = np.cumsum(np.where(member, outcome**2, 0.0), axis=1)
    mean = total / np.maximum(n, 1)
    informed = None if rated is None else np.cumsum(member & rated, axis=1, dtype=float)[None]
    return Moments(n[None], mean[None], ((squares - n * mean**2) / np.maximum(n - 1, 1))[None], informed)


def looks(
    outcome: Numbers, challenger: NDArray[np.bool_], rated: NDArray[np.bool_] | None = None, **tuning: float
) -> Difference:
    settings = {"planned": 2000, "alpha": 0.05, "burn_in": 50, "floor": 0.25} | tuning
    arms = (moments(outcome, arm, rated) for arm in (~challenger, challenger))
    return difference(*arms, **settings)  # type: ignore[arg-type]


def joints(outcome: Numbers, before: Numbers, member: NDArray[np.bool_]) -> Joint:
    """One arm's moments beside those of what its subjects were like before, after each subject."""
    found, past = moments(outcome, member), moments(before, member)
    both = np.cumsum(np.where(member, outcome * before, 0.0), axis=1)[None]
    covariance = (both - found.n * found.mean * past.mean) / np.maximum(found.n - 1, 1)
    return Joint(found, past.mean, past.variance, covariance)


def spliced(parts: Sequence[Difference], axis: int = 0) -> Difference:
    """Several batches as one; along axis 1, several looks."""
    names = ("estimate", "margin", "n", "spread")
    return Difference(*(np.concatenate([getattr(part, name) for part in parts], axis=axis) for name in names))


def band(alpha: float, replicates: int) -> float:
    """The largest rate that is compatible with `alpha`: three Monte Carlo errors above it."""
    return alpha + 3 * float(np.sqrt(alpha * (1 - alpha) / replicates))
