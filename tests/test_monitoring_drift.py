"""Change detection: run length kept, delay near the best possible, state that can be stored, and honest warming."""

import json
from collections.abc import Callable
from dataclasses import replace
from math import log

import numpy as np
import pytest
from numpy.typing import NDArray

from core.types import Verdict
from monitoring import drift
from monitoring.drift import ShareWatch, Watch, finding, observe, observe_share, share_finding
from monitoring.policy import DriftPolicy

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]

POLICY = DriftPolicy(min_reference=1000)
QUICK = DriftPolicy(run_length=1000, min_reference=500)
ORACLE = {0.5: (6.56, 49), 1.0: (7.35, 15)}
"""Log threshold of the cumulative sum that knows the shift, at one false alarm in 10,000, and its mean delay."""


def warmed(policy: DriftPolicy, rng: np.random.Generator, quiet: int = 0) -> Watch:
    while True:
        watch = observe(Watch(), rng.standard_normal(policy.min_reference + quiet), policy, rng)
        if watch.alarm is None:
            return watch


def delay(shift: float, quiet: int, rng: np.random.Generator) -> int:
    before = warmed(POLICY, rng, quiet)
    after = observe(before, rng.standard_normal(4000) + shift, POLICY, rng)
    assert after.alarm is not None
    return after.alarm - before.tested


def oracle(shift: float) -> float:
    rng, total, delays = np.random.default_rng(1), np.zeros(2000), np.zeros(2000)
    waiting = np.ones(2000, dtype=bool)
    while waiting.any():
        total = np.maximum(total, 0) + shift * (rng.standard_normal(2000) + shift) - shift**2 / 2
        delays += waiting
        waiting &= total < ORACLE[shift][0]
    return float(delays.mean())


@pytest.mark.parametrize("shift", [0.5, 1.0])
def test_the_delay_is_near_that_of_the_test_that_knows_the_shift_whatever_the_uptime(shift: float) -> None:
    best, rng = oracle(shift), np.random.default_rng(2)
    assert best == pytest.approx(ORACLE[shift][1], rel=0.05)
    for quiet in (300, 2000):
        assert np.mean([delay(shift, quiet, rng) for _ in range(60)]) <= 1.4 * best


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, n: rng.standard_normal(n),
        lambda rng, n: rng.standard_cauchy(n),
        lambda rng, n: rng.integers(0, 4, n),
    ],
    ids=["normal", "cauchy", "few values"],
)
def test_the_stated_run_length_is_kept_whatever_the_law(draw: Draw) -> None:
    rng, tested, alarms = np.random.default_rng(3), 0, 0
    for _ in range(40):
        watch = observe(Watch(), draw(rng, 500 + 3000), QUICK, rng)
        tested, alarms = tested + watch.tested, alarms + (watch.alarm is not None)
    expected = tested / QUICK.run_length
    assert expected > 20
    assert alarms <= expected + 3 * np.sqrt(expected)


@pytest.mark.parametrize("run_length", [600, 1000, 10_000])
def test_the_simulated_threshold_gives_its_run_length(run_length: float) -> None:
    rng, replicates, steps = np.random.default_rng(4), 4000, 2500
    shifts, limit = np.array(drift.SHIFTS)[:, None], drift.threshold(run_length)
    sums, alarms = np.zeros((len(shifts), replicates)), 0
    for _ in range(steps):
        sums = np.maximum(sums, 0) + shifts * rng.standard_normal(replicates) - shifts**2 / 2
        fired = np.log(np.exp(np.maximum(sums, 0)).mean(axis=0)) >= limit
        alarms += int(fired.sum())
        sums[:, fired] = 0
    realised = replicates * steps / alarms
    assert run_length * (1 - 3 / np.sqrt(alarms)) <= realised <= 1.12 * run_length


@pytest.mark.parametrize(("height", "run_length"), [(4, 335.4), (5, 930.9)])
def test_each_sum_is_pages_with_the_published_run_length(height: float, run_length: float) -> None:
    # One-sided, k = .5: D. C. Montgomery, Statistical quality control; Brook and Evans' Markov chain
    rng, replicates, lengths = np.random.default_rng(5), 250, []
    one_sigma = drift.SHIFTS.index(1.0)
    for _ in range(replicates):
        watch = Watch()
        while watch.cusum[one_sigma] < height:
            watch = drift.scored(watch, rng.standard_normal(), limit=1e9)
        lengths.append(watch.tested)
    assert np.mean(lengths) == pytest.approx(run_length, rel=3 / np.sqrt(replicates))


def test_one_step_in_the_state_is_one_step_of_the_formula() -> None:
    scores = np.random.default_rng(6).standard_normal(200) + 0.3
    watch, sums = Watch(), np.zeros(len(drift.SHIFTS))
    for score in scores:
        watch = drift.scored(watch, float(score), limit=1e9)
        sums = np.maximum(sums, 0) + np.array(drift.SHIFTS) * score - np.array(drift.SHIFTS) ** 2 / 2
    assert watch.cusum == pytest.approx(sums)
    assert drift.statistic(watch.cusum) == pytest.approx(log(np.exp(np.maximum(sums, 0)).mean()))


def test_the_score_is_the_smoothed_rank() -> None:
    # Two of four above, one equal: p = (2 + .5 * 2) / 5 = .6, a score of -.2533
    assert drift.normal_score([1, 2, 3, 4], 2, 0.5) == pytest.approx(-0.2533471)
    assert drift.normal_score([1, 2, 3, 4], 9, 0.5) > 0 > drift.normal_score([1, 2, 3, 4], 0, 0.5)


