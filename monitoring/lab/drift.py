"""`hone lab drift`: traffic stays what it is, or changes. How often does it alarm, and how soon after a change?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.clock import HOUR
from core.settings import Settings
from core.types import JsonObject
from monitoring.drift import effects, numbers, shares, watchlist
from monitoring.lab.figures import Curve, Figure, Panel, Report, Unit, median, run_length, share
from monitoring.lab.progress import Step
from monitoring.policy import DriftPolicy, Policies, policies

QUESTION = "Traffic stays what it is, or changes. How often does a stream alarm, and how soon after a change?"
SHIFTS = (0.25, 0.5, 1.0)
"""Standard deviations of the reference."""
TURNS = 10_000
QUIET, HORIZON = 300, 4000
"""Turns before a change, and after it."""
GOOD = 0.8
REFERENCES = 10
"""References of a share that the replicates are spread over, at most."""
PART = 20
"""One replicate of so many goes through the whole watch, reference included; the others have scores made directly."""
A_DAY = 1500
PATHS = {"numbers, reference collected": 0.0, "numbers, daily cycle": 0.7}
"""Standard deviations by which the mean swings over the day."""
SIZES = (100, 200, 500, 1000, 2000)
INDICES = 5
"""Windows of each size a replicate."""
PSI_LIMIT, KS_LEVEL = 0.1, 0.05
"""Usual thresholds."""
FALSE = "quiet: turns between two alarms of a stream"
ALL = "quiet: turns between two alarms of all streams together"
FOUND = "changed: turns until it is found, median"
INDEX = f"quiet: a window has a PSI above {PSI_LIMIT}"
POINT = "quiet: a window has a PSI above the 95 % point that reports show beside it"

Index = tuple[NDArray[np.bool_], NDArray[np.bool_]]
Alarms = NDArray[np.int64]
"""The index of the first alarm of each run, -1 for none."""


@dataclass(frozen=True, slots=True)
class Watched:
    """Runs of one stream: when each alarmed first, of how many turns."""

    name: str
    first: Alarms
    turns: int
    thumb: bool = False

    def figure(self, at_least: float | None) -> Figure:
        observed = int(np.where(self.first < 0, self.turns, self.first + 1).sum())
        alarms = int((self.first >= 0).sum())
        return run_length(FALSE, self.name, alarms, observed, at_least=at_least, thumb=self.thumb)

    def delay(self) -> Figure:
        return median(FOUND, self.name, np.where(self.first < 0, -1, self.first + 1), HORIZON, thumb=self.thumb)


def simulate(
    settings: Settings, effects: Sequence[float], replicates: int, turns: int, seed: int, step: Step
) -> Report:
    """Run length of quiet streams and delay after changes, beside rules of thumb. Raises ConfigError."""
    rules = policies(settings)
    policy, window = rules.drift, settings.drift.window
    step("quiet numbers", 0.0)
    quiet = [*_quiet(policy, replicates, turns, seed, step)]
    step("windows", 0.6)
    elsewhere = [*_elsewhere(window, policy, replicates, turns, seed)]
    step("changes", 0.7)
    shifts = sorted(set(effects))
    changed = [
        *_changed(policy, shifts, replicates, seed),
        *_late(window, policy, shifts, max(replicates // 4, 10), seed),
    ]
    step("stability index", 0.9)
    index = {size: _index(size, INDICES * replicates, np.random.default_rng([seed, 6, size])) for size in SIZES}
    figures = [
        *(each.figure(policy.run_length) for each in quiet),
        *(each.figure(None) for each in elsewhere),
        _family(rules),
        *(each.delay() for each in changed),
        *(share(INDEX, _sized(size), usual, thumb=True) for size, (usual, _) in index.items()),
        *(share(POINT, _sized(size), known) for size, (_, known) in index.items()),
    ]
    return Report(
        "drift",
        QUESTION,
        figures,
        (
            _silence(quiet[0], elsewhere, turns, policy),
            _delays([each for each in changed if not each.thumb]),
            _index_panel(index),
        ),
        tuple(_says(figures, policy)),
        used(policy, window),
        {"replicates": replicates, "turns": turns, "seed": seed, "effects": shifts},
    )


def _sized(size: int) -> str:
    return f"of {size:,} turns, and as many before"


def used(policy: DriftPolicy, window: int) -> JsonObject:
    names = ("run_length", "min_reference", "min_share_reference", "max_reference", "drop")
    figures = {f"drift.{name}": getattr(policy, name) for name in names}
    return {**figures, "drift.cycle_hours": policy.cycle / HOUR, "drift.window": window}


def _quiet(policy: DriftPolicy, replicates: int, turns: int, seed: int, step: Step) -> Iterator[Watched]:
    rng = np.random.default_rng([seed, 1])
    exact = numbers.run(rng.standard_normal((replicates, turns)), policy)
    yield Watched("numbers, reference known exactly", exact, turns)
    paths = max(replicates // PART, 2)
    for number, (name, swing) in enumerate(PATHS.items()):
        rng, firsts = np.random.default_rng([seed, 2, number]), []
        for done in range(paths):
            step(name, 0.1 + 0.2 * (number + done / paths))
            firsts.append(_path(policy, turns, swing, rng))
        yield Watched(name, np.array(firsts), turns)
    rng = np.random.default_rng([seed, 3])
    yield Watched(f"thumbs, {GOOD:.0%} up", _shares(policy, GOOD, (replicates, turns), rng), turns)


def _path(policy: DriftPolicy, turns: int, swing: float, rng: np.random.Generator) -> int:
    """The first alarm of a stream through the whole watch, its reference collected before the turns that count."""
    apart = 24 * HOUR // A_DAY
    before = max(policy.min_reference, policy.max_reference, policy.cycle // apart + 1)
    at = np.arange(before + turns) * apart
    value = rng.standard_normal(len(at)) + swing * np.sin(2 * np.pi * at / (24 * HOUR))
    # Values are compared by rank, so that any growing function of them is watched in the same way.
    times = list(zip(np.exp(value).tolist(), at.tolist(), strict=True))
    watch = numbers.observe(numbers.Watch(), times[:before], policy, rng)
    # What alarmed while the reference filled is watched anew, as after an operator's word.
    watch = numbers.observe(numbers.restarted(watch), times[before:], policy, rng)
    return -1 if watch.alarm is None else watch.alarm - 1


def _shares(
    policy: DriftPolicy, after: float, shape: tuple[int, int], rng: np.random.Generator, quiet: int = 0
) -> Alarms:
    """The first alarms of streams of thumbs, each with a reference at GOOD, the share changing after `quiet` turns."""
    truth = np.where(np.arange(shape[1]) < quiet, GOOD, after)
    firsts = []
    for part in np.array_split(np.arange(shape[0]), min(REFERENCES, max(shape[0] // REFERENCES, 1))):
        seen = rng.random(policy.min_share_reference) < GOOD
        watch = shares.observe(shares.ShareWatch(), seen.tolist(), policy)
        firsts.append(shares.run(watch, rng.random((len(part), shape[1])) < truth, policy))
    return np.concatenate(firsts)


def _windows(
    window: int, policy: DriftPolicy, shape: tuple[int, int], effect: float, rng: np.random.Generator
) -> Iterator[tuple[str, Alarms]]:
    """When each closed window is compared with the reference by a fixed threshold: the first turn that alarms."""
    rows, turns = shape
    reference = rng.standard_normal((rows, policy.max_reference))
    values = rng.standard_normal((rows, max(turns // window, 1), window)) + effect
    pairs = [[(before, window) for window in each] for before, each in zip(np.sort(reference), values, strict=True)]
    tests = {
        f"PSI above {PSI_LIMIT}": [[effects.stability(*pair)[0] > PSI_LIMIT for pair in row] for row in pairs],
        f"KS test at {KS_LEVEL}": [[effects.largest_difference(*pair)[1] < KS_LEVEL for pair in row] for row in pairs],
    }
    for name, found in tests.items():
        alarms = np.array(found)
        yield f"{name}, windows of {window}", np.where(alarms.any(axis=1), (alarms.argmax(axis=1) + 1) * window - 1, -1)


def _elsewhere(window: int, policy: DriftPolicy, replicates: int, turns: int, seed: int) -> Iterator[Watched]:
    """The rules of thumb on quiet traffic."""
    rows = max(replicates // 4, 10)
    for name, first in _windows(window, policy, (rows, turns), 0.0, np.random.default_rng([seed, 4])):
        yield Watched(name, first, max(turns // window, 1) * window, thumb=True)


def _late(window: int, policy: DriftPolicy, effects: Sequence[float], rows: int, seed: int) -> Iterator[Watched]:
    """The rules of thumb after a change, at the best a window's start."""
    for number, effect in enumerate(effects):
        rng = np.random.default_rng([seed, 8, number])
        for name, first in _windows(window, policy, (rows, HORIZON), effect, rng):
            yield Watched(f"{effect:g} sd: {name}", first, HORIZON, thumb=True)


