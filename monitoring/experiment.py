"""An A/B under the rule `anytime`: what the subjects of both arms say about the challenger, valid at every look.

Pure. The unit is the subject, in the arm of its first assignment whatever happened later (intention to treat), with
one number a metric. The claim of superiority and the split check of outcomes use only subjects first exposed at the
final split; guardrails use all, each compared within its own split. Knows no rows, stages or deadlines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, expm1, isfinite, log, log1p

import numpy as np

from core.stats import Interval
from core.types import Subject
from monitoring.policy import ExperimentPolicy, Guardrail, Scale
from monitoring.sequential import Difference, Moments, difference, ratio_log_e, subjects_needed

_FLOOR = 0.25
"""The squared half range of an outcome from 0 to 1; as a logarithm, a spread of half as much again."""
_LARGEST_E = 1e300


class Effect(StrEnum):
    """What an interval says of the challenger; `unmeasured` means too few subjects for any interval."""

    UNMEASURED = "unmeasured"
    UNCLEAR = "unclear"
    BETTER = "better"
    WORSE = "worse"


class Harm(StrEnum):
    """What a guardrail says: `excluded` means that harm beyond the margin is ruled out, `unseen` that none is shown."""

    UNMEASURED = "unmeasured"
    UNSEEN = "unseen"
    EXCLUDED = "excluded"
    SHOWN = "shown"


@dataclass(frozen=True, slots=True)
class Exposure:
    """A subject's first assignment, the challenger's share at that time, and the outcomes known so far by metric."""

    subject: Subject
    challenger: bool
    share: float
    outcomes: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Side:
    """One arm of a comparison: its subjects, those with an outcome, and their mean."""

    subjects: int
    measured: int
    mean: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Challenger minus champion on one metric; of a ratio, the relative change."""

    metric: str
    champion: Side
    challenger: Side
    estimate: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The primary comparison and what is missing to decide it."""

    comparison: Comparison
    effect: Effect
    outlook: str


@dataclass(frozen=True, slots=True)
class Guarded:
    """A guardrail's comparison; `margin` is the change that counts as harm, in the metric's own direction."""

    comparison: Comparison
    margin: float
    harm: Harm
    may_stay_unmeasured: bool = False


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Whether subjects fell into the arms as the split says; `e_value` beyond 1 / alpha means that they did not."""

    champion: int
    challenger: int
    e_value: float
    broken: bool


@dataclass(frozen=True, slots=True)
class Findings:
    """All that one look at an experiment says."""

    primary: Outcome
    guardrails: Sequence[Guarded]
    split: SampleRatio
    rated: SampleRatio
    """The same check over subjects with a primary outcome: arms rated at different rates cannot be compared."""
    left_out: int
    """Subjects first exposed before the final split: not part of the primary comparison."""


def examine(exposures: Sequence[Exposure], share: float, policy: ExperimentPolicy) -> Findings:
    """One look at everything known; `share` is the challenger's share at the final split.

    Raises ValueError for a subject listed twice, a share that leaves an arm empty or an outcome that is no number.
    """
    _check(exposures, share)
    final = [e for e in exposures if e.share == share]
    rated = [e for e in final if policy.metric in e.outcomes]
    return Findings(
        primary=_primary(final, policy),
        guardrails=tuple(_guarded(exposures, guardrail, policy) for guardrail in policy.guardrails),
        split=_sample_ratio(exposures, policy.ratio_alpha),
        rated=_sample_ratio(rated, policy.ratio_alpha),
        left_out=len(exposures) - len(final),
    )


def _check(exposures: Sequence[Exposure], share: float) -> None:
    if len({e.subject for e in exposures}) < len(exposures):
        raise ValueError("a subject is listed twice; only its first assignment counts")
    for value in {share, *(e.share for e in exposures)}:
        if not 0 < value < 1:
            raise ValueError(f"the challenger's share lies between 0 and 1, not {value}")
    for exposure in exposures:
        for metric, value in exposure.outcomes.items():
            if not isfinite(value):
                raise ValueError(f"the outcome {metric} of subject {exposure.subject} is {value}")


def _primary(final: Sequence[Exposure], policy: ExperimentPolicy) -> Outcome:
    found = _difference(final, policy.metric, Scale.DIFFERENCE, policy, policy.minimum)
    comparison = _comparison(final, policy.metric, Scale.DIFFERENCE, found)
    effect = Effect.UNMEASURED
    if comparison.interval:
        low, high = comparison.interval.low, comparison.interval.high
        effect = Effect.BETTER if low > 0 else Effect.WORSE if high < 0 else Effect.UNCLEAR
    return Outcome(comparison, effect, _outlook(comparison, effect, found, policy))