def test_scores_of_exchangeable_values_are_normal() -> None:
    rng = np.random.default_rng(8)
    found = [drift.normal_score(sorted(d[:20]), d[20], 1 - rng.random()) for d in rng.standard_cauchy((4000, 21))]
    assert np.mean(found) == pytest.approx(0, abs=3 / np.sqrt(4000))
    assert np.std(found) == pytest.approx(1, abs=3 / np.sqrt(8000))


def test_a_reference_that_is_not_complete_is_warming_and_never_ok() -> None:
    rng = np.random.default_rng(9)
    watch = observe(Watch(), rng.standard_normal(999), POLICY, rng)
    assert finding(watch, POLICY).verdict is Verdict.WARMING
    assert finding(watch, POLICY).says == "warming: 999 of 1000 observations for the reference"
    watch = observe(watch, rng.standard_normal(1) + 99, POLICY, rng)
    assert (finding(watch, POLICY).verdict, watch.tested) == (Verdict.OK, 0)


def test_what_follows_an_alarm_never_enters_the_reference() -> None:
    rng = np.random.default_rng(10)
    quiet = warmed(POLICY, rng)
    loud = observe(quiet, np.full(500, 9.0), POLICY, rng)
    assert finding(loud, POLICY).verdict is Verdict.ALARM
    assert loud.alarm is not None
    assert len(loud.reference) == 1000 + loud.alarm - 1  # the values before the one that raised it
    assert observe(loud, rng.standard_normal(500), POLICY, rng) == loud
    assert finding(drift.restarted(loud), POLICY).verdict is Verdict.OK


def test_an_alarm_says_which_way_and_since_when() -> None:
    rng = np.random.default_rng(11)
    quiet = warmed(POLICY, rng, quiet=200)
    for shift, way in ((1.0, "higher"), (-1.0, "lower")):
        loud = observe(quiet, rng.standard_normal(500) + shift, POLICY, rng)
        says = finding(loud, POLICY).says
        assert says.startswith(f"{way} for about ")
        assert int(says.split()[3]) == pytest.approx((loud.alarm or 0) - quiet.tested, abs=12)


def test_the_reference_is_capped() -> None:
    rng = np.random.default_rng(12)
    watch = observe(Watch(), rng.standard_normal(2500), DriftPolicy(run_length=1e9), rng)
    assert (len(watch.reference), watch.tested) == (2000, 2000)
    assert list(watch.reference) == sorted(watch.reference)


def test_a_watch_stored_as_json_goes_on_as_if_nothing_had_happened() -> None:
    values = np.random.default_rng(13).standard_normal(2000)
    whole = observe(Watch(), values, QUICK, np.random.default_rng(14))
    rng, parts = np.random.default_rng(14), Watch()
    for part in np.array_split(values, 7):
        parts = drift.watch_of(json.loads(json.dumps(drift.to_json(observe(parts, part.tolist(), QUICK, rng)))))
    assert parts == whole


def test_a_share_watch_stored_as_json_goes_on_too() -> None:
    values = (np.random.default_rng(15).random(400) < 0.7).tolist()
    half = observe_share(ShareWatch(), values[:250], POLICY)
    stored = drift.share_watch_of(json.loads(json.dumps(drift.to_json(half))))
    assert observe_share(stored, values[250:], POLICY) == observe_share(ShareWatch(), values, POLICY)


def test_a_falling_share_is_found_as_fast_as_in_the_reference_simulation() -> None:
    rng, found = np.random.default_rng(16), []
    known = ShareWatch(good=8_000_000, seen=10_000_000)
    for _ in range(200):
        watch = observe_share(known, (rng.random(2000) < 0.6).tolist(), POLICY)
        found.append(watch.alarm or 2000)
    assert np.mean(found) == pytest.approx(78, abs=3 * np.std(found) / np.sqrt(200))


@pytest.mark.parametrize("start", [ShareWatch(), ShareWatch(good=180, seen=200)], ids=["fresh", "lucky"])
def test_a_steady_share_keeps_the_run_length_even_after_a_lucky_reference(start: ShareWatch) -> None:
    rng, sharp, tested, alarms = np.random.default_rng(17), replace(QUICK, drop=0.1), 0, 0
    for _ in range(40):
        watch = observe_share(start, (rng.random(3000) < 0.86).tolist(), sharp)
        tested, alarms = tested + watch.tested, alarms + (watch.alarm is not None)
    assert alarms <= tested / sharp.run_length / 2


@pytest.mark.parametrize("good", [0, 1, 100, 199, 200])
def test_every_reference_share_can_be_watched(good: int) -> None:
    found = share_finding(observe_share(ShareWatch(good, 200), [True, False] * 20, POLICY), POLICY)
    assert found.verdict in Verdict and np.isfinite(found.statistic)


def test_a_share_warms_up_first() -> None:
    watch = observe_share(ShareWatch(), [True] * 150, POLICY)
    assert share_finding(watch, POLICY).verdict is Verdict.WARMING


def test_what_cannot_be_watched_is_refused() -> None:
    rng = np.random.default_rng(18)
    with pytest.raises(ValueError, match="finite"):
        observe(Watch(), [float("nan")], POLICY, rng)
    with pytest.raises(ValueError, match="at least 600"):
        drift.threshold(100)
    with pytest.raises(ValueError, match="one sum a shift"):
        drift.watch_of({"cusum": [0.0]})
