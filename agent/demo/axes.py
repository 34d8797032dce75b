"""Axes of charts: where a value lies between two ends, and the labels that people read. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600)
"""Distances between two labels of an axis."""


@dataclass(frozen=True, slots=True)
class Axis:
    """The values from end to end, and the labels between."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]

    def place(self, value: float) -> float:
        """Where a value lies, 0..1; what lies outside is put at the end."""
        reach = self.high - self.low
        return min(1.0, max(0.0, (value - self.low) / reach)) if reach else 0.0


def seconds(low: float, high: float) -> Axis:
    """An axis of time with a handful of labels."""
    step = next((step for step in STEPS if (high - low) / step <= 5), STEPS[-1])
    first = int(low // step) * step
    places = [first + step * n for n in range(int((high - first) // step) + 1)]
    return Axis(low, high, [(float(place), clock(place)) for place in places if place >= low])


def shares() -> Axis:
    """An axis of shares from nothing to all."""
    return Axis(0.0, 1.0, [(value, f"{value:.0%}") for value in (0.0, 0.25, 0.5, 0.75, 1.0)])


def counts(high: float) -> Axis:
    """An axis of whole numbers from 0 with a handful of labels."""
    step = next(
        (step * scale for scale in (1, 10, 100, 1000) for step in (1, 2, 5) if high / (step * scale) <= 5), 5000
    )
    return Axis(0.0, high, [(float(step * n), f"{step * n}") for n in range(int(high // step) + 1)])


def around(values: Sequence[float]) -> Axis:
    """An axis that holds these values and zero, in steps that people read."""
    low, high = min([0.0, *values]), max([0.0, *values])
    high = high if high > low else low + 1.0
    scale = 10.0 ** floor(log10(high - low))
    step = next(part * scale for part in (0.2, 0.5, 1, 2) if (high - low) / (part * scale) <= 6)
    first, last = floor(low / step), ceil(high / step)
    ticks = [(step * n, f"{step * n:+.3g}" if low < 0 and n else f"{step * n:.3g}") for n in range(first, last + 1)]
    return Axis(first * step, last * step, ticks)


def duration(length: float) -> str:
    """A stretch of time in few letters: 0.6 s, 45 s, 2 min, 2 min 30 s."""
    if length < 10 and length != int(length):
        return f"{length:.1f} s"
    minutes, rest = divmod(round(length), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def clock(length: float) -> str:
    """A time on an axis: 45 s, 2 min, 2:30."""
    minutes, rest = divmod(round(length), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes}:{rest:02}" if rest else f"{minutes} min"