def _guarded(exposures: Sequence[Exposure], guardrail: Guardrail, policy: ExperimentPolicy) -> Guarded:
    found = _difference(exposures, guardrail.metric, guardrail.scale, policy, policy.guardrail_minimum)
    comparison = _comparison(exposures, guardrail.metric, guardrail.scale, found)
    margin, optional = _margin(guardrail), guardrail.may_stay_unmeasured
    if comparison.interval is None:
        return Guarded(comparison, margin, Harm.UNMEASURED, optional)
    best, worst = comparison.interval.low, comparison.interval.high
    if not guardrail.higher_is_worse:
        best, worst = -worst, -best
    harm = Harm.SHOWN if best > abs(margin) else Harm.EXCLUDED if worst < abs(margin) else Harm.UNSEEN
    return Guarded(comparison, margin, harm, optional)


def _margin(guardrail: Guardrail) -> float:
    if guardrail.higher_is_worse:
        return guardrail.margin
    return -guardrail.margin if guardrail.scale is Scale.DIFFERENCE else expm1(-log1p(guardrail.margin))


def _difference(
    exposures: Sequence[Exposure], metric: str, scale: Scale, policy: ExperimentPolicy, minimum: int
) -> Difference:
    """The difference at this one look, over subjects that have the metric."""
    measured = [e for e in exposures if metric in e.outcomes]
    splits = sorted({e.share for e in measured}) or [0.5]
    arms = [
        _moments([[_value(e, metric, scale) for e in measured if e.challenger == arm and e.share == s] for s in splits])
        for arm in (False, True)
    ]
    return difference(*arms, planned=policy.planned, alpha=policy.alpha, burn_in=minimum, floor=_FLOOR)


def _value(exposure: Exposure, metric: str, scale: Scale) -> float:
    value = exposure.outcomes[metric]
    if scale is Scale.DIFFERENCE:
        return value
    if value <= 0:
        raise ValueError(f"{metric} is compared as a ratio and must be positive, not {value}")
    return log(value)


def _moments(groups: Sequence[Sequence[float]]) -> Moments:
    n = np.array([len(values) for values in groups], dtype=float)
    mean = np.array([np.mean(values) if values else 0.0 for values in groups])
    variance = np.array([np.var(values, ddof=1) if len(values) > 1 else 0.0 for values in groups])
    return Moments(n, mean, variance)


def _comparison(exposures: Sequence[Exposure], metric: str, scale: Scale, found: Difference) -> Comparison:
    champion, challenger = (_side(exposures, metric, scale, arm) for arm in (False, True))
    estimate, margin = float(found.estimate), float(found.margin)
    if not isfinite(margin):
        return Comparison(metric, champion, challenger, None, None)
    back = expm1 if scale is Scale.RATIO else float
    interval = Interval(back(estimate - margin), back(estimate + margin))
    return Comparison(metric, champion, challenger, back(estimate), interval)


def _side(exposures: Sequence[Exposure], metric: str, scale: Scale, challenger: bool) -> Side:
    arm = [e for e in exposures if e.challenger == challenger]
    values = [_value(e, metric, scale) for e in arm if metric in e.outcomes]
    mean = float(np.mean(values)) if values else None
    if mean is not None and scale is Scale.RATIO:
        mean = exp(mean)
    return Side(len(arm), len(values), mean)


def _sample_ratio(exposures: Sequence[Exposure], alpha: float) -> SampleRatio:
    """Each split has its own e-value on subjects of its own, so that their product is one as well."""
    log_e = 0.0
    for share in {e.share for e in exposures}:
        arms = [e.challenger for e in exposures if e.share == share]
        log_e += float(ratio_log_e([arms.count(False), arms.count(True)], (1 - share, share)))
    taken = sum(e.challenger for e in exposures)
    e_value = exp(min(log_e, log(_LARGEST_E)))
    return SampleRatio(len(exposures) - taken, taken, e_value, broken=log_e >= log(1 / alpha))


def _outlook(comparison: Comparison, effect: Effect, found: Difference, policy: ExperimentPolicy) -> str:
    """What is missing, in one sentence."""
    arms = comparison.champion.measured, comparison.challenger.measured
    if comparison.estimate is None:
        return (
            f"Too few subjects with {policy.metric}: {arms[0]} with the champion and {arms[1]} with the challenger, "
            f"of {policy.minimum} each."
        )
    if effect is not Effect.UNCLEAR:
        return f"Decided with {sum(arms)} subjects."
    needed = subjects_needed(comparison.estimate, float(found.spread), policy.planned, policy.alpha)
    if needed is None:
        return f"The arms look alike after {sum(arms)} subjects; no affordable number would tell them apart."
    more = max(1, needed - sum(arms))
    return (
        f"About {more} more subjects with {policy.metric} decide it if the difference stays {comparison.estimate:+.3f}."
    )
