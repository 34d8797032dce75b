"""Estimates from ratings that were asked for: worked by hand, and what no actor and no silence can do to them."""

from dataclasses import astuple

import numpy as np
import pytest

from core.stats import wilson
from monitoring.feedback.propensity import (
    CLIP,
    Asks,
    capped,
    clipped,
    effective_size,
    estimates,
    largest,
    manski,
    self_normalised,
)

ONE = np.ones(6)
APART = np.arange(6)


def test_a_small_sample_worked_by_hand() -> None:
    # Ten were asked, two at .5 and eight at 1; six rated, of whom four were pleased.
    rated = [1, 0, 1, 1, 1, 0, 1, 0, 1, 0]
    up = [1, 0, 1, 1, 0, 0, 0, 0, 1, 0]
    found = estimates(Asks.of(range(10), [0.5, 0.5] + [1.0] * 8, rated, up))
    assert (found.asked, found.rated, found.actors) == (10, 6, 10)
    assert found.up.value == pytest.approx((2 + 3) / 12)
    assert found.down.value == pytest.approx(2 / 12)
    assert found.response.value == pytest.approx(7 / 12)
    assert found.up.size == pytest.approx(12**2 / (2 * 4 + 8))
    assert (found.manski.low, found.manski.high) == pytest.approx((5 / 12, 10 / 12))
    assert found.ipw.value == pytest.approx(5 / 7)
    assert found.quality.low == found.up.low
    assert found.quality.high == 1 - found.down.low


