"""What an experiment in the lab found: numbers with their Monte Carlo error, curves, and sentences about them.

Pure; knows neither how it is shown nor what was simulated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaincinv

from core.stats import Interval, wilson
from core.types import Json, JsonObject

LEVEL = 0.997
"""The confidence of every interval: three Monte Carlo errors to each side."""
_ERRORS = 3.0


class Unit(StrEnum):
    SHARE = "share"
    COUNT = "count"
    NUMBER = "number"


class Judged(StrEnum):
    """How a simulated figure stands to the stated one."""

    KEPT = "kept"
    COMPATIBLE = "compatible"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a group; `of` is how many replicates it comes from, None when nothing was simulated for it.

    `at_most` or `at_least` is what is stated about it. `rule_of_thumb` marks what others do, shown for comparison.
    """

    group: str
    name: str
    value: float | None
    unit: Unit = Unit.SHARE
    interval: Interval | None = None
    of: int | None = None
    at_most: float | None = None
    at_least: float | None = None
    rule_of_thumb: bool = False
    note: str = ""

    @property
    def judged(self) -> Judged | None:
        """None where nothing is stated; COMPATIBLE where more replicates would have to tell."""
        if self.interval is None or (self.at_most is None and self.at_least is None):
            return None
        low, high, bound = self.interval.low, self.interval.high, self.at_most
        if bound is None:
            low, high, bound = -high, -low, -(self.at_least or 0.0)
        return Judged.BROKEN if low > bound else Judged.KEPT if high <= bound else Judged.COMPATIBLE


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of a panel; `low` and `high` are its band where there is one. `stated`: a promise, not a measurement."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    rule_of_thumb: bool = False
    stated: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One part of a plot: curves, or the figures of some groups as dots with their intervals."""

    title: str
    x: str
    y: str = ""
    curves: Sequence[Curve] = ()
    groups: Sequence[str] = ()
    level: float | None = None
    """A value that is drawn across, and what it is."""
    level_name: str = "as stated"
    logarithmic: bool = False
    shares: bool = True
    """Whether the values are shares, written in percent."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that one command found, with the settings and options that it was found under."""

    command: str
    question: str
    figures: Sequence[Figure]
    panels: Sequence[Panel]
    says: Sequence[str]
    settings: Mapping[str, Json]
    options: Mapping[str, Json]

    def of(self, group: str) -> Sequence[Figure]:
        return [figure for figure in self.figures if figure.group == group]


def share(
    group: str,
    name: str,
    hits: ArrayLike,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    thumb: bool = False,
) -> Figure:
    """The share of the replicates that are true in `hits`, with its Wilson interval."""
    true = np.asarray(hits, dtype=bool)
    right, of = int(true.sum()), true.size
    interval = wilson(right, of, LEVEL)
    return Figure(group, name, right / of, Unit.SHARE, interval, of, at_most, at_least, rule_of_thumb=thumb)


def mean(
    group: str, name: str, values: ArrayLike, unit: Unit = Unit.COUNT, *, thumb: bool = False, note: str = ""
) -> Figure:
    """The mean over replicates with its normal interval; no value when there are no replicates."""
    each = np.asarray(values, dtype=float)
    if each.size == 0:
        return Figure(group, name, None, unit, of=0, rule_of_thumb=thumb, note=note)
    centre, reach = float(each.mean()), _ERRORS * float(each.std()) / max(each.size - 1, 1) ** 0.5
    interval = Interval(centre - reach, centre + reach)
    return Figure(group, name, centre, unit, interval, each.size, rule_of_thumb=thumb, note=note)


def median(group: str, name: str, delays: ArrayLike, within: int, *, thumb: bool = False) -> Figure:
    """The median of delays, -1 counting as not found `within` so many; no value when that is half of them or more."""
    each = np.asarray(delays)
    found = np.where(each < 0, np.inf, each)
    middle = float(np.median(found)) if found.size else np.inf
    share_found = float(np.isfinite(found).mean()) if found.size else 0.0
    value = middle if np.isfinite(middle) else None
    note = f"{share_found:.0%} found within {within:,}"
    return Figure(group, name, value, Unit.COUNT, of=found.size, rule_of_thumb=thumb, note=note)


def run_length(
    group: str, name: str, alarms: int, observed: int, *, at_least: float | None = None, thumb: bool = False
) -> Figure:
    """Observations between two alarms where `alarms` came in `observed` ones; without any, that it is longer.

    Alarms are counted as Poisson: its exact interval, from the gamma distribution.
    """
    tail = (1 - LEVEL) / 2
    most = float(gammaincinv(alarms + 1, 1 - tail))
    least = float(gammaincinv(alarms, tail)) if alarms else 0.0
    interval = Interval(observed / most, observed / least if least else float("inf"))
    value = observed / alarms if alarms else None
    note = "" if alarms else f"no alarm in {observed:,}"
    return Figure(group, name, value, Unit.COUNT, interval, observed, at_least=at_least, rule_of_thumb=thumb, note=note)


def to_json(report: Report, seconds: float) -> JsonObject:
    """The report for programs; an infinite end of an interval is null."""
    return {
        "command": report.command,
        "question": report.question,
        "settings": dict(report.settings),
        "options": dict(report.options),
        "figures": [_figure(figure) for figure in report.figures],
        "curves": [
            {"panel": panel.title, **{name: _plain(value) for name, value in asdict(curve).items()}}
            for panel in report.panels
            for curve in panel.curves
        ],
        "says": list(report.says),
        "seconds": round(seconds, 2),
    }


def _figure(figure: Figure) -> JsonObject:
    ends = None
    if figure.interval:
        ends = {"low": _finite(figure.interval.low), "high": _finite(figure.interval.high), "level": LEVEL}
    return {
        "group": figure.group,
        "name": figure.name,
        "value": _finite(figure.value),
        "unit": figure.unit,
        "interval": ends,
        "replicates": figure.of,
        "at_most": figure.at_most,
        "at_least": figure.at_least,
        "verdict": figure.judged,
        "rule_of_thumb": figure.rule_of_thumb,
        "note": figure.note,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None


def _plain(value: object) -> Json:
    if isinstance(value, bool | str):
        return value
    return [_finite(float(each)) for each in value]  # type: ignore[attr-defined]
