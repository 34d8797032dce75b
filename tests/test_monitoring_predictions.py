"""Few labels and many guesses: the closed forms, the ends of the tuning, and refusals."""

import numpy as np
import pytest

from monitoring.shadow.predictions import combine, tuned

RNG = np.random.default_rng(5)


def test_a_perfect_judge_gives_the_mean_of_its_guesses() -> None:
    y = RNG.choice([-1.0, 1.0], 50)
    rest = RNG.choice([-1.0, 1.0], 10_000_000)
    found = combine(y, y, rest, 0.05)
    assert found is not None
    assert found.weight == pytest.approx(1.0, abs=0.05)
    assert abs(found.both.value - rest.mean()) < 0.01
    assert found.both.interval.high - found.both.interval.low < 0.05


def test_a_judge_that_says_always_the_same_changes_nothing() -> None:
    y = RNG.choice([-1.0, 0.0, 1.0], 40)
    found = combine(y, np.ones(40), np.ones(400), 0.05)
    assert found is not None and found.weight == 0
    assert found.both == found.people


def test_a_judge_that_is_always_wrong_is_not_listened_to() -> None:
    y = RNG.choice([-1.0, 1.0], 60)
    found = combine(y, -y, RNG.choice([-1.0, 1.0], 600), 0.05)
    assert found is not None and found.weight == 0
    assert found.both == found.people


def test_the_estimate_and_its_error_are_those_of_the_paper() -> None:
    y, f, rest = RNG.normal(size=(3, 30))
    found = combine(y, f + y, rest, 0.05)
    assert found is not None
    weight, guesses = found.weight, f + y
    assert found.both.value == pytest.approx(float(np.mean(y - weight * guesses) + weight * np.mean(rest)))
    error = np.sqrt(np.var(y - weight * guesses, ddof=1) / 30 + weight**2 * np.var(rest, ddof=1) / 30)
    reach = (found.both.interval.high - found.both.interval.low) / 2
    assert reach == pytest.approx(2.045229642 * error)  # Student's quantile with 29 degrees of freedom


def test_the_tuned_weight_makes_the_variance_least() -> None:
    y = RNG.normal(size=200)
    f, rest = 0.5 * y + RNG.normal(size=200), RNG.normal(size=5000) * np.sqrt(1.25)
    best = tuned(y, f, rest)

    def variance(weight: float) -> float:
        return float(np.var(y - weight * f, ddof=1) / 200 + weight**2 * np.var(rest, ddof=1) / 5000)

    assert variance(best) < min(variance(best - 0.1), variance(best + 0.1), variance(0), variance(1))


def test_too_little_says_nothing_and_what_does_not_match_is_refused() -> None:
    assert combine([1.0] * 9, [1.0] * 9, [0.0] * 100, 0.05) is None
    assert combine([1.0] * 20, [1.0] * 20, [0.0], 0.05) is None
    with pytest.raises(ValueError, match="2 labels do not match 1 guesses"):
        combine([1.0, 0.0], [1.0], [0.0] * 10, 0.05)
