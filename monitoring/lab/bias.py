"""`hone lab bias`: people choose what they rate. What do ratings say of all answers?"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import BadRequest
from core.settings import Settings
from core.stats import Interval, wilson
from monitoring.feedback import quality
from monitoring.feedback.propensity import LEVEL, Asks, Estimates, estimates
from monitoring.lab.figures import Figure, Panel, Report, Unit, mean, share
from monitoring.lab.progress import Step
from monitoring.lab.traffic import Flags, Numbers

QUESTION = "People choose what they rate. What do their ratings say of all answers?"
A_PERSON = 8
"""Answers a subject."""
APART = 0.25
"""How much more than on average the answers to easy questions are liked, and less those to hard ones."""
NAIVE = "ups / (ups + downs)"
WEIGHED = "weighed (IPW)"
BOUNDS = "bounds"
RIGHT = "the interval contains the truth"
PER_ASK = "of answers that were asked about"


@dataclass(frozen=True, slots=True)
class Habits:
    """How answers are liked and rated: `odds` is how many times likelier one sort of answers is to be rated."""

    liked: float
    rate: float
    odds: float
    answers: int


@dataclass(frozen=True, slots=True)
class Told:
    """What one run says: the naive share (None without ratings), its Wilson interval, and the report's estimates."""

    naive: float | None
    interval: Interval
    report: Estimates


Likely = Callable[[Habits, Flags, Flags], Numbers]
"""The chance that an answer which was asked about is rated, by whether it is liked and the question hard."""


def _everybody(_habits: Habits, liked: Flags, _hard: Flags) -> Numbers:
    return np.ones(len(liked))


def _by_chance(habits: Habits, liked: Flags, _hard: Flags) -> Numbers:
    return np.full(len(liked), habits.rate)


def _by_question(habits: Habits, _liked: Flags, hard: Flags) -> Numbers:
    return _likelier(habits, ~hard, 0.5)


def _by_answer(habits: Habits, liked: Flags, _hard: Flags) -> Numbers:
    return _likelier(habits, ~liked, 1 - habits.liked)


def _likelier(habits: Habits, more: Flags, part: float) -> Numbers:
    """`odds` times likelier for `more`, a `part` of all answers, and habits.rate on average."""
    less = habits.rate / (1 + (habits.odds - 1) * part)
    return np.asarray(np.minimum(np.where(more, habits.odds * less, less), 1.0))


WORLDS: dict[str, Likely] = {
    "everybody rates": _everybody,
    "chance decides": _by_chance,
    "easy questions more": _by_question,
    "disliked answers more": _by_answer,
}


def simulate(settings: Settings, habits: Habits, replicates: int, seed: int, step: Step) -> Report:
    """What is said of quality in each world, by a mean, by the report, and by its bounds. Raises BadRequest."""
    ask = settings.feedback.ask
    if ask <= 0:
        raise BadRequest("feedback.ask is 0: no rating is asked for, so that ratings say nothing of all answers.")
    told: dict[str, list[Told]] = {}
    for number, (world, likely) in enumerate(WORLDS.items()):
        rng = np.random.default_rng([seed, number])
        for done in range(replicates):
            step(world, (number + done / replicates) / len(WORLDS))
            told.setdefault(world, []).append(_run(habits, likely, ask, rng))
    figures = list(_figures(told, habits.liked))
    return Report(
        "bias",
        QUESTION,
        figures,
        (
            Panel(
                "What a report says",
                "share of answers that are liked",
                groups=list(map(_group, WORLDS)),
                level=habits.liked,
                level_name="the truth",
            ),
        ),
        tuple(_says(told, habits)),
        {"feedback.ask": ask, "feedback.ask_more": settings.feedback.ask_more},
        {
            "replicates": replicates,
            "turns": habits.answers,
            "seed": seed,
            "rating_rate": habits.rate,
            "liked": habits.liked,
            "effect": habits.odds,
        },
    )


def _run(habits: Habits, likely: Likely, ask: float, rng: np.random.Generator) -> Told:
    n = habits.answers
    hard = rng.random(n) < 0.5
    apart = min(APART, 1 - habits.liked, habits.liked)
    liked = rng.random(n) < habits.liked + apart * np.where(hard, -1, 1)
    asked = rng.random(n) < ask
    rated = rng.random(n) < likely(habits, liked, hard)
    people: NDArray[np.int64] = rng.integers(0, max(n // A_PERSON, 1), n)
    seen, ups = int((asked & rated).sum()), int((asked & rated & liked).sum())
    asks = Asks.of(people[asked], ask, rated[asked], liked[asked], hard[asked].astype(int))
    return Told(ups / seen if seen else None, wilson(ups, seen, LEVEL), estimates(asks))


def _group(world: str) -> str:
    return f"who rates: {world}; the mean report"


def _figures(told: dict[str, list[Told]], truth: float) -> Iterator[Figure]:
    for world, runs in told.items():
        yield _typical(world, NAIVE, [run.naive for run in runs], [run.interval for run in runs], thumb=True)
        ipw = [run.report.ipw for run in runs]
        yield _typical(world, WEIGHED, [each.value for each in ipw], [Interval(i.low, i.high) for i in ipw])
        yield _typical(world, BOUNDS, (), [run.report.quality for run in runs])
    for world, runs in told.items():
        intervals = {
            NAIVE: [run.interval for run in runs],
            WEIGHED: [Interval(run.report.ipw.low, run.report.ipw.high) for run in runs],
            BOUNDS: [run.report.quality for run in runs],
        }
        for name, each in intervals.items():
            hits = [interval.low <= truth <= interval.high for interval in each]
            stated = LEVEL if name == BOUNDS else None
            yield share(RIGHT, f"{world}: {name}", hits, at_least=stated, thumb=name == NAIVE)
    for world, runs in told.items():
        yield mean(PER_ASK, f"{world}: ups", [run.report.up.value or 0.0 for run in runs], Unit.SHARE)
        yield mean(PER_ASK, f"{world}: downs", [run.report.down.value or 0.0 for run in runs], Unit.SHARE)


def _typical(
    world: str, name: str, values: Sequence[float | None], intervals: Sequence[Interval], *, thumb: bool = False
) -> Figure:
    """The means of the reports' values, where they have one, and of the ends of their intervals."""
    low, high = (float(np.mean(ends)) for ends in ([i.low for i in intervals], [i.high for i in intervals]))
    return Figure(
        _group(world), name, _mean(values), Unit.SHARE, Interval(low, high), len(intervals), rule_of_thumb=thumb
    )


def _mean(values: Sequence[float | None]) -> float | None:
    given = [value for value in values if value is not None]
    return float(np.mean(given)) if given else None


def _says(told: dict[str, list[Told]], habits: Habits) -> Iterator[str]:
    runs = told["disliked answers more"]
    naive = _mean([run.naive for run in runs])
    low, high = (
        float(np.mean(ends))
        for ends in zip(*[(r.report.quality.low, r.report.quality.high) for r in runs], strict=True)
    )
    yield (
        f"Truly {habits.liked:.0%} of the answers are liked. Where disliked ones are rated {habits.odds:g} times as "
        f"often, ups / (ups + downs) says {'nothing' if naive is None else f'{naive:.0%}'}; the report says {low:.0%} "
        f"to {high:.0%}, and assumes nothing."
    )
    yield f"Such a report reads: {quality.says(runs[0].report)}"
