"""Anytime-valid bounds: where they lie, what they claim before there is enough, and bets that hold the mean.

Published numbers, error rates and power are in test_statistics_experiment.py.
"""

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_arms import band

from monitoring.experiments.sequential import (
    Moments,
    betting_interval,
    difference,
    mean_margin,
    mixture_bound,
    mixture_log_e,
    ratio_log_e,
    subjects_needed,
)


def test_the_bound_is_where_the_e_value_reaches_its_level() -> None:
    bound = mixture_bound([1.0, 50.0, 3000.0], 20.0, 0.01)
    assert mixture_log_e(bound, [1.0, 50.0, 3000.0], 20.0) == pytest.approx(log(100))


@pytest.mark.parametrize("shares", [(0.5, 0.6), (0.0, 1.0), (1.0,)])
def test_a_split_that_cannot_be_is_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="a split needs"):
        ratio_log_e([10, 10], shares)


def test_nothing_is_claimed_before_the_burn_in_of_both_arms() -> None:
    def arm(n: float, mean: float) -> Moments:
        return Moments(np.array([n]), np.array([mean]), np.array([0.01]))

    claim = {"planned": 400, "alpha": 0.05, "burn_in": 50, "floor": 0.25}
    assert np.isinf(difference(arm(5000, 0.0), arm(49, 1.0), **claim).margin)  # type: ignore[arg-type]
    assert np.isfinite(difference(arm(50, 0.0), arm(50, 1.0), **claim).margin)  # type: ignore[arg-type]


def test_the_number_of_subjects_needed_is_the_first_that_decides() -> None:
    needed = subjects_needed(-0.1, 0.84, 400, 0.05)
    assert needed is not None
    assert float(mean_margin(needed, 0.84, 400, 0.05)) < 0.1 <= float(mean_margin(needed - 1, 0.84, 400, 0.05))
    assert subjects_needed(0.0, 0.84, 400, 0.05) is None


@pytest.mark.parametrize("chances", [(0.05, 0.9, 0.05), (0.5, 0.0, 0.5), (0.1, 0.45, 0.45)])
def test_bets_hold_the_true_mean_at_all_looks(chances: tuple[float, float, float]) -> None:
    rng, replicates, truth = np.random.default_rng(13), 300, chances[2] - chances[0]
    wrong = 0
    for _ in range(replicates):
        values = rng.choice([-1.0, 0.0, 1.0], size=640, p=chances)
        found = [betting_interval(values[:n], 0.05) for n in (5, 10, 20, 40, 80, 160, 320, 640)]
        wrong += any(not i.low <= truth <= i.high for i in found)
    assert wrong / replicates <= band(0.05, replicates)


def test_equal_answers_rule_out_a_loss_of_five_points_after_86_pairs() -> None:
    assert betting_interval(np.zeros(85), 0.05).low < -0.05 < betting_interval(np.zeros(86), 0.05).low


@given(st.lists(st.floats(-1, 1), max_size=60))
def test_bets_hold_the_sample_mean_mirror_and_do_not_mind_the_order(values: list[float]) -> None:
    found = betting_interval(values, 0.05)
    mirror = betting_interval([-v for v in values], 0.05)
    again = betting_interval(sorted(values), 0.05)
    assert -1 <= found.low <= (np.mean(values) if values else 0) + 1e-9 <= found.high + 2e-9 <= 1 + 2e-9
    assert (found.low, found.high) == pytest.approx((-mirror.high, -mirror.low), abs=1e-6)
    assert (found.low, found.high) == pytest.approx((again.low, again.high), abs=1e-9)


@pytest.mark.parametrize("value", [1.5, float("nan")])
def test_bets_refuse_what_lies_outside_their_range(value: float) -> None:
    with pytest.raises(ValueError, match="betting needs values"):
        betting_interval([0.0, value], 0.05)
