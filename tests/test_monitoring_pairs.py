"""Paired answers: a unit is one voice, and equal answers are no evidence of a difference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_arms import band

from core.stats import Interval
from monitoring.shadow.pairs import Pair, compare, score_interval


def test_nothing_compared_says_nothing() -> None:
    found = compare([], 0.05)
    assert (found.units, found.mean, found.interval) == (0, 0.0, Interval(-1.0, 1.0))


def test_a_talkative_user_is_one_voice() -> None:
    loud = [Pair("loud", 1.0)] * 500
    others = [Pair(f"user{k}", -1.0) for k in range(20)]
    found = compare(loud + others, 0.05)
    assert (found.units, found.better, found.worse) == (21, 1, 20)
    assert found.interval.high < 0


def test_pairs_of_one_unit_are_averaged() -> None:
    found = compare([Pair("a", 1.0), Pair("a", 0.0), Pair("b", -0.5)], 0.05)
    assert (found.mean, found.better, found.worse) == (0.0, 1, 1)


def test_a_unit_is_the_same_only_if_every_answer_is() -> None:
    found = compare([Pair("a", 0.0, same=True), Pair("a", 0.0), Pair("b", 0.0, same=True)], 0.05)
    assert (found.units, found.same) == (2, 1)


def test_a_difference_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match="betting needs values"):
        compare([Pair("a", 2.0)], 0.05)


def test_a_set_judged_once_is_compared_by_the_score_interval() -> None:
    pairs = [Pair(str(k), 0.0) for k in range(73)]
    # Without any change the score interval is z^2 / (n + z^2) to either side.
    assert compare(pairs, 0.05, once=True).interval.high == pytest.approx(3.841459 / (73 + 3.841459), abs=1e-6)
    assert compare(pairs, 0.05).interval.low < compare(pairs, 0.05, once=True).interval.low < 0
    assert compare([], 0.05, once=True).interval == Interval(-1.0, 1.0)


def test_the_score_interval_rejects_where_the_score_test_does() -> None:
    # Against no difference the score test is McNemar's, (b - c)^2 / (b + c): 3.841459 is its 5 % point.
    for better, worse in [(14, 5), (13, 5), (30, 16), (6, 0), (3, 0), (4, 0)]:
        rejected = (better - worse) ** 2 / (better + worse) > 3.841459
        assert (score_interval(better, worse, 200, 0.05).low > 0) == rejected
        assert (score_interval(worse, better, 200, 0.05).high < 0) == rejected


@pytest.mark.parametrize("chances", [(0.0, 0.05), (0.01, 0.06), (0.1, 0.15), (0.3, 0.35)])
def test_non_inferiority_at_its_margin_is_claimed_as_rarely_as_stated(chances: tuple[float, float]) -> None:
    rng, replicates = np.random.default_rng(1), 4000
    drawn = rng.multinomial(150, [*chances, 1 - sum(chances)], replicates)
    claimed = [score_interval(better, worse, 150, 0.05).low > -0.05 for better, worse, _ in drawn.tolist()]
    # The limit is that of a large sample; half a point above the nominal 2.5 % is what 150 pairs cost.
    assert np.mean(claimed) <= band(0.03, replicates)


@given(st.integers(1, 10_000), st.floats(0, 1), st.floats(0, 1))
def test_the_score_interval_holds_the_difference_for_all_counts(n: int, changed: float, won: float) -> None:
    better = round(n * changed * won)
    worse = round(n * changed) - better if round(n * changed) >= better else 0
    found = score_interval(better, worse, n, 0.05)
    assert -1 <= found.low <= (better - worse) / n <= found.high <= 1
