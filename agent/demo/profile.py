"""What a demo changes in the settings, so that weeks pass in minutes: cadences, least exposures, the ramp, who trains.

No level of error, no margin and no test is ever among it: what is not named in MAY_CHANGE is refused. The profile is a
settings file in the data folder that says of each change what it was and why.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from core.config import Settings
from core.errors import ConfigError
from core.section import Section

Value = bool | int | float | str

MAY_CHANGE = frozenset(
    {
        "monitoring.tick",
        "monitoring.lease",
        "training.look_every",
        "training.may_train",
        "training.min_rows",
        "drift.cycle_hours",
        "drift.min_reference",
        "drift.min_share_reference",
        "shadow.share",
        "feedback.ask",
        "experiment.planned",
        "experiment.minimum",
        "experiment.first_subjects",
        "experiment.min_hours",
    }
)
"""Cadences, least exposures, the ramp, who is asked and whose words train; nothing that makes a finding true."""
LEAST_EXPOSURE = 30
"""Below it the tests do not hold their level."""
SHARE_LEARNT = 0.85
"""The part of the shift that must have been asked and corrected before a run starts."""
REPEATED = 0.04
"""The part of all rows that may turn out to be too alike to teach anything."""
HEADER = """\
# The settings of this demo. They hurry cadences, least exposures and the ramp, and let everybody's words train.
# No alpha, no margin and no test is changed: what is shown is shown at the product's own levels of error.
# `hone up` on this folder does not read this file; HONE_CONFIG=this-file would.
"""


@dataclass(frozen=True, slots=True)
class Change:
    """One setting of the profile, and why it is not the default."""

    name: str
    value: Value
    why: str

    @property
    def default(self) -> Value:
        """What it is without a demo. Raises ConfigError for a setting that does not exist."""
        return default(self.name)


def profile(ordinary: int, shifted: int) -> tuple[Change, ...]:
    """The changes for a scenario with so many different rows to be played in the first phase and in the later ones."""
    reference = min(100, max(LEAST_EXPOSURE, ordinary // 3))
    rows = max(1, int((1 - REPEATED) * ordinary + SHARE_LEARNT * shifted))
    changes = (
        Change("monitoring.tick", 1.0, "look every second"),
        Change("monitoring.lease", 10.0, "a hung conductor is noticed within the demo"),
        Change("training.look_every", 2.0, "count every two seconds what could be trained on"),
        Change("training.may_train", "all", "customers' words train, as there are no reviewers"),
        Change("training.min_rows", rows, "start when most of the shift was corrected, not at its first rows"),
        Change("drift.cycle_hours", 0.0, "no hours of the day in a demo"),
        Change("drift.min_reference", reference, "a reference of minutes"),
        Change("drift.min_share_reference", reference, "the same for thumbs"),
        Change("feedback.ask", 1.0, "each customer is asked about each answer"),
        Change("shadow.share", 1.0, "every call is mirrored, so that few calls suffice"),
        Change("experiment.planned", 120, "so many customers are simulated"),
        Change("experiment.minimum", LEAST_EXPOSURE, "the least at which the test holds its level"),
        Change("experiment.first_subjects", 8, "a short first step"),
        Change("experiment.min_hours", 0.0, "no day and no night in a demo"),
    )
    check(changes)
    return changes


def check(changes: Sequence[Change]) -> None:
    """Raise ConfigError for a change that a demo may not make."""
    for change in changes:
        if change.name not in MAY_CHANGE:
            raise ConfigError(f"A demo may not change {change.name}: only cadences, least exposures and the ramp.")
        if change.name in ("experiment.minimum", "experiment.planned") and float(change.value) < LEAST_EXPOSURE:
            raise ConfigError(f"A demo may not set {change.name} below {LEAST_EXPOSURE}.")


def render(changes: Sequence[Change]) -> str:
    """The profile as a settings file."""
    check(changes)
    sections = dict.fromkeys(change.name.rpartition(".")[0] for change in changes)
    lines = [HEADER]
    for section in sections:
        lines.append(f"[{section}]")
        lines += [_line(change) for change in changes if change.name.rpartition(".")[0] == section]
        lines.append("")
    return "\n".join(lines)


def changed(settings: Settings) -> dict[str, tuple[Value, Value]]:
    """Every setting that differs from its default, with the default and what it is."""
    now, before = dict(_values(settings, "")), dict(_values(Settings(), ""))
    return {name: (before[name], value) for name, value in now.items() if value != before[name]}


def default(name: str) -> Value:
    """Raises ConfigError for a setting that does not exist."""
    values = dict(_values(Settings(), ""))
    if name not in values:
        raise ConfigError(f"There is no setting {name}.")
    return values[name]


def _line(change: Change) -> str:
    name = change.name.rpartition(".")[2]
    return f"{name} = {_toml(change.value)}  # instead of {_toml(change.default)}: {change.why}"


def _toml(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else f"{value}"


def _values(section: Section, prefix: str) -> Iterator[tuple[str, Value]]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _values(value, f"{prefix}{name}.")
        elif isinstance(value, bool | int | float | str):
            yield f"{prefix}{name}", value