def _changed(policy: DriftPolicy, effects: Sequence[float], replicates: int, seed: int) -> Iterator[Watched]:
    for number, effect in enumerate(effects):
        rng = np.random.default_rng([seed, 5, number])
        scores = rng.standard_normal((replicates, QUIET + HORIZON))
        scores[:, QUIET:] += effect
        yield Watched(f"{effect:g} sd", _since(numbers.run(scores, policy)), HORIZON)
    for number, after in enumerate(GOOD - drop for drop in (policy.drop / 2, min(policy.drop, GOOD))):
        rng = np.random.default_rng([seed, 7, number])
        first = _shares(policy, after, (replicates, QUIET + HORIZON), rng, QUIET)
        yield Watched(f"thumbs up, {GOOD:.0%} to {after:.0%}", _since(first), HORIZON)


def _since(first: Alarms) -> Alarms:
    """The same counted from the change, without runs that alarmed before it."""
    late = first[(first < 0) | (first >= QUIET)]
    return np.where(late < 0, -1, late - QUIET)


def _index(size: int, count: int, rng: np.random.Generator) -> Index:
    """Whether the index of a quiet window is above the usual threshold, and above its 95 % point."""
    reference, window = np.sort(rng.standard_normal((count, size))), rng.standard_normal((count, size))
    found = np.array([effects.stability(before, now) for before, now in zip(reference, window, strict=True)])
    return found[:, 0] > PSI_LIMIT, found[:, 0] > found[:, 1]


