"""A look after each subject of a simulated A/B: what the real rules say at every one of them.

Sums and counts are made here, intervals in sequential.py and verdicts in superiority.py. Knows nothing of worlds.
"""

from dataclasses import replace

import numpy as np

from monitoring.experiments import superiority
from monitoring.experiments.experiment import FLOOR_OF_NET
from monitoring.experiments.sequential import Difference, Moments, difference
from monitoring.experiments.superiority import Verdicts
from monitoring.lab.traffic import Cohort, Flags, Numbers
from monitoring.policy import ExperimentPolicy, Rule

Z = 1.96
"""Beyond it a test of level .05 rejects that is looked at once."""


def after_each(cohort: Cohort, policy: ExperimentPolicy) -> Difference:
    """The comparison after each subject who came at the final split; those who came before it do not decide."""
    final = cohort.share == cohort.share[-1]
    value, rated, challenger = cohort.value[:, final], cohort.rated[:, final], cohort.challenger[:, final]
    return compared(_arm(value, rated, ~challenger), _arm(value, rated, challenger), policy)


def pooled(cohort: Cohort, policy: ExperimentPolicy) -> Difference:
    """The same over all subjects as if the split had never changed: what must not be done on a ramp."""
    return after_each(replace(cohort, share=np.full_like(cohort.share, cohort.share[-1])), policy)


def compared(champion: Moments, challenger: Moments, policy: ExperimentPolicy) -> Difference:
    """The confidence sequence of live experiments, at all looks."""
    return difference(
        champion, challenger, planned=policy.planned, alpha=policy.alpha, burn_in=policy.minimum, floor=FLOOR_OF_NET
    )


def verdicts(found: Difference, rule: Rule, policy: ExperimentPolicy) -> Verdicts:
    """-1, 0 or 1 at each look, by the code that decides live experiments."""
    if rule is Rule.ANYTIME:
        return superiority.anytime(found, policy)
    return superiority.group_sequential(found.z, found.n, policy)


def peeked(found: Difference) -> Verdicts:
    """A test that is meant to be looked at once, looked at every time."""
    z = np.nan_to_num(found.z)
    return superiority.sticky(np.where(np.abs(z) > Z, np.sign(z), 0.0))


def moments(total: Numbers, squares: Numbers, n: Numbers, informed: Numbers | None = None) -> Moments:
    """One arm at each look from its running sums; in one split."""
    mean = total / np.maximum(n, 1)
    variance = np.maximum(squares - n * mean**2, 0.0) / np.maximum(n - 1, 1)
    return Moments(n[None], mean[None], variance[None], None if informed is None else informed[None])


def _arm(value: Numbers, rated: Flags, member: Flags) -> Moments:
    own = np.where(member, value, 0.0)
    n, informed = (np.cumsum(each, axis=1, dtype=float) for each in (member, rated & member))
    return moments(np.cumsum(own, axis=1), np.cumsum(own**2, axis=1), n, informed)
