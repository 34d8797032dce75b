"""Whether the challenger is better, at many looks of many experiments at once: both rules, and what each would need.

Pure; arrays have looks on their last axis and replicates before it. A verdict is -1 (worse), 0 (nothing shown) or 1
(better) and stays what it was at the first look that showed something.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from math import ceil, copysign, inf

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monitoring.experiments import spending
from monitoring.experiments.findings import Taken
from monitoring.experiments.sequential import Difference, mean_margin, mixture_bound, mixture_rho
from monitoring.policy import ExperimentPolicy, Rule

Array = NDArray[np.float64]
Verdicts = NDArray[np.int8]

_DENSE, _FIRST = 100, 0.01
"""Looks, in geometric steps from a small share of the plan, that stand for looking all the time."""
_OVERSHOOT = 0.5826
"""How far a sum is beyond its boundary on average when seen to be, in standard deviations of a step.

D. Siegmund, Sequential analysis (1985), chapter X: lowering the boundary by as much makes a few looks like many.
"""


def anytime(found: Difference, policy: ExperimentPolicy) -> Verdicts:
    """The verdict of the confidence sequence at each look, sticky."""
    margin = mean_margin(found.n, found.spread, policy.planned, policy.alpha)
    shown = np.isfinite(found.margin) & (np.abs(found.estimate) > margin)
    return sticky(np.where(shown, np.sign(found.estimate), 0.0))


def group_sequential(z: ArrayLike, information: ArrayLike, policy: ExperimentPolicy) -> Verdicts:
    """The verdict of alpha spending at each look, sticky; `information` counts rated subjects.

    A scheduled look is taken where the information first reaches its share of `planned`; several that are passed at
    once are one. Between scheduled looks the last one's verdict stands. Where z is no number nothing is looked at.
    """
    score, known = np.broadcast_arrays(np.asarray(z, dtype=float), np.asarray(information, dtype=float))
    looks = score.shape[-1]
    flat, seen = score.reshape(-1, looks), known.reshape(-1, looks)
    passed = _passed(flat, seen, policy)
    # Where each scheduled look is taken; `looks` where it is not.
    first = np.stack([_first(passed >= number) for number in range(1, policy.looks + 1)], axis=1)
    verdicts = np.zeros((len(flat), policy.looks + 1))
    patterns = np.where(first < looks, np.take_along_axis(seen, np.minimum(first, looks - 1), axis=1), inf)
    kinds, kind = np.unique(patterns, axis=0, return_inverse=True)
    bounds = np.stack([_bounds(row, policy) for row in kinds])[kind.reshape(-1)]
    at_look = np.take_along_axis(flat, np.minimum(first, looks - 1), axis=1)
    crossed = (first < looks) & (np.abs(at_look) >= bounds)
    verdicts[:, 1:] = sticky(np.where(crossed, np.sign(at_look), 0.0))
    return np.take_along_axis(verdicts, passed, axis=1).reshape(score.shape).astype(np.int8)


def due(information: float, taken: float, policy: ExperimentPolicy) -> bool:
    """Whether `information` has passed a scheduled look that `taken`, that of the last look, had not."""
    return bool(scheduled(information, policy) > scheduled(taken, policy))


def scheduled(information: ArrayLike, policy: ExperimentPolicy) -> NDArray[np.int64]:
    """How many scheduled looks so much information has passed."""
    number = np.floor(np.asarray(information, dtype=float) * policy.looks / policy.planned + 1e-9)
    return np.clip(number, 0, policy.looks).astype(np.int64)


def is_last(information: float, policy: ExperimentPolicy) -> bool:
    """Whether a look at so much information ends the test."""
    return int(scheduled(information, policy)) == policy.looks


def begun(policy: ExperimentPolicy, taken: Sequence[Taken]) -> ExperimentPolicy:
    """The rules that a test goes on under: its plan may not change once it has been looked at."""
    return replace(policy, planned=taken[0].planned) if taken else policy


def verdict(taken: Sequence[Taken]) -> int:
    """The verdict after these looks: -1, 0 or 1."""
    shown = [copysign(1, look.z) if abs(look.z) >= look.boundary else 0 for look in taken]
    return int(sticky(shown)[-1])


def boundary(information: Sequence[float] | Array, policy: ExperimentPolicy) -> Array:
    """The |z| that rejects at each look taken, by the information it was taken at."""
    return spending.boundaries(np.asarray(information, dtype=float) / policy.planned, policy.alpha)


def sticky(shown: ArrayLike) -> Verdicts:
    """Each look's sign, or that of the first look before it that had one."""
    signs = np.asarray(shown, dtype=float).astype(np.int8)
    ever = signs != 0
    place = np.argmax(ever, axis=-1, keepdims=True)
    decided = np.logical_or.accumulate(ever, axis=-1)
    return np.where(decided, np.take_along_axis(signs, place, axis=-1), 0).astype(np.int8)


def planned(effect: float, spread: float, policy: ExperimentPolicy, power: float = 0.8) -> int:
    """Rated subjects in all after which an effect is shown with this power; `spread` as in Difference.

    That is the number to put into experiment.planned. Raises ValueError for an effect of zero.
    """
    if effect == 0 or not 0 < power < 1:
        raise ValueError(f"an effect that is not zero and a power between 0 and 1 are needed, not {effect}, {power}")
    fixed = (spending.fixed_drift(policy.alpha, power) / effect) ** 2 * spread
    return ceil(fixed * budget(policy, power))


def budget(policy: ExperimentPolicy, power: float = 0.8) -> float:
    """The most subjects that the rule needs for this power, as a multiple of those of a test with a single look."""
    if policy.rule is Rule.GROUP_SEQUENTIAL:
        return spending.budget(policy.looks, policy.alpha, power)
    return anytime_budget(policy.alpha, power)


@lru_cache(maxsize=64)
def anytime_budget(alpha: float, power: float) -> float:
    """The same for the confidence sequence, looked at all the time and tuned to its own end."""
    fractions = np.geomspace(_FIRST, 1.0, _DENSE)
    sums = mixture_bound(fractions, mixture_rho(1.0, alpha), alpha) - _OVERSHOOT * np.sqrt(
        np.diff(fractions, prepend=0)
    )
    drift = spending.drift_for(sums / np.sqrt(fractions), fractions, power)
    return float(drift / spending.fixed_drift(alpha, power)) ** 2


def _passed(z: Array, information: Array, policy: ExperimentPolicy) -> NDArray[np.int64]:
    """How many scheduled looks lie behind each column."""
    return np.maximum.accumulate(np.where(np.isfinite(z), scheduled(information, policy), 0), axis=-1)


def _first(reached: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The first column of each row that is reached; their number where none is."""
    return np.where(reached.any(axis=-1), reached.argmax(axis=-1), reached.shape[-1])


def _bounds(information: Array, policy: ExperimentPolicy) -> Array:
    """The boundaries of the scheduled looks of one experiment; those that were passed at once share one."""
    taken, place = np.unique(information[np.isfinite(information)], return_inverse=True)
    found = np.full(len(information), inf)
    if len(taken):
        found[: len(place)] = boundary(taken, policy)[place]
    return found
