"""One look at an A/B: what the subjects of both arms say about the challenger, under the rule of the deployment.

Pure. The unit is the subject, in the arm of its first assignment whatever happened later (intention to treat), with
one number a metric. The claim of superiority and the checks of ratings use only subjects first exposed at the final
split; guardrails use all, each compared within its own split and by confidence sequences under either rule, so that
harm shows at once. Knows no rows, stages or deadlines.
"""

from collections.abc import Sequence
from math import expm1, isfinite, log1p

from core.stats import Interval
from monitoring.experiments import outlook, superiority
from monitoring.experiments.arms import Column, rating, sample_ratio
from monitoring.experiments.findings import Comparison, Effect, Exposure, Findings, Guarded, Harm, Outcome, Taken
from monitoring.experiments.sequential import Difference
from monitoring.policy import ExperimentPolicy, Guardrail, Rule, Scale

_FLOOR = 0.25
"""The squared half range of an outcome from 0 to 1; as a logarithm, a spread of half as much again."""
FLOOR_OF_NET = 1.0
"""The same of ups less downs, from -1 to 1."""
_EFFECTS = {-1: Effect.WORSE, 1: Effect.BETTER}
_DIGITS = 6


def examine(
    exposures: Sequence[Exposure],
    share: float,
    policy: ExperimentPolicy,
    earlier: Sequence[Taken] = (),
    until: int | None = None,
) -> Findings:
    """One look at everything known; `share` is the challenger's share at the final split.

    `earlier` are the looks that a group-sequential test has taken. Only subjects met before `until` (microseconds)
    decide, all guard. Raises ValueError for a subject listed twice, a share that leaves an arm empty or an outcome
    that is no number.
    """
    _check(exposures, share)
    final = [e for e in exposures if e.share == share and (until is None or e.at < until)]
    answered = [e for e in exposures if policy.metric in e.outcomes]
    deciding = [e for e in final if policy.metric in e.outcomes]
    return Findings(
        primary=_primary(final, policy, earlier),
        guardrails=tuple(_guarded(exposures, guardrail, policy) for guardrail in policy.guardrails),
        split=sample_ratio(exposures, policy.ratio_alpha),
        answered=sample_ratio(answered, policy.ratio_alpha),
        rated=sample_ratio([e for e in deciding if e.rated], policy.ratio_alpha),
        rating=rating(deciding, policy, _FLOOR),
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


def _primary(final: Sequence[Exposure], policy: ExperimentPolicy, earlier: Sequence[Taken]) -> Outcome:
    column = Column.of(final, policy.metric)
    found, adjustment = column.differ_adjusted(policy, policy.minimum, FLOOR_OF_NET)
    blank = _comparison(final, column, policy.metric, Scale.DIFFERENCE, None, only_rated=True)
    if policy.rule is Rule.GROUP_SEQUENTIAL:
        outcome = _by_looks(blank, found, policy, earlier)
    else:
        outcome = _by_sequence(blank, found, policy)
    return Outcome(
        outcome.comparison, outcome.effect, outcome.outlook, policy.rule, outcome.taken, adjustment=adjustment
    )


def _by_sequence(blank: Comparison, found: Difference, policy: ExperimentPolicy) -> Outcome:
    """The confidence sequence as it is now."""
    comparison = _filled(blank, found)
    effect = Effect.UNMEASURED
    if comparison.interval:
        low, high = comparison.interval.low, comparison.interval.high
        effect = Effect.BETTER if low > 0 else Effect.WORSE if high < 0 else Effect.UNCLEAR
    return Outcome(comparison, effect, outlook.anytime(comparison, effect, found, policy))


def _by_looks(blank: Comparison, found: Difference, policy: ExperimentPolicy, earlier: Sequence[Taken]) -> Outcome:
    """The last look that was taken, with its repeated confidence interval; this one if another is due.

    C. Jennison and B. W. Turnbull, Interim analyses: the repeated confidence interval approach, JRSS-B 51 (1989).
    """
    rule = superiority.begun(policy, earlier)
    taken = (*earlier, *_another(found, rule, earlier))
    if not taken:
        effect, comparison = Effect.UNMEASURED, blank
    else:
        last = taken[-1]
        reach = last.boundary * last.error
        interval = Interval(last.estimate - reach, last.estimate + reach)
        comparison = Comparison(blank.metric, blank.champion, blank.challenger, last.estimate, interval)
        ended = superiority.is_last(last.information, rule)
        effect = _EFFECTS.get(superiority.verdict(taken), Effect.INCONCLUSIVE if ended else Effect.UNCLEAR)
    return Outcome(comparison, effect, outlook.group_sequential(comparison, effect, found, taken, rule), taken=taken)


def _another(found: Difference, rule: ExperimentPolicy, earlier: Sequence[Taken]) -> Sequence[Taken]:
    """This look, if it is one: enough subjects, and a scheduled number of them passed since the last one."""
    known, before = int(found.n), earlier[-1].information if earlier else 0
    decided = bool(earlier) and superiority.verdict(earlier) != 0
    if decided or not isfinite(float(found.margin)) or not superiority.due(known, before, rule):
        return ()
    boundary = superiority.boundary([*(look.information for look in earlier), known], rule)[-1]
    estimate, z = round(float(found.estimate), _DIGITS), round(float(found.z), _DIGITS)
    # As it will be read back from its row, so that a look says the same for ever.
    error = round(float(found.spread / found.n) ** 0.5, _DIGITS)
    return (Taken(known, rule.planned, estimate, error, z, round(float(boundary), _DIGITS)),)


def _guarded(exposures: Sequence[Exposure], guardrail: Guardrail, policy: ExperimentPolicy) -> Guarded:
    column = Column.of(exposures, guardrail.metric, guardrail.scale)
    found = column.differ(policy, policy.guardrail_minimum, _FLOOR)
    comparison = _comparison(exposures, column, guardrail.metric, guardrail.scale, found)
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


def _comparison(
    exposures: Sequence[Exposure],
    column: Column,
    metric: str,
    scale: Scale,
    found: Difference | None,
    only_rated: bool = False,
) -> Comparison:
    taken = sum(e.challenger for e in exposures)
    champion = column.side(len(exposures) - taken, False, scale, only_rated)
    challenger = column.side(taken, True, scale, only_rated)
    blank = Comparison(metric, champion, challenger, None, None)
    return blank if found is None else _filled(blank, found, scale)


def _filled(blank: Comparison, found: Difference, scale: Scale = Scale.DIFFERENCE) -> Comparison:
    """With the estimate and its interval; left blank during the burn-in."""
    estimate, margin = float(found.estimate), float(found.margin)
    if not isfinite(margin):
        return blank
    back = expm1 if scale is Scale.RATIO else float
    interval = Interval(back(estimate - margin), back(estimate + margin))
    return Comparison(blank.metric, blank.champion, blank.challenger, back(estimate), interval)
