"""The subjects of two arms as columns of numbers, and the tests over them: differences, splits, rates of rating.

Pure. A subject is compared within the split it was met under. Knows no verdict on the challenger.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np
from numpy.typing import NDArray

from monitoring.experiments.findings import Adjustment, Exposure, Rating, SampleRatio, Side, Voice
from monitoring.experiments.sequential import (
    Array,
    Difference,
    Joint,
    Moments,
    adjusted,
    difference,
    log_e_value,
    ratio_log_e,
)
from monitoring.policy import ExperimentPolicy, Scale

_LARGEST_E = 1e300


@dataclass(frozen=True, slots=True)
class Column:
    """One number a subject. `before` is what it was earlier, not a number where that is unknown."""

    challenger: NDArray[np.bool_]
    share: Array
    value: Array
    rated: NDArray[np.bool_]
    before: Array

    @classmethod
    def of(cls, exposures: Sequence[Exposure], metric: str, scale: Scale = Scale.DIFFERENCE) -> "Column":
        """A metric of those who have it. Raises ValueError for a ratio of what is not positive."""
        having = [e for e in exposures if metric in e.outcomes]
        return cls._made(having, np.array([e.outcomes[metric] for e in having], dtype=float), metric, scale)

    @classmethod
    def of_rating(cls, exposures: Sequence[Exposure]) -> "Column":
        """Whether each of these subjects rated, as one or zero."""
        return cls._made(exposures, np.array([e.rated for e in exposures], dtype=float), "", Scale.DIFFERENCE)

    @classmethod
    def _made(cls, having: Sequence[Exposure], value: Array, metric: str, scale: Scale) -> "Column":
        if scale is Scale.RATIO:
            if value.size and value.min() <= 0:
                raise ValueError(f"{metric} is compared as a ratio and must be positive, not {value.min()}")
            value = np.log(value)
        return cls(
            challenger=np.array([e.challenger for e in having], dtype=bool),
            share=np.array([e.share for e in having], dtype=float),
            value=value,
            rated=np.array([e.rated for e in having], dtype=bool),
            before=np.array([np.nan if e.before is None else e.before for e in having], dtype=float),
        )

    def side(self, subjects: int, challenger: bool, scale: Scale, only_rated: bool = False) -> Side:
        """One arm in figures; a ratio's mean is the geometric one."""
        arm = self.challenger == challenger
        mean = float(self.value[arm].mean()) if arm.any() else None
        if mean is not None and scale is Scale.RATIO:
            mean = exp(mean)
        return Side(subjects, int((self.rated & arm if only_rated else arm).sum()), mean)

    def differ(self, policy: ExperimentPolicy, minimum: int, floor: float, only_rated: bool = False) -> Difference:
        """The difference at this one look; `only_rated` counts those who rated as the information."""
        arms = [joint.outcome for joint in self._joints(only_rated)]
        return _difference((arms[0], arms[1]), policy, minimum, floor)

    def differ_adjusted(
        self, policy: ExperimentPolicy, minimum: int, floor: float
    ) -> tuple[Difference, Adjustment | None]:
        """The same with what differed before taken out, where any subject has a history; counts who rated."""
        plain, known = self.differ(policy, minimum, floor, only_rated=True), np.isfinite(self.before)
        if known.sum() < minimum or not np.isfinite(plain.margin):
            return plain, None
        *arms, slope = adjusted(*self._joints(only_rated=True))
        found = _difference((arms[0], arms[1]), policy, minimum, floor)
        gone = 1 - float(found.spread) / max(float(plain.spread), np.finfo(float).tiny)
        return found, Adjustment(int(known.sum()), float(slope[-1]), gone)

    def _joints(self, only_rated: bool) -> tuple[Joint, Joint]:
        splits = sorted(set(self.share.tolist())) or [0.5]
        arms = [[(self.share == s) & (self.challenger == arm) for s in splits] for arm in (False, True)]
        before = self._imputed(splits)
        return _joint(self, before, arms[0], only_rated), _joint(self, before, arms[1], only_rated)

    def _imputed(self, splits: Sequence[float]) -> Array:
        """Who has no history counts as average within its split."""
        before = self.before.copy()
        for split in splits:
            within = self.share == split
            known = within & np.isfinite(before)
            before[within & ~known] = before[known].mean() if known.any() else 0.0
        return before


def sample_ratio(exposures: Sequence[Exposure], alpha: float) -> SampleRatio:
    """Each split has its own e-value on subjects of its own, so that their product is one as well."""
    log_e = 0.0
    for share in {e.share for e in exposures}:
        arms = [e.challenger for e in exposures if e.share == share]
        log_e += float(ratio_log_e([arms.count(False), arms.count(True)], (1 - share, share)))
    taken = sum(e.challenger for e in exposures)
    return SampleRatio(len(exposures) - taken, taken, _plain(log_e), broken=log_e >= log(1 / alpha))


def rating(answered: Sequence[Exposure], policy: ExperimentPolicy, floor: float) -> Rating:
    """Whether the subjects of both arms rate equally often, tested at every look at the level of the splits."""
    column, alpha = Column.of_rating(answered), policy.ratio_alpha
    log_e = float(log_e_value(column.differ(policy, policy.minimum, floor), policy.planned, alpha))
    champion, challenger = (_voice([e for e in answered if e.challenger == arm]) for arm in (False, True))
    return Rating(champion, challenger, _plain(log_e), alarm=log_e >= log(1 / alpha), alpha=alpha)


def _voice(arm: Sequence[Exposure]) -> Voice:
    rated, n = sum(e.rated for e in arm), len(arm)
    if not n:
        return Voice(0, 0, None, None, None)
    return Voice(n, rated, sum(e.up for e in arm) / n, sum(e.down for e in arm) / n, rated / n)


def _plain(log_e: float) -> float:
    return exp(min(log_e, log(_LARGEST_E)))


def _difference(arms: tuple[Moments, Moments], policy: ExperimentPolicy, minimum: int, floor: float) -> Difference:
    return difference(*arms, planned=policy.planned, alpha=policy.alpha, burn_in=minimum, floor=floor)


def _joint(column: Column, before: Array, groups: Sequence[NDArray[np.bool_]], only_rated: bool) -> Joint:
    """One arm's moments by split."""
    n = np.array([group.sum() for group in groups], dtype=float)
    informed = np.array([(group & column.rated).sum() for group in groups], dtype=float) if only_rated else None
    tables = [np.cov(column.value[g], before[g]) if g.sum() > 1 else np.zeros((2, 2)) for g in groups]
    means = [(column.value[g].mean(), before[g].mean()) if g.any() else (0.0, 0.0) for g in groups]
    outcome = Moments(n, np.array([m[0] for m in means]), np.array([t[0, 0] for t in tables]), informed)
    then = np.array([m[1] for m in means]), np.array([t[1, 1] for t in tables]), np.array([t[0, 1] for t in tables])
    return Joint(outcome, *then)
