"""`hone lab calibration`: confidence means what it says, or does not. How often is that called wrong, and how soon?"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.settings import Settings
from core.types import JsonObject
from monitoring.calibration import betting, reliability
from monitoring.lab.figures import Curve, Figure, Panel, Report, Unit, mean, median, run_length, share
from monitoring.lab.progress import Step
from monitoring.lab.traffic import Numbers
from monitoring.policy import CalibrationPolicy, policies

QUESTION = "Confidence is the share of answers that are liked, or is off. How often is it called off, and how soon?"
SHAPE = (4.0, 1.5)
"""The Beta law of confidences: mostly high, as those of a chat model are."""
QUIET = 500
"""Rated answers before a change that comes late."""
SIZES = (100, 200, 500, 1000, 2000, 5000)
TESTED = (100, 500)
ERRORS = 400
"""Replicates of each size, at most."""
ECE_LIMIT, LEVEL = 0.05, 0.05
FALSE = "calibrated: rated answers between two alarms"
ALARMED = "calibrated: an alarm within the run"
FOUND = "off: found within the run"
DELAY = "off: rated answers until it is found, median"
PLUG_IN = f"rule of thumb on a calibrated model: plug-in error above {ECE_LIMIT}"
TEST = f"the report's test at {LEVEL:.0%} on a calibrated model: rejects"
ERROR = "error of a calibrated model, truly 0"

Draw = Callable[[Numbers], Numbers]
"""From confidences to the chance of being liked."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that may happen to a model whose confidence was right for `after` rated answers."""

    name: str
    after: int
    liked: Draw


@dataclass(frozen=True, slots=True)
class Errors:
    """The usual error, the debiased one, and the p-value of the test where it was made; one value a replicate."""

    plug_in: Numbers
    debiased: Numbers
    p: Numbers | None


def changes(effect: float) -> Sequence[Change]:
    points = f"{100 * effect:g} points too high"

    def lower(f: Numbers) -> Numbers:
        return np.maximum(f - effect, 0.0)

    def halved(f: Numbers) -> Numbers:
        """As if the logarithm of the odds were twice what it should be."""
        return np.asarray(1 / (1 + np.sqrt((1 - f) / f)))

    return (
        Change(f"{points} from the start", 0, lower),
        Change(f"{points} after {QUIET}", QUIET, lower),
        Change("overconfident from the start", 0, halved),
    )


def simulate(settings: Settings, effect: float, replicates: int, turns: int, seed: int, step: Step) -> Report:
    """Run length, share found and delay of the user's rule; the bias of the usual number. Raises ConfigError."""
    policy = policies(settings).calibration
    alarms = {"calibrated": _alarms(Change("", 0, lambda f: f), policy, (replicates, turns), [seed, 0])}
    figures = list(_quiet(alarms["calibrated"], turns, policy))
    for number, change in enumerate(changes(effect)):
        step(change.name, (number + 1) / 6)
        alarms[change.name] = _alarms(change, policy, (replicates, turns + change.after), [seed, number + 1])
        figures += _found(change, alarms[change.name], turns)
    step("the usual number", 4 / 6)
    errors = {size: _errors(size, min(replicates, ERRORS), [seed, 9, size]) for size in SIZES}
    figures += _usual(errors)
    return Report(
        "calibration",
        QUESTION,
        figures,
        (_soon(alarms, effect, turns), _bias(errors)),
        tuple(_says(figures, policy)),
        used(policy),
        {"replicates": replicates, "turns": turns, "seed": seed, "effect": effect, "confidences": f"Beta{SHAPE}"},
    )


def used(policy: CalibrationPolicy) -> JsonObject:
    return {"calibration.run_length": policy.run_length, "calibration.min_labels": policy.min_labels}


def _alarms(
    change: Change, policy: CalibrationPolicy, shape: tuple[int, int], seed: Sequence[int]
) -> NDArray[np.int64]:
    """After how many ratings since the change each run alarms, -1: never; one that alarms before it is left out."""
    rng = np.random.default_rng(seed)
    confidence = rng.beta(*SHAPE, shape)
    truth = np.where(np.arange(shape[1]) < change.after, confidence, change.liked(confidence))
    alarm = betting.run(confidence, rng.random(shape) < truth, policy)
    late = alarm[(alarm < 0) | (alarm > change.after)]
    return np.where(late < 0, -1, late - change.after)


