"""What is missing to decide an experiment, in a sentence: about how many more rated subjects, and how many at most.

Pure. Supposes that the difference stays what it is, which it will not: a number to plan by, not a promise.
"""

from collections.abc import Sequence

import numpy as np

from monitoring.experiments import superiority
from monitoring.experiments.findings import Comparison, Effect, Taken
from monitoring.experiments.sequential import Difference, subjects_needed
from monitoring.policy import ExperimentPolicy

_BIASED = "the interval holds, the estimate itself is more likely too large than too small"
"""A test stops while chance is on its side."""


def anytime(comparison: Comparison, effect: Effect, found: Difference, policy: ExperimentPolicy) -> str:
    """The outlook of a confidence sequence."""
    rated = _rated(comparison)
    if comparison.estimate is None:
        return _too_few(comparison, policy)
    if effect is not Effect.UNCLEAR:
        return f"Decided with {rated} rated subjects; {_BIASED}."
    needed = subjects_needed(comparison.estimate, float(found.spread), policy.planned, policy.alpha)
    if needed is None:
        return f"The arms look alike after {rated} rated subjects; no affordable number would tell them apart."
    return _more(max(1, needed - rated), comparison.estimate)


def group_sequential(
    comparison: Comparison, effect: Effect, found: Difference, taken: Sequence[Taken], policy: ExperimentPolicy
) -> str:
    """The outlook of a test with a planned number of looks; `policy` is the one that it began under."""
    rated = _rated(comparison)
    if taken and effect is not Effect.UNCLEAR:
        last = taken[-1].information
        if effect is Effect.INCONCLUSIVE:
            return f"The last look, with {last} rated subjects, showed no difference."
        return f"Decided at look {len(taken)}, with {last} rated subjects; {_BIASED}."
    if min(comparison.champion.measured, comparison.challenger.measured) < policy.minimum:
        return _too_few(comparison, policy)
    coming = _coming(rated, policy)
    then = f"The next look is after {max(1, coming[0] - rated)} more"
    if len(coming) > 1:
        then = f"{then}, the last after {max(1, coming[-1] - rated)} more"
    needed = _needed(coming, float(found.estimate), float(found.spread), taken, policy) if taken else None
    if needed is None:
        return f"{then} rated subjects."
    return f"{then}. {_more(max(1, needed - rated), float(found.estimate))}"


def _needed(
    coming: Sequence[int], estimate: float, spread: float, taken: Sequence[Taken], policy: ExperimentPolicy
) -> int | None:
    """The rated subjects of the first coming look that would decide if everything stayed as it is."""
    known = [look.information for look in taken]
    for place in range(len(coming)):
        ahead = [n for n in coming[: place + 1] if n > known[-1]]
        bound = superiority.boundary([*known, *ahead], policy)[-1]
        if ahead and abs(estimate) * np.sqrt(ahead[-1] / max(spread, 1e-12)) >= bound:
            return ahead[-1]
    return None


def _coming(rated: int, policy: ExperimentPolicy) -> Sequence[int]:
    """The numbers of rated subjects at which looks are still to be taken."""
    passed = int(superiority.scheduled(rated, policy))
    ahead = range(passed + 1, policy.looks + 1)
    return [-(-policy.planned * number // policy.looks) for number in ahead] or [rated + 1]


def _rated(comparison: Comparison) -> int:
    return comparison.champion.measured + comparison.challenger.measured


def _too_few(comparison: Comparison, policy: ExperimentPolicy) -> str:
    arms = comparison.champion.measured, comparison.challenger.measured
    return (
        f"Too few subjects with {policy.metric}: {arms[0]} with the champion and {arms[1]} with the challenger, "
        f"of {policy.minimum} each."
    )


def _more(subjects: int, estimate: float) -> str:
    return f"About {subjects} more rated subjects decide it if the difference stays {estimate:+.3f}."
