"""Intervals against published tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.stats import Interval, wilson

NEWCOMBE = [
    # R. G. Newcombe, Two-sided confidence intervals for the single proportion, Statistics in Medicine 17 (1998)
    # 857-872, table I, method 3: the score interval without continuity correction, 95 %.
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0000, 0.1611),
    (1, 29, 0.0061, 0.1718),
]


@pytest.mark.parametrize(("right", "n", "low", "high"), NEWCOMBE)
def test_the_interval_is_the_published_one(right: int, n: int, low: float, high: float) -> None:
    interval = wilson(right, n)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


def test_nothing_counted_says_nothing() -> None:
    assert wilson(0, 0) == Interval(0.0, 1.0)


def test_all_right_ends_at_exactly_one_and_none_right_at_exactly_zero() -> None:
    for n in (1, 7, 1000, 10**9):
        assert wilson(n, n).high == 1.0 > wilson(n, n).low
        assert wilson(0, n).low == 0.0 < wilson(0, n).high


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.floats(0.01, 0.999))
def test_the_interval_holds_the_share_and_mirrors_and_widens_with_the_level(right: int, n: int, level: float) -> None:
    right = min(right, n)
    interval, mirror = wilson(right, n, level), wilson(n - right, n, level)
    assert 0 <= interval.low <= right / n <= interval.high <= 1
    assert interval.low == pytest.approx(1 - mirror.high, abs=1e-9)
    wider = wilson(right, n, (1 + level) / 2)
    assert wider.low <= interval.low and interval.high <= wider.high


@pytest.mark.parametrize(("right", "n", "level"), [(-1, 3, 0.95), (4, 3, 0.95), (1, 3, 0.0), (1, 3, 1.0), (0, -1, 0.9)])
def test_impossible_counts_are_refused(right: int, n: int, level: float) -> None:
    with pytest.raises(ValueError, match="wilson needs"):
        wilson(right, n, level)
