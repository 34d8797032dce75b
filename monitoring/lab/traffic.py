"""Simulated subjects of an A/B: who comes, in which arm, what they think of the answers, and what of it they say.

Many runs at once: arrays have a row a replicate and a column a subject, in the order in which subjects arrive. The
truth is known here, which is what a lab is for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from core.errors import BadRequest
from core.settings import Settings

Numbers = NDArray[np.float64]
Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]

CYCLE = (0.35, 0.85)
"""Lowest and highest share that is liked over a cycle."""
RAMP = (0.5, 0.85)
"""The share that is liked among the first and among the last subjects of the ramp."""
LAST_STEP = 0.2
"""The part of the subjects after which the ramp is at its final split."""
CYCLES = 5


class World(StrEnum):
    """What the traffic does while two arms are compared."""

    PLAIN = "plain"
    CYCLE = "daily cycle"
    RAMP = "ramp"
    STICKY = "sticky users"


@dataclass(frozen=True, slots=True)
class Population:
    """Subjects who differ in taste. `taste` is the concentration of their Beta law: small for very different ones.

    `rate` is the chance that an answer gets a rating, asking included; `answers` is the mean number a subject.
    """

    liked: float = 0.7
    rate: float = 0.3
    answers: float = 4.0
    taste: float = 5.0
    first_share: float = 0.1
    share: float = 0.5

    @classmethod
    def of(cls, settings: Settings, rating_rate: float, liked: float) -> "Population":
        """The population whose ratings are asked for as the settings say. Raises BadRequest where they never are."""
        experiment = settings.experiment
        if settings.feedback.ask <= 0:
            raise BadRequest("feedback.ask is 0: no rating is asked for, so that nothing can be compared by ratings.")
        rate = rating_rate * settings.feedback.ask
        return cls(liked, rate, first_share=experiment.first_share, share=experiment.share)

    def metric(self, effect: float) -> float:
        """A rise of the share liked as experiments have it: ups less downs an answer."""
        return 2 * self.rate * effect

    @property
    def raters(self) -> float:
        """The share of the subjects who rate one answer at least."""
        stop = 1 / self.answers
        silent = 1 - self.rate
        return 1 - silent * stop / (1 - silent * (1 - stop))


@dataclass(frozen=True, slots=True)
class Cohort:
    """Subjects of both arms: the arm of each, the challenger's share when they came, their answers and thumbs."""

    challenger: Flags
    share: Numbers
    answers: Counts
    ups: Counts
    downs: Counts

    @property
    def rated(self) -> Flags:
        return np.asarray(self.ups + self.downs > 0)

    @property
    def value(self) -> Numbers:
        """Ups less downs an answer, the number that experiments compare."""
        return np.asarray((self.ups - self.downs) / self.answers)


def cohort(
    world: World, population: Population, effect: float, shape: tuple[int, int], rng: np.random.Generator
) -> Cohort:
    """Replicates by subjects; the challenger's answers are liked more often by `effect`."""
    _, users = shape
    share = SHARES[world](population, users) if world in SHARES else np.full(users, population.share)
    challenger = rng.random(shape) < share
    mean = np.clip(BASELINES[world](population, users) + effect * challenger, 0.01, 0.99)
    return _answered(challenger, share, _taste(population, mean, rng), population, population.answers, rng)


def known(population: Population, users: int, earlier: float, rng: np.random.Generator) -> tuple[Cohort, Cohort]:
    """Subjects of equal arms in one replicate, now and before: `earlier` times as many answers then, the same taste."""
    share = np.full(users, population.share)
    challenger = rng.random((1, users)) < share
    taste = _taste(population, np.full((1, users), population.liked), rng)
    now, before = (
        _answered(challenger, share, taste, population, times * population.answers, rng) for times in (1.0, earlier)
    )
    return now, before


def _taste(population: Population, mean: Numbers, rng: np.random.Generator) -> Numbers:
    return rng.beta(mean * population.taste, (1 - mean) * population.taste)


def _answered(
    challenger: Flags, share: Numbers, taste: Numbers, population: Population, mean: float, rng: np.random.Generator
) -> Cohort:
    """What subjects of such taste say of answers, of which each has `mean` on average."""
    answers = rng.geometric(1 / mean, challenger.shape)
    rated = rng.binomial(answers, population.rate)
    ups = rng.binomial(rated, taste)
    return Cohort(challenger, share, answers, ups, rated - ups)


def _plain(population: Population, users: int) -> Numbers:
    return np.full(users, population.liked)


def _cycle(_population: Population, users: int) -> Numbers:
    low, high = CYCLE
    return np.asarray((low + high) / 2 + (high - low) / 2 * np.sin(2 * np.pi * CYCLES * np.arange(users) / users))


def _ramp(_population: Population, users: int) -> Numbers:
    """The mix shifts while the split is stepped up, so that more of the challenger's subjects are easy to please."""
    return np.asarray(np.interp(np.arange(users) / users, [0, 2 * LAST_STEP], RAMP))


def _steps(population: Population, users: int) -> Numbers:
    return np.where(np.arange(users) < LAST_STEP * users, population.first_share, population.share)


BASELINES: dict[World, Callable[[Population, int], Numbers]] = {
    World.PLAIN: _plain,
    World.CYCLE: _cycle,
    World.RAMP: _ramp,
}
SHARES: dict[World, Callable[[Population, int], Numbers]] = {World.RAMP: _steps}
