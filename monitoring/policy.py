"""The rules of monitoring's decisions: frozen values with the reason for each default.

`policies` takes what a deployment may set from its settings; levels of error are set nowhere. Knows not what is decided
with them. Times and ages are microseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from core.clock import HOUR
from core.errors import ConfigError
from core.settings import Settings


class Rollout(StrEnum):
    """How a candidate proves itself before approval: on live subjects, or by blind preferences where users are few."""

    AB = "ab"
    REVIEW = "review"


class Rule(StrEnum):
    """When an A/B may end: at any look, or at a fixed number of looks until a planned number of rated subjects."""

    ANYTIME = "anytime"
    GROUP_SEQUENTIAL = "group_sequential"


class Scale(StrEnum):
    """How a guardrail compares two arms: as a difference of means, or as a ratio of geometric means."""

    DIFFERENCE = "difference"
    RATIO = "ratio"


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A metric that may not be harmed by more than `margin`: 0.05 of a difference, 0.25 for +25 % of a ratio.

    One that `may_stay_unmeasured` is shown elsewhere, so that here only harm counts.
    """

    metric: str
    margin: float
    scale: Scale = Scale.DIFFERENCE
    higher_is_worse: bool = True
    may_stay_unmeasured: bool = False


GUARDRAILS = (
    Guardrail("latency", 0.25, Scale.RATIO),
    Guardrail("errors", 0.02),
    Guardrail("length", 0.5, Scale.RATIO),
    Guardrail("old_skills", 0.05, higher_is_worse=False, may_stay_unmeasured=True),
)
"""What users would notice: a quarter slower, two failures more in a hundred, half as long again, old answers lost.

That old skills are kept is shown offline and in shadow; few subjects happen to ask an old question while one looks.
"""


@dataclass(frozen=True, slots=True)
class ExperimentPolicy:
    """`alpha`, `ratio_alpha` and the floor of 30 subjects an arm belong to the tests' validity: no profile changes
    them. `planned` subjects is where the anytime interval is tightest (it stays valid everywhere); a plan off by a
    factor of ten costs about a quarter more subjects.
    """

    metric: str = "thumbs"
    rule: Rule = Rule.ANYTIME
    alpha: float = 0.05
    planned: int = 400
    """Rated subjects of both arms; under `group_sequential` the last look is there."""
    looks: int = 14
    minimum: int = 50
    """Rated subjects that each arm needs before anything is claimed; 30 at least."""
    ratio_alpha: float = 0.001
    """A broken split is a defect of the machinery: rare, so its alarm may almost never be false."""
    guardrails: Sequence[Guardrail] = GUARDRAILS
    guardrail_minimum: int = 30

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1 or not 0 < self.ratio_alpha < 1:
            raise ValueError(f"alpha lies between 0 and 1, not {self.alpha} and {self.ratio_alpha}")
        if min(self.minimum, self.guardrail_minimum) < 30:
            raise ValueError("each arm needs 30 subjects at least: below that the intervals do not hold their level")
        if self.looks < 1:
            raise ValueError(f"a group-sequential test has at least one look, not {self.looks}")


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """A false alarm every `run_length` observations of a stream on average, while nothing changes."""

    run_length: float = 10_000
    min_reference: int = 500
    """Below it a reference says little about its own tails."""
    min_share_reference: int = 200
    """Ratings are rarer than answers; the reference's own error is allowed for."""
    max_reference: int = 5_000
    """More sharpens nothing, and the state is to stay small."""
    drop: float = 0.2
    """The fall of a share that the Bernoulli test is sharpest for; smaller ones are found later."""
    cycle: int = 24 * HOUR
    """The rhythm of the traffic, of which a reference holds a whole one: values are compared with those of the same
    hour. 0: there is none."""

    def family(self, streams: int) -> float:
        """Observations between two false alarms of any of so many streams, at least, whatever their dependence.

        Bonferroni's bound: their false alarms add up. Raises ValueError for less than one stream.
        """
        if streams < 1:
            raise ValueError(f"a family has one stream at least, not {streams}")
        return self.run_length / streams


@dataclass(frozen=True, slots=True)
class CalibrationPolicy:
    """A false alarm every `run_length` rated answers at most, on average, while confidence means what it says.

    That is what theory gives for any law of confidences; simulated with Beta(4, 1.5) it is a hundred times longer.
    """

    run_length: float = 400
    min_labels: int = 100
    """Fewer labels than this say nothing about ten percent, either way."""
    bins: int = 15
    source: str = "logprob"
    """The name of the score that states the confidence of an answer."""
    recalibrate: bool = True
    """Whether an alarm makes a new map by itself; otherwise an operator must acknowledge it first."""
    isotonic_from: int = 1_000
    """Labels below which a map of free form learns noise."""
    max_labels: int = 5_000
    """The newest ones that are kept; more would sharpen nothing that matters."""
    actor_share: float = 0.05
    actor_votes: int = 5
    """How much one actor may weigh: this share of all votes, or so many votes however few there are."""


