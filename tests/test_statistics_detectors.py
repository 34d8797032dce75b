"""Rules of thumb and another detector, measured beside the watches for drift on the same simulated streams.

Each test says how many replicates it has; bands are three standard errors of the simulation unless said otherwise.
"""

import numpy as np
import pytest
from brook_evans import best_delay
from mapie.exchangeability_testing import OnlineMartingaleTest
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from monitoring.drift import numbers
from monitoring.drift.numbers import Watch, observe
from monitoring.drift.phase import p_value
from monitoring.policy import DriftPolicy

Array = NDArray[np.float64]


def band(share: float, replicates: int) -> float:
    return float(3 * np.sqrt(share * (1 - share) / replicates))


def jumps(p: Array) -> Array:
    """The wealth of the simple jumper (J = .01) in each row of p-values, after each of them.

    V. Vovk, A. Gammerman and G. Shafer, Algorithmic learning in a random world, second edition, section 8.
    """
    accounts, wealth = np.full((3, len(p)), 1 / 3), np.empty_like(p)
    for step in range(p.shape[1]):
        accounts = 0.99 * accounts + 0.01 / 3 * accounts.sum(axis=0)
        accounts *= 1 + np.array([[-1.0], [0.0], [1.0]]) * (p[:, step] - 0.5)
        wealth[:, step] = accounts.sum(axis=0)
    return wealth


def restarted(wealth: Array, c: float) -> NDArray[np.int64]:
    """The first step at which the wealth since its best start reaches c, -1 where it never does."""
    growth = np.diff(np.log(wealth), axis=1, prepend=0.0)
    total, first = np.zeros(len(wealth)), np.full(len(wealth), -1)
    for step in range(wealth.shape[1]):
        total = np.maximum(total, 0) + growth[:, step]
        first[(first < 0) & (total >= np.log(c))] = step
    return first


def test_the_place_of_a_value_is_that_of_another_library() -> None:
    rng, theirs, uniforms = np.random.default_rng(31), OnlineMartingaleTest(random_state=7), np.random.default_rng(7)
    for size in range(1, 200):
        history, value = rng.integers(0, 40, size).astype(float), float(rng.integers(0, 40))
        mine = p_value([sorted(history)], value, uniforms.uniform())
        assert theirs.compute_p_value(value, history) == pytest.approx(mine, abs=1e-12)


def test_the_simple_jumper_is_that_of_another_library() -> None:
    p, theirs = np.random.default_rng(32).random(400) ** 1.3, OnlineMartingaleTest()
    assert [theirs.update_simple_jumper_martingale(float(each)) for each in p] == pytest.approx(jumps(p[None])[0])


def test_the_simple_jumper_keeps_its_level_for_ever() -> None:
    # 3,000 streams of 3,000; published simulations have .044
    share = float((jumps(np.random.default_rng(33).random((3000, 3000))).max(axis=1) >= 20).mean())
    assert share <= 0.05 + band(0.05, 3000)
    assert share == pytest.approx(0.044, abs=band(0.044, 3000))


@pytest.mark.parametrize("shift", [0.5, 1.0])
def test_the_mixture_is_much_faster_than_the_jumper_with_the_threshold_of_the_theorem(shift: float) -> None:
    # 1,500 streams, 300 quiet turns before the change; bands of the ratios to the best possible delay
    scores = np.random.default_rng(34).standard_normal((1500, 1300))
    scores[:, 300:] += shift
    best, delays = best_delay(shift, 10_000), []
    for first in (numbers.run(scores, DriftPolicy()), restarted(jumps(norm.sf(scores)), 10_000)):
        assert (first >= 0).all()
        delays.append(float((first[first >= 300] - 299).mean()) / best)
    assert 1.05 <= delays[0] <= 1.4
    assert 2.5 <= delays[1] <= 4
    assert delays[1] >= 2 * delays[0]


def differing(reference: Array, window: Array) -> bool:
    """A Kolmogorov-Smirnov test at .05, both sorted."""
    n, m = len(window), len(reference)
    share, rank = np.searchsorted(reference, window) / m, np.arange(n)
    return bool(np.maximum((rank + 1) / n - share, share - rank / n).max() > 1.358 * np.sqrt(1 / n + 1 / m))


def page_hinkley(x: Array) -> NDArray[np.bool_]:
    """Whether each row alarms by the usual defaults: delta .005, threshold 50, alpha .9999, after 30 values."""
    mean, up, down = np.zeros((3, len(x)))
    low, high, alarmed = mean + np.inf, mean - np.inf, mean > 0
    for step in range(x.shape[1]):
        mean = mean + (x[:, step] - mean) / (step + 1)
        up = 0.9999 * up + x[:, step] - mean - 0.005
        down = 0.9999 * down + x[:, step] - mean + 0.005
        low, high = np.minimum(low, up), np.maximum(high, down)
        alarmed |= (step >= 29) & ((up - low > 50) | (high - down > 50))
    return alarmed


def test_on_quiet_streams_the_rules_of_thumb_alarm_and_the_watch_does_not() -> None:
    # 60 references of 1,000 with 6,000 turns behind each: 30 windows of 200, in which a watch is to alarm on .05
    rng, policy, found = np.random.default_rng(35), DriftPolicy(6000 / 0.05, 1000, max_reference=1000, cycle=0), []
    for _ in range(60):
        x = rng.standard_normal(7000)
        reference = np.sort(x[:1000])
        watch = observe(Watch(), [(float(value), 0) for value in x], policy, rng)
        tests = any(differing(reference, np.sort(window)) for window in x[1000:].reshape(30, 200))
        found.append((watch.alarm is not None, tests, page_hinkley(x[None, :3000])[0]))
    ours, tests, hinkley = (float(share) for share in np.mean(found, axis=0))
    assert ours <= 0.05 + band(0.05, 60)
    assert tests == pytest.approx(0.75, abs=band(0.75, 60))
    assert hinkley == pytest.approx(0.87, abs=band(0.87, 60))


@pytest.mark.parametrize(("n", "mean", "share"), [(100, 0.192, 0.84), (200, 0.091, 0.40), (1000, 0.018, 0.0)])
def test_a_stability_index_above_a_tenth_says_how_small_the_window_was(n: int, mean: float, share: float) -> None:
    # 4,000 pairs of alike windows of size n over ten equal bins; published simulations have 1,000, hence .05
    rng = np.random.default_rng(36)
    old, new = (np.maximum(rng.multinomial(n, [0.1] * 10, 4000) / n, 1e-4) for _ in range(2))
    found = ((new - old) * np.log(new / old)).sum(axis=1)
    assert found.mean() == pytest.approx(mean, abs=0.003)
    assert (found > 0.1).mean() == pytest.approx(share, abs=0.05)


def test_a_classifier_slightly_better_than_chance_says_nothing_about_a_small_window() -> None:
    # 100 pairs of alike windows of 100 with 32 columns
    rng, side, found = np.random.default_rng(37), np.repeat([0, 1], 100), []
    for _ in range(100):
        columns = rng.standard_normal((200, 32))
        held_out = cross_val_predict(LogisticRegression(), columns, side, cv=5, method="decision_function")
        found.append(float(roc_auc_score(side, held_out)))
    assert np.mean(np.array(found) > 0.55) == pytest.approx(0.2, abs=band(0.2, 100))
    # The formula of Mann and Whitney promises .041; the folds depend on one another.
    assert np.std(found) > 0.047