def _quiet(alarm: NDArray[np.int64], turns: int, policy: CalibrationPolicy) -> Iterator[Figure]:
    observed = int(np.where(alarm < 0, turns, alarm).sum())
    name = "the watch, restarted at each alarm"
    yield run_length(FALSE, name, int((alarm >= 0).sum()), observed, at_least=policy.run_length)
    yield share(ALARMED, f"within {turns:,} rated answers", alarm >= 0)


def _found(change: Change, alarm: NDArray[np.int64], turns: int) -> Iterator[Figure]:
    yield share(FOUND, change.name, alarm >= 0)
    yield median(DELAY, change.name, alarm, turns)


def _errors(size: int, replicates: int, seed: Sequence[int]) -> Errors:
    """What is said of calibrated confidences, a value a replicate."""
    rng = np.random.default_rng(seed)
    confidence = rng.beta(*SHAPE, (replicates, size))
    liked = (rng.random(confidence.shape) < confidence).astype(float)
    rows = list(zip(confidence, liked, strict=True))
    return Errors(
        np.array([reliability.binned_ece(f, y) for f, y in rows]),
        np.array([reliability.debiased_ece(f, y) for f, y in rows]),
        np.array([reliability.p_value(f, y, rng) for f, y in rows]) if size in TESTED else None,
    )


def _usual(errors: dict[int, Errors]) -> Iterator[Figure]:
    for size, each in errors.items():
        yield share(PLUG_IN, f"of {size:,} rated answers", each.plug_in > ECE_LIMIT, thumb=True)
    for size, each in errors.items():
        if each.p is not None:
            yield share(TEST, f"with {size:,} rated answers", each.p <= LEVEL, at_most=LEVEL)
    for size, each in errors.items():
        yield mean(ERROR, f"plug-in, {size:,} rated", each.plug_in, Unit.NUMBER, thumb=True)
        yield mean(ERROR, f"debiased and squared, {size:,} rated", each.debiased, Unit.NUMBER)


def _soon(alarms: dict[str, NDArray[np.int64]], effect: float, turns: int) -> Panel:
    at = np.linspace(0, turns, 81)
    curves = [
        Curve(name, at.tolist(), [float(((alarm >= 0) & (alarm <= t)).mean()) for t in at])
        for name, alarm in alarms.items()
    ]
    return Panel("How soon it is found", "rated answers since the change", "runs with an alarm", curves)


def _bias(errors: dict[int, Errors]) -> Panel:
    usual = [float(each.plug_in.mean()) for each in errors.values()]
    # The debiased error is a square, and may be below zero by chance.
    mended = [float(np.sqrt(max(each.debiased.mean(), 0.0))) for each in errors.values()]
    curves = (
        Curve("plug-in, mean", list(errors), usual, rule_of_thumb=True),
        Curve("debiased, root of the mean", list(errors), mended),
    )
    return Panel(
        "The usual number, on a calibrated model", "rated answers", "calibration error", curves,
        level=ECE_LIMIT, level_name="what is often asked for", logarithmic=True,
    )  # fmt: skip


def _says(figures: Sequence[Figure], policy: CalibrationPolicy) -> Iterator[str]:
    by_name = {(figure.group, figure.name): figure for figure in figures}
    length = next(figure for figure in figures if figure.group == FALSE)
    longer = f"{length.value:,.0f}" if length.value else f"more than {length.of:,}"
    yield (
        f"While confidence is right, an alarm comes once in {longer} rated answers; stated is no more than once in "
        f"{policy.run_length:,.0f}."
    )
    for (group, name), figure in by_name.items():
        if group == DELAY and figure.value is not None:
            yield f"A model that is {name} is found within {figure.value:,.0f} rated answers in half of the runs."
    few = by_name[PLUG_IN, f"of {SIZES[1]:,} rated answers"]
    yield (
        f"The usual error is above {ECE_LIMIT} in {few.value:.0%} of the calibrated runs of {SIZES[1]}: it grows as "
        "ratings get fewer."
    )
