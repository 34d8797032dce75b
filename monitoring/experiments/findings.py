"""What one look at an experiment finds, as records; they are kept as JSON, shown, and frozen as evidence.

Pure data. What the numbers mean is computed in experiment.py and ruled on in contest.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from core.stats import Interval
from core.types import Subject
from monitoring.policy import Rule


class Effect(StrEnum):
    """What a look says of the challenger; `unmeasured`: no interval yet, `inconclusive`: the last look has passed."""

    UNMEASURED = "unmeasured"
    UNCLEAR = "unclear"
    BETTER = "better"
    WORSE = "worse"
    INCONCLUSIVE = "inconclusive"


class Harm(StrEnum):
    """What a guardrail says: `excluded` means that harm beyond the margin is ruled out, `unseen` that none is shown."""

    UNMEASURED = "unmeasured"
    UNSEEN = "unseen"
    EXCLUDED = "excluded"
    SHOWN = "shown"


@dataclass(frozen=True, slots=True)
class Exposure:
    """A subject's first assignment, the challenger's share at that time, and the outcomes known so far by metric.

    The deciding metric is ups less downs an answer, an answer without a rating counting as nothing: -1 to 1, and there
    as soon as there is an answer. `before` is the same number from before the experiment, None where there is none.
    """

    subject: Subject
    challenger: bool
    share: float
    outcomes: Mapping[str, float]
    rated: bool = False
    up: float = 0.0
    down: float = 0.0
    before: float | None = None
    at: int = 0
    """When it was first met, in microseconds."""


@dataclass(frozen=True, slots=True)
class Side:
    """One arm of a comparison: its subjects, those with an outcome (of the deciding metric, who rated), their mean."""

    subjects: int
    measured: int
    mean: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Challenger minus champion on one metric; of a ratio, the relative change.

    Once a rule has decided, the interval holds as before, but the estimate is too large on average: a test is more
    likely to stop while chance is on its side.
    """

    metric: str
    champion: Side
    challenger: Side
    estimate: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Taken:
    """A look of a group-sequential test as it was taken: its rated subjects, what they said, and the |z| that decides.

    `planned` is the plan that the test began with, and goes on under.
    """

    information: int
    planned: int
    estimate: float
    error: float
    z: float
    boundary: float


@dataclass(frozen=True, slots=True)
class Adjustment:
    """How far the differences that were there before have been taken out: the share of the variance that is gone."""

    subjects: int
    slope: float
    reduction: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """The primary comparison and what is missing to decide it."""

    comparison: Comparison
    effect: Effect
    outlook: str
    rule: Rule = Rule.ANYTIME
    taken: Sequence[Taken] = ()
    """The looks of `group_sequential` so far; the comparison is that of the last one."""
    adjustment: Adjustment | None = None


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
class Voice:
    """What one arm's subjects with an answer said: mean shares of answers, and the share of subjects who rated."""

    answered: int
    rated: int
    up: float | None
    down: float | None
    rate: float | None


@dataclass(frozen=True, slots=True)
class Rating:
    """Both arms' ratings; `alarm`: their subjects do not rate equally often, at an e-value beyond 1 / `alpha`."""

    champion: Voice
    challenger: Voice
    e_value: float
    alarm: bool
    alpha: float


@dataclass(frozen=True, slots=True)
class Findings:
    """All that one look at an experiment says."""

    primary: Outcome
    guardrails: Sequence[Guarded]
    split: SampleRatio
    """Of the subjects assigned."""
    answered: SampleRatio
    """Of those who got an answer: an arm that loses subjects before its first answer cannot be compared."""
    rated: SampleRatio
    """Of those who rated."""
    rating: Rating
    left_out: int
    """Subjects outside the primary comparison: met before the final split, or in a week that is not over."""