def test_silence_is_weighed_by_kind() -> None:
    # Of the first kind all rate, of the second one in four: its ratings stand for four answers each.
    kind = [0] * 4 + [1] * 8
    rated = [1] * 4 + [1, 0, 0, 0] * 2
    up = [1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    found = estimates(Asks.of(range(12), 1.0, rated, up, kind))
    assert found.ipw.value == pytest.approx((3 + 4) / (4 + 8))
    assert found.ipw.size == pytest.approx(12**2 / (4 + 2 * 16))


def test_equal_weights_of_strangers_give_wilsons_interval_nearly() -> None:
    n, right = 400, 268
    found = estimates(Asks.of(range(n), 0.02, np.ones(n), np.arange(n) < right))
    known = wilson(right, n)
    assert (found.up.low, found.up.high) == pytest.approx((known.low, known.high), abs=2e-3)


def test_answers_of_one_actor_are_no_independent_witnesses() -> None:
    rng = np.random.default_rng(1)
    actor = np.repeat(np.arange(40), 25)
    good = np.repeat(rng.random(40) < 0.66, 25)
    found = estimates(Asks.of(actor, 1.0, np.ones(1000), good))
    known = wilson(int(good.sum() / 25), 40)
    width = found.up.high - found.up.low
    assert width == pytest.approx(known.high - known.low, rel=0.1)
    assert found.up.size == pytest.approx(1000)


def test_one_actor_alone_says_nothing_of_others() -> None:
    found = estimates(Asks.of([7] * 50, 1.0, np.ones(50), np.ones(50)))
    assert (found.up.value, found.up.low, found.up.high) == (1.0, 0.0, 1.0)


def test_where_all_agree_each_actor_counts_once() -> None:
    found = estimates(Asks.of(np.repeat(range(30), 100), 1.0, np.ones(3000), np.ones(3000)))
    assert found.up.value == 1.0
    assert found.up.low == pytest.approx(wilson(30, 30).low, abs=0.02)


def test_nothing_asked_or_nothing_said_leaves_everything_open() -> None:
    nobody = estimates(Asks.of([], 1.0, [], []))
    assert (nobody.asked, nobody.up.value, nobody.quality.low, nobody.quality.high) == (0, None, 0.0, 1.0)
    silent = estimates(Asks.of(range(50), 1.0, np.zeros(50), np.zeros(50)))
    assert (silent.manski.low, silent.manski.high) == (0.0, 1.0)
    assert (silent.ipw.value, silent.ipw.low, silent.ipw.high) == (None, 0.0, 1.0)


def test_what_was_not_said_is_not_looked_at() -> None:
    rated = np.array([1, 1, 0, 0])
    heard = [estimates(Asks.of(range(4), 1.0, rated, [1, 0, silent, silent])) for silent in (0, 1)]
    assert heard[0] == heard[1]


def test_only_the_proportions_of_the_chances_matter() -> None:
    rng = np.random.default_rng(2)
    chance = rng.choice([0.01, 0.04], 500)
    rated, up = rng.random(500) < 0.5, rng.random(500) < 0.66
    one, ten = (estimates(Asks.of(range(500), chance * factor, rated, up)) for factor in (1, 10))
    assert astuple(one.up) == pytest.approx(astuple(ten.up))
    assert astuple(one.ipw) == pytest.approx(astuple(ten.ipw))


def test_rows_that_agree_may_be_added_up_before() -> None:
    rng = np.random.default_rng(3)
    actor, kind = rng.integers(0, 30, 600), rng.integers(0, 3, 600)
    chance, rated, up = rng.choice([0.1, 0.5], 600), rng.random(600) < 0.6, rng.random(600) < 0.66
    plain = Asks.of(actor, chance, rated, up, kind)
    keys, place = np.unique(np.stack([plain.actor, plain.probability, plain.kind]), axis=1, return_inverse=True)
    sums = [np.bincount(place.ravel(), values) for values in (plain.asked, plain.rated, plain.up)]
    added = Asks(keys[0].astype(np.int64), keys[1], keys[2].astype(np.int64), *sums)
    one, other = estimates(plain), estimates(added)
    for name in ("up", "down", "ipw", "response"):
        assert astuple(getattr(one, name)) == pytest.approx(astuple(getattr(other, name)))


def test_weights_are_clipped_at_twenty_times_their_mean() -> None:
    weights = np.ones(1000)
    weights[0] = 1000.0
    smaller = clipped(weights, np.ones(1000))
    assert smaller[0] == pytest.approx(CLIP * 1999 / 1000)
    assert (smaller[1:] == 1).all()


def test_the_effective_size_of_equal_weights_is_their_number() -> None:
    assert effective_size(np.full(6, 3.0), ONE) == pytest.approx(6)
    assert effective_size(np.array([1.0, 2.0]), np.array([4.0, 1.0])) == pytest.approx(36 / 8)
    assert effective_size(np.zeros(0), np.zeros(0)) == 0


def test_no_actor_has_more_than_the_cap_and_all_others_keep_their_proportions() -> None:
    rng = np.random.default_rng(4)
    actor = np.concatenate([np.zeros(5000, int), np.full(900, 1), rng.integers(2, 200, 1000)])
    weights = np.ones(len(actor))
    found = capped(weights, np.ones(len(actor)), actor)
    assert largest(weights, np.ones(len(actor)), actor) > 0.7
    assert largest(found, np.ones(len(actor)), actor) == pytest.approx(0.05)
    assert (found[5900:] == 1).all()


def test_among_few_actors_the_cap_is_twice_an_even_share() -> None:
    actor = np.array([0] * 90 + [1] * 5 + [2] * 5 + [3] * 5 + [4] * 5)
    found = capped(np.ones(110), np.ones(110), actor)
    assert largest(found, np.ones(110), actor) == pytest.approx(0.4)


def test_nobody_above_the_cap_means_nothing_changes() -> None:
    weights = np.linspace(1, 2, 100)
    assert (capped(weights, np.ones(100), np.arange(100)) == weights).all()


def test_one_noisy_actor_moves_the_estimate_by_no_more_than_its_cap() -> None:
    rng = np.random.default_rng(5)
    actor, good = np.repeat(np.arange(1, 201), 5), rng.random(1000) < 0.66
    quiet = estimates(Asks.of(actor, 0.5, np.ones(1000), good))
    shouting = estimates(Asks.of(np.append(actor, [0] * 9000), 0.5, np.ones(10_000), np.append(good, [False] * 9000)))
    assert quiet.up.value is not None and shouting.up.value is not None
    assert quiet.up.value - shouting.up.value == pytest.approx(0.05 * quiet.up.value, rel=1e-6)
    assert shouting.largest_uncapped == 0.9
    assert shouting.largest_weight == pytest.approx(0.05)


def test_the_bounds_are_ups_and_ups_with_all_who_are_silent() -> None:
    assert (manski(0.2, 0.1).low, manski(0.2, 0.1).high) == pytest.approx((0.2, 0.9))
    assert (manski(None, None).low, manski(None, None).high) == (0.0, 1.0)


def test_an_interval_holds_its_value_and_lies_within_nought_and_one() -> None:
    rng = np.random.default_rng(6)
    for _ in range(300):
        actors = int(rng.integers(1, 30))
        n = int(rng.integers(1, 60))
        totals = rng.random(n) * (rng.random(n) < rng.random())
        share = self_normalised(totals, np.ones(n), rng.exponential(size=n) + 0.01, rng.integers(0, actors, n))
        assert share.value is not None
        assert 0 <= share.low <= share.value + 1e-12
        assert share.value - 1e-12 <= share.high <= 1