@dataclass(frozen=True, slots=True)
class TriggerPolicy:
    """When a run may start by itself."""

    min_rows: int = 120
    min_topics: int = 3
    new_feedback: int = 500
    """Usable new ratings that arm by themselves; 0: never."""
    every: int = 0
    """The calendar's interval; 0: never, since a run without a reason costs an approval."""
    expire_after: int = 72 * HOUR
    cool_down: int = 24 * HOUR
    """After a run that ended well; a failed one may be tried again after `retry_after`, up to `max_failures` times."""
    retry_after: int = HOUR // 4
    max_failures: int = 3
    off_peak: tuple[int, int] | None = None
    """Hours of the day (UTC) in which triggers may start a run: (22, 6) spans midnight; None: always."""
    supersede_after: int = 24 * HOUR
    """How long a gate holds a candidate until a newer one may be trained in its place."""

    def __post_init__(self) -> None:
        if self.off_peak and not all(0 <= hour < 24 for hour in self.off_peak):
            raise ValueError(f"off-peak hours lie between 0 and 23, not {self.off_peak}")


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """What each stage demands. A candidate held for `max_hold` in one stage is rejected as inconclusive."""

    rollout: Rollout = Rollout.AB
    alpha: float = 0.05
    max_hold: int = 7 * 24 * HOUR
    """One week: a full cycle of traffic passed without showing anything."""
    margin: float = 0.05
    """The loss of old skills, in points of the share right, that is called not inferior."""
    min_held_out: int = 30
    min_pairs: int = 50
    min_coverage: float = 0.5
    """Share of the mirrored calls that must come back as pairs, lest they be a selection."""
    max_failures: float = 0.02
    """Share of the mirrored calls that the candidate may fail."""
    min_preferences: int = 30
    """Blind paired preferences that stand in for an A/B under `review`."""
    min_decisive: int = 100
    """Pairs that a judge must have decided in both orders before it is heard."""
    min_consistency: float = 0.6
    first_pick: tuple[float, float] = (0.4, 0.6)
    """A judge that names other winners when the answers change places, or that prefers a place, is not heard."""
    min_traps: int = 30
    max_fooled: float = 0.15
    """Share of decoys beside liked answers that a judge may prefer, for certain."""
    ramp_subjects: int = 30
    """Subjects of the challenger in the small first step before the final split."""
    min_time: int = 24 * HOUR
    """Shortest A/B at the final split, so that day and night are in it."""
    whole_weeks: bool = False
    """Whether only subjects met in whole weeks at the final split decide, one week at least."""


@dataclass(frozen=True, slots=True)
class Policies:
    """Every rule of one deployment."""

    drift: DriftPolicy
    calibration: CalibrationPolicy
    trigger: TriggerPolicy
    experiment: ExperimentPolicy
    gate: GatePolicy


def policies(settings: Settings) -> Policies:
    """The rules as the settings have them. Raises ConfigError for settings that contradict one another."""
    drift, calibration = settings.drift, settings.calibration
    if drift.max_reference < drift.min_reference:
        raise ConfigError(
            f"drift.max_reference ({drift.max_reference}) is below drift.min_reference ({drift.min_reference}): no "
            "stream would ever be watched."
        )
    return Policies(
        DriftPolicy(
            run_length=drift.run_length,
            min_reference=drift.min_reference,
            min_share_reference=drift.min_share_reference,
            max_reference=drift.max_reference,
            drop=drift.drop,
            cycle=_hours(drift.cycle_hours),
        ),
        CalibrationPolicy(
            run_length=calibration.run_length,
            min_labels=calibration.min_labels,
            source=calibration.confidence,
            recalibrate=calibration.recalibrate,
        ),
        _trigger_policy(settings),
        ExperimentPolicy(
            metric=settings.experiment.metric,
            rule=Rule(settings.experiment.rule),
            planned=settings.experiment.planned,
            looks=settings.experiment.looks,
            minimum=settings.experiment.minimum,
            guardrail_minimum=settings.experiment.guardrail_minimum,
        ),
        _gate_policy(settings),
    )


def _trigger_policy(settings: Settings) -> TriggerPolicy:
    triggers = settings.triggers
    try:
        return TriggerPolicy(
            min_rows=settings.training.min_rows,
            min_topics=settings.training.min_topics,
            new_feedback=triggers.new_feedback,
            every=_hours(triggers.every_hours),
            expire_after=_hours(triggers.expire_hours),
            cool_down=_hours(triggers.cool_down_hours),
            retry_after=_hours(triggers.retry_hours),
            max_failures=triggers.max_failures,
            off_peak=_window(triggers.off_peak),
            supersede_after=_hours(triggers.supersede_hours),
        )
    except ValueError as error:
        raise ConfigError(f"setting triggers.off_peak: {error}") from None


def _gate_policy(settings: Settings) -> GatePolicy:
    gate, experiment = settings.gate, settings.experiment
    return GatePolicy(
        rollout=Rollout(experiment.rollout),
        max_hold=_hours(gate.max_hold_hours),
        margin=gate.margin,
        min_held_out=gate.min_held_out,
        min_pairs=gate.min_pairs,
        min_coverage=gate.min_coverage,
        max_failures=gate.max_failures,
        min_preferences=gate.min_preferences,
        min_decisive=settings.judge.min_decisive,
        ramp_subjects=experiment.first_subjects,
        min_time=_hours(experiment.min_hours),
        whole_weeks=experiment.whole_weeks,
    )


def _hours(hours: float) -> int:
    return round(hours * HOUR)


def _window(hours: Sequence[int]) -> tuple[int, int] | None:
    if len(hours) == 1:
        raise ValueError(f"a window has a first and a last hour, not {list(hours)}")
    return (hours[0], hours[1]) if hours else None
