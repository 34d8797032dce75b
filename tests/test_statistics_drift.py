"""Error rates and delays of the drift watches, simulated through the code that decides.

What others do is measured beside it in test_statistics_detectors.py.
Each test says how many replicates it has; bands are three standard errors of the simulation unless said otherwise.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from brook_evans import best_delay, page
from numpy.typing import NDArray

from core.clock import HOUR
from monitoring.drift import numbers, shares
from monitoring.drift.numbers import Watch, observe
from monitoring.drift.shares import ShareWatch
from monitoring.policy import DriftPolicy

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, int], Array]
"""So many values, the first of which is the turn of that number."""

DAY = 24 * HOUR
A_DAY = 1000
"""Turns a day."""
POLICY = DriftPolicy(min_reference=5000, cycle=0)
QUICK = DriftPolicy(run_length=1000, min_reference=5000, cycle=0)


def timed(values: Iterable[float], start: int = 0, a_day: int = A_DAY) -> list[tuple[float, int]]:
    return [(float(value), (start + k) * DAY // a_day) for k, value in enumerate(values)]


def lived(
    watch: Watch, values: Sequence[tuple[float, int]], policy: DriftPolicy, rng: np.random.Generator
) -> tuple[Watch, int, int]:
    """The watch after these, restarted after each alarm; observations tested, and alarms among them."""
    tested, alarms = 0, 0
    for start in range(0, len(values), 100):
        before = watch.tested
        watch = observe(watch, values[start : start + 100], policy, rng)
        tested += watch.tested - before
        if watch.alarm is not None:
            watch, alarms = numbers.restarted(watch), alarms + 1
    return watch, tested, alarms


def run_length(first: NDArray[np.int64], steps: int) -> tuple[float, int]:
    """The mean run to a first alarm, given rows of `steps` that end with it; and how many alarms that rests on."""
    alarms = int((first >= 0).sum())
    return float(np.where(first < 0, steps, first + 1).sum()) / alarms, alarms


@pytest.mark.parametrize(
    ("h", "lengths"),
    [
        (4, [167.68, 74.22, 26.63, 13.29, 8.38, 4.75, 3.34, 2.19]),
        (5, [465.4, 139.5, 38.0, 17.05, 10.38, 5.75, 4.01, 2.57]),
    ],
)
def test_the_chain_gives_the_published_run_lengths(h: float, lengths: Sequence[float]) -> None:
    # Two-sided, k = .5: D. C. Montgomery, Introduction to statistical quality control
    for shift, published in zip((0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3), lengths, strict=True):
        up, down = page(0.5, h, shift)[1][0], page(0.5, h, -shift)[1][0]
        digits = 0.5 * 10.0 ** -len(f"{published}".partition(".")[2])
        assert 1 / (1 / up + 1 / down) == pytest.approx(published, abs=1.01 * digits)


@pytest.mark.parametrize(("height", "length"), [(4, 335.4), (5, 930.9)])
def test_each_sum_is_pages(height: float, length: float) -> None:
    # 300 runs of the sum for a shift of one, of which k is .5
    rng, one, lengths = np.random.default_rng(5), numbers.SHIFTS.index(1.0), []
    assert page(0.5, height, 0.0)[1][0] == pytest.approx(length, abs=0.05)
    for _ in range(300):
        watch = Watch()
        while watch.cusum[one] < height:
            watch = numbers.folded(watch, [rng.standard_normal()], limit=1e9)
        lengths.append(watch.tested)
    assert np.mean(lengths) == pytest.approx(length, rel=3 / np.sqrt(300))


@pytest.mark.parametrize("stated", [600, 1000, 10_000])
def test_the_simulated_threshold_gives_its_run_length(stated: float) -> None:
    # 3,000 rows of 5,000 scores
    scores = np.random.default_rng(4).standard_normal((3000, 5000))
    found, alarms = run_length(numbers.run(scores, replace(POLICY, run_length=stated)), 5000)
    assert stated * (1 - 3 / np.sqrt(alarms)) <= found <= stated * (1.08 + 3 / np.sqrt(alarms))
    assert found > 5 * np.exp(numbers.threshold(stated))


@pytest.mark.parametrize("cycle", [0, DAY], ids=["no cycle", "daily cycle"])
@pytest.mark.parametrize("shift", [0.5, 1.0])
def test_the_delay_is_near_that_of_the_test_that_knows_the_shift_whatever_the_uptime(shift: float, cycle: int) -> None:
    # 15 references of 5,000, 15 changes after each of three quiet times
    rng, policy = np.random.default_rng(2), replace(POLICY, cycle=cycle)
    length, _ = run_length(numbers.run(rng.standard_normal((2000, 5000)), policy), 5000)
    uptimes = (300, 1000, 2000)
    delays = {quiet: list[int]() for quiet in uptimes}
    for _ in range(15):
        watch, start = observe(Watch(), timed(rng.standard_normal(5000)), policy, rng), 5000
        for quiet in uptimes:
            more = 5000 + quiet - start
            watch, _, _ = lived(watch, timed(rng.standard_normal(more), start), policy, rng)
            start += more
            for _ in range(15):
                after = observe(watch, timed(rng.standard_normal(500) + shift, start), policy, rng)
                delays[quiet].append((after.alarm or 600) - watch.tested)
    best = best_delay(shift, length)
    means = [float(np.mean(delays[quiet])) for quiet in uptimes]
    assert max(means) <= 1.4 * best, (means, best)
    assert max(means) <= 1.15 * min(means), means


def kept(draw: Draw, policy: DriftPolicy, rows: int, steps: int, seed: int, a_day: int = A_DAY) -> tuple[float, int]:
    """The part of the stated run length that is kept behind so many references, and the alarms that this rests on."""
    rng, tested, alarms = np.random.default_rng(seed), 0, 0
    needed = max(policy.min_reference, policy.cycle * a_day // DAY + 1)
    for _ in range(rows):
        watch = observe(Watch(), timed(draw(rng, needed, 0), 0, a_day), policy, rng)
        _, more, new = lived(watch, timed(draw(rng, steps, needed), needed, a_day), policy, rng)
        tested, alarms = tested + more, alarms + new
    return tested / alarms / policy.run_length, alarms


LAWS: dict[str, Draw] = {
    "normal": lambda rng, n, _: rng.standard_normal(n),
    "cauchy": lambda rng, n, _: rng.standard_cauchy(n),
    "few values": lambda rng, n, _: rng.integers(0, 4, n).astype(float),
}


@pytest.mark.parametrize("size", [500, 5000])
@pytest.mark.parametrize("law", LAWS)
def test_the_stated_run_length_is_kept_whatever_the_law_and_the_reference(law: str, size: int) -> None:
    # 25 references, 6,000 turns behind each
    policy = replace(QUICK, min_reference=size, max_reference=size)
    found, alarms = kept(LAWS[law], policy, 25, 6000, seed=21)
    assert found >= 1 - 3 / np.sqrt(alarms)
    assert found <= 1.2 * (1 + 3 / np.sqrt(alarms))


def test_the_stated_run_length_is_kept_for_shares() -> None:
    # 100 references of 200, 40 rows of 3,000 answers behind each
    rng, policy, firsts = np.random.default_rng(22), replace(QUICK, drop=0.1), []
    for _ in range(100):
        watch = shares.observe(ShareWatch(), (rng.random(200) < 0.8).tolist(), policy)
        firsts.append(shares.run(watch, rng.random((40, 3000)) < 0.8, policy))
    found, _ = run_length(np.concatenate(firsts), 3000)
    assert found >= policy.run_length
    known = shares.run(ShareWatch(8_000_000, 10_000_000), rng.random((2000, 3000)) < 0.8, policy)
    assert run_length(known, 3000)[0] >= policy.run_length


def asked(rng: np.random.Generator, n: int) -> tuple[NDArray[np.int64], Array]:
    """n turns of n / 4 questions, each asked four times within about forty turns; and the value of each turn."""
    questions = np.repeat(np.arange(n // 4), 4)
    order = np.argsort(np.arange(n) + 40 * rng.random(n))
    return questions[order], rng.standard_normal(n // 4)[questions[order]]


def test_duplicated_texts_count_once() -> None:
    # 12 references of 1,000, 6,000 values behind each; a stream has one value for each question of a subject
    policy = replace(QUICK, min_reference=1000, max_reference=1000)

    def thinned(rng: np.random.Generator, n: int, start: int) -> Array:
        questions, values = asked(rng, 4 * n)
        return values[np.sort(np.unique(questions, return_index=True)[1])]

    found, alarms = kept(thinned, policy, 12, 6000, seed=23)
    assert found >= 1 - 3 / np.sqrt(alarms)
    assert kept(lambda rng, n, start: asked(rng, n)[1], policy, 3, 6000, seed=23)[0] < 0.2


def swinging(cycle: int, swing: float) -> Draw:
    """The mean swings over the day, and over the cycle if that is longer."""

    def draw(rng: np.random.Generator, n: int, start: int) -> Array:
        at = (start + np.arange(n)) * DAY // A_DAY
        weekly = swing * np.sin(2 * np.pi * at / cycle) if cycle > DAY else 0.0
        return rng.standard_normal(n) + swing * np.sin(2 * np.pi * at / DAY) + weekly

    return draw


@pytest.mark.parametrize("days", [1, 7], ids=["daily", "weekly"])
def test_a_cycle_that_the_reference_covers_does_not_alarm(days: int) -> None:
    # 12 references of 5,000, 10,000 turns behind each
    policy, draw = replace(QUICK, cycle=days * DAY), swinging(days * DAY, 0.7)
    found, alarms = kept(draw, policy, 12, 10_000, seed=24)
    assert found >= 0.9 - 3 / np.sqrt(alarms)
    assert kept(draw, replace(policy, cycle=0), 2, 5000, seed=24)[0] < 0.1
