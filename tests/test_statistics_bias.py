"""Thumbs are a biased sample: what the estimates keep to over simulated populations of known quality .66.

R is the number of populations; a share that must reach 95 % is held to .95 - 3 sqrt(.95 * .05 / R).
"""

import math
from collections.abc import Callable

import numpy as np
import pytest

from monitoring.feedback import quality
from monitoring.feedback.propensity import Asks, Estimates, Share, estimates, self_normalised

TRUTH = 0.66
R = 600
Rng = np.random.Generator
Population = Callable[[Rng], Asks]


def covered(population: Population, share: Callable[[Estimates], Share], truth: float = TRUTH) -> float:
    """The share of populations in which the interval holds the truth."""
    rng = np.random.default_rng(11)
    found = [share(estimates(population(rng))) for _ in range(R)]
    return sum(one.low <= truth <= one.high for one in found) / R


def enough(share: float = 0.95) -> float:
    return share - 3 * math.sqrt(share * (1 - share) / R)


def outcome_dependent(rng: Rng, n: int) -> tuple[Asks, float]:
    """One of a hundred who are pleased and five of a hundred who are not give a thumb; and the share of ups in it."""
    good = rng.random(n) < TRUTH
    rated = rng.random(n) < np.where(good, 0.01, 0.05)
    return Asks.of(rng.integers(0, n // 10, n), 1.0, rated, good), float(good[rated].sum()) / max(int(rated.sum()), 1)


def by_length(rng: Rng, n: int = 10_000) -> tuple[Asks, np.ndarray]:
    """Long answers are worse and are rated less; who rates follows from the length alone. With each one's chance."""
    short = rng.random(n) < 0.5
    good = rng.random(n) < np.where(short, 0.9, 0.42)
    chance = np.where(short, 0.2, 0.04)
    return Asks.of(rng.integers(0, n // 4, n), 1.0, rng.random(n) < chance, good, short), chance


def test_thumbs_that_depend_on_the_outcome_are_never_called_quality() -> None:
    rng = np.random.default_rng(12)
    for _ in range(5):
        asks, naive = outcome_dependent(rng, 200_000)
        found = estimates(asks)
        assert naive == pytest.approx(0.286, abs=0.03)
        assert found.manski.low < TRUTH < found.manski.high
        assert found.quality.low < TRUTH < found.quality.high
        assert (found.manski.low, found.manski.high) == pytest.approx((0.007, 0.983), abs=0.002)
        said = quality.says(found)
        assert said.startswith("Between 1% and 98% of the answers are good, whatever those think who were silent")
        assert f"{naive:.0%}" not in said


@pytest.mark.parametrize("n", [60, 400, 5000])
def test_the_bounds_hold_the_truth_in_every_population_however_few_were_asked(n: int) -> None:
    rng = np.random.default_rng(13)
    for _ in range(R):
        found = estimates(outcome_dependent(rng, n)[0]).quality
        assert found.low < TRUTH < found.high


def test_ratings_that_depend_on_what_is_known_of_the_answer_are_weighed_back() -> None:
    assert covered(lambda rng: by_length(rng)[0], lambda found: found.ipw) >= enough()
    asks, chance = by_length(np.random.default_rng(14), 200_000)
    naive = asks.up.sum() / asks.rated.sum()
    known = self_normalised(asks.up, asks.rated, 1 / chance, asks.actor)
    assert naive == pytest.approx(0.82, abs=0.01)
    assert known.value == pytest.approx(TRUTH, abs=0.015)
    assert estimates(asks).ipw.value == pytest.approx(TRUTH, abs=0.015)


def strangers(rng: Rng) -> Asks:
    """Each is asked with a known chance, which is raised while answers are worse, and then answers."""
    bad = rng.random(3000) < 0.3
    chance = np.where(bad, 0.5, 0.05)
    asked = rng.random(3000) < chance
    good = rng.random(3000) < np.where(bad, 0.31, 0.81)
    return Asks.of(np.arange(3000)[asked], chance[asked], np.ones(asked.sum()), good[asked])


def regulars(rng: Rng) -> Asks:
    """Sixty people of different luck, some of whom ask a hundred times as much as others."""
    luck, calls = rng.beta(2 * TRUTH, 2 * (1 - TRUTH), 60), np.minimum(1 + rng.pareto(1.5, 60) * 20, 600).astype(int)
    actor = np.repeat(np.arange(60), calls)
    asked = rng.random(len(actor)) < 0.4
    good = rng.random(len(actor)) < luck[actor]
    return Asks.of(actor[asked], 0.4, np.ones(asked.sum()), good[asked])


@pytest.mark.parametrize("population", [strangers, regulars])
def test_an_estimate_from_answers_asked_about_at_random_covers_the_truth(population: Population) -> None:
    assert covered(population, lambda found: found.up) >= enough()


def test_without_weights_or_without_actors_the_same_estimate_does_not() -> None:
    """Shows that the test above can tell."""

    def unweighed(rng: Rng) -> Asks:
        asks = strangers(rng)
        return Asks.of(asks.actor, 1.0, asks.rated, asks.up)

    def unclustered(rng: Rng) -> Asks:
        asks = regulars(rng)
        return Asks.of(range(len(asks.actor)), 1.0, asks.rated, asks.up)

    assert covered(unweighed, lambda found: found.up) < 0.2
    assert covered(unclustered, lambda found: found.up) < 0.8


def test_draws_by_worth_are_weighed_back_by_their_chance() -> None:
    """Reviewers see bad answers far more often; what they say speaks for all of them all the same."""

    def reviewed(rng: Rng) -> Asks:
        good = rng.random(1000) < TRUTH
        worth = np.where(rng.random(1000) < np.where(good, 0.05, 0.5), 8.0, 1.0)
        chance = worth / worth.sum()
        drawn = rng.choice(1000, 150, p=chance)
        return Asks.of(rng.integers(0, 500, 1000)[drawn], chance[drawn], np.ones(150), good[drawn])

    naive = [float(asks.up.mean()) for asks in (reviewed(np.random.default_rng(seed)) for seed in range(50))]
    assert np.mean(naive) < 0.5
    assert covered(reviewed, lambda found: found.up) >= enough()
