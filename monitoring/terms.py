"""What the settings ask of a candidate, as the policies of gate and experiment, with one digest over all of it.

Evidence that was gathered under other terms counts no more. Pure; knows no rows.
"""

import hashlib
from dataclasses import asdict, dataclass

import orjson

from core.clock import HOUR
from core.errors import ConfigError
from core.settings import Metric, Settings
from monitoring.policy import ExperimentPolicy, GatePolicy, policies


@dataclass(frozen=True, slots=True)
class Measure:
    """The feedback that decides, brought to 0..1 with 1 as its better end."""

    name: str
    low: float
    high: float
    higher_is_better: bool

    def of(self, value: float) -> float:
        """A value, or a mean of values, on the scale of 0 to 1."""
        share = min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)
        return share if self.higher_is_better else 1.0 - share


@dataclass(frozen=True, slots=True)
class Terms:
    """Times are microseconds, shares 0..1."""

    gate: GatePolicy
    experiment: ExperimentPolicy
    measure: Measure
    shadow_share: float
    first_share: float
    share: float
    max_length_ratio: float
    max_age: int
    """How old frozen evidence may become."""
    supersede_after: int
    """How long a held candidate may stand in the way of a newer one."""

    @property
    def digest(self) -> str:
        """SHA-256 over all that evidence depends on; how long things may wait is no part of it."""
        document = asdict(self)
        for name in ("max_age", "supersede_after"):
            del document[name]
        return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()


def terms(settings: Settings) -> Terms:
    """The terms of a deployment. Raises ConfigError when the deciding metric cannot decide."""
    rules, experiment = policies(settings), settings.experiment
    return Terms(
        gate=rules.gate,
        experiment=rules.experiment,
        measure=_measure(experiment.metric, settings.feedback.names.get(experiment.metric)),
        shadow_share=settings.shadow.share,
        first_share=min(experiment.first_share, experiment.share),
        share=experiment.share,
        max_length_ratio=settings.gate.max_length_ratio,
        max_age=round(settings.approval.max_age_hours * HOUR),
        supersede_after=rules.trigger.supersede_after,
    )


def _measure(name: str, declared: Metric | None) -> Measure:
    if declared is None:
        raise ConfigError(f"experiment.metric is {name}, which feedback.names does not declare; declare it there.")
    if declared.type == "label" or declared.better == "none":
        raise ConfigError(
            f"experiment.metric is {name}, which has no better end; choose a number or a boolean whose `better` "
            "is higher or lower."
        )
    return Measure(name, declared.low, declared.high, declared.better == "higher")