def _family(rules: Policies) -> Figure:
    """What the run length of one stream means for all that are watched."""
    listed = watchlist.all_streams(rules, np.random.default_rng(0)).streams
    streams = sum(stream.kind == watchlist.DRIFT for stream in listed)
    return Figure(ALL, f"{streams} streams, at least", rules.drift.family(streams), Unit.COUNT)


def _silence(ours: Watched, elsewhere: Sequence[Watched], turns: int, policy: DriftPolicy) -> Panel:
    at = np.linspace(0, turns, 81)

    def quiet(runs: Watched) -> Curve:
        still = [float(((runs.first < 0) | (runs.first > t)).mean()) for t in at]
        return Curve(runs.name, at.tolist(), still, rule_of_thumb=runs.thumb)

    stated = Curve("as stated", at.tolist(), np.exp(-at / policy.run_length).tolist(), stated=True)
    return Panel("Quiet traffic", "turns", "runs without an alarm", (quiet(ours), stated, *map(quiet, elsewhere)))


def _delays(changed: Sequence[Watched]) -> Panel:
    at = np.geomspace(5, HORIZON, 81)
    curves = [
        Curve(runs.name, at.tolist(), [float(((runs.first >= 0) & (runs.first < t)).mean()) for t in at])
        for runs in changed
    ]
    return Panel("How soon a change is found", "turns since the change", "found", curves, logarithmic=True)


def _index_panel(index: Mapping[int, Index]) -> Panel:
    usual, known = ([float(each.mean()) for each in side] for side in zip(*index.values(), strict=True))
    curves = (
        Curve("PSI above its 95 % point", list(index), known),
        Curve(f"PSI above {PSI_LIMIT}", list(index), usual, rule_of_thumb=True),
    )
    return Panel(
        "Windows in which nothing changed", "turns in the window", "above the threshold", curves, logarithmic=True
    )


def _says(figures: Sequence[Figure], policy: DriftPolicy) -> Iterator[str]:
    quiet = next(figure for figure in figures if figure.group == FALSE)
    together = next(figure for figure in figures if figure.group == ALL)
    length = f"about {quiet.value:,.0f}" if quiet.value else f"more than {quiet.of or 0:,}"
    yield (
        f"A quiet stream alarms once in {length} turns; stated is {policy.run_length:,.0f}. Over all streams "
        f"together it is once in {together.value:,.0f} at least."
    )
    for figure in figures:
        if figure.group == FOUND and not figure.rule_of_thumb and figure.value is not None:
            yield f"A change of {figure.name} is found after {figure.value:,.0f} turns in half of the runs."
