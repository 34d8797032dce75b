"""Simulated experiments, many at once, with a look at every subject: R replicates by T subjects."""

import numpy as np
from numpy.typing import NDArray

from monitoring.sequential import Difference, Moments, difference

Numbers = NDArray[np.float64]


def moments(outcome: Numbers, member: NDArray[np.bool_]) -> Moments:
    """One arm's moments after each subject; the first axis is the (one) split."""
    n = np.cumsum(member, axis=1, dtype=float)
    total = np.cumsum(np.where(member, outcome, 0.0), axis=1)
    squares = np.cumsum(np.where(member, outcome**2, 0.0), axis=1)
    mean = total / np.maximum(n, 1)
    return Moments(n[None], mean[None], ((squares - n * mean**2) / np.maximum(n - 1, 1))[None])


def looks(outcome: Numbers, challenger: NDArray[np.bool_], **tuning: float) -> Difference:
    settings = {"planned": 2000, "alpha": 0.05, "burn_in": 50, "floor": 0.25} | tuning
    return difference(moments(outcome, ~challenger), moments(outcome, challenger), **settings)  # type: ignore[arg-type]


def stacked(parts: list[Difference]) -> tuple[Numbers, Numbers]:
    """Estimates and margins of several batches as one."""
    return np.concatenate([p.estimate for p in parts]), np.concatenate([p.margin for p in parts])


def band(alpha: float, replicates: int) -> float:
    """The largest rate that is compatible with `alpha`: three Monte Carlo errors above it."""
    return alpha + 3 * float(np.sqrt(alpha * (1 - alpha) / replicates))
