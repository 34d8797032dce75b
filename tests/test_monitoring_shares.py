"""The watch over a share: as fast as in the reference simulation, its run length kept, and stored as JSON."""

import json
from dataclasses import replace

import numpy as np
import pytest

from core.types import Verdict
from monitoring.drift import shares
from monitoring.drift.shares import ShareWatch, finding, observe, run
from monitoring.policy import DriftPolicy

POLICY = DriftPolicy()
KNOWN = ShareWatch(good=8_000_000, seen=10_000_000)


def test_a_falling_share_is_found_as_fast_as_in_the_reference_simulation() -> None:
    share = np.where(np.arange(2300) < 300, 0.8, 0.6)
    first = run(KNOWN, np.random.default_rng(16).random((2000, 2300)) < share, POLICY)
    assert first.min() > 0
    found = first[first >= 300] - 299
    assert found.mean() == pytest.approx(78, abs=3 * found.std() / np.sqrt(found.size))


@pytest.mark.parametrize("start", [ShareWatch(), ShareWatch(good=180, seen=200)], ids=["fresh", "lucky"])
def test_a_steady_share_keeps_the_run_length_even_after_a_lucky_reference(start: ShareWatch) -> None:
    rng, sharp, tested, alarms = np.random.default_rng(17), replace(POLICY, run_length=1000, drop=0.1), 0, 0
    for _ in range(40):
        watch = observe(start, (rng.random(3000) < 0.86).tolist(), sharp)
        tested, alarms = tested + watch.tested, alarms + (watch.alarm is not None)
    assert alarms <= tested / sharp.run_length / 2


def test_many_streams_at_once_alarm_where_each_alone_does() -> None:
    rng, watch = np.random.default_rng(18), ShareWatch(good=160, seen=200, cusum=1.5)
    good = rng.random((50, 400)) < 0.65
    alone = [observe(watch, row, POLICY).alarm for row in good.tolist()]
    assert 5 < sum(alarm is not None for alarm in alone) < 50
    assert run(watch, good, POLICY).tolist() == [-1 if alarm is None else alarm - 1 for alarm in alone]


@pytest.mark.parametrize("good", [0, 1, 100, 199, 200])
def test_every_reference_share_can_be_watched(good: int) -> None:
    found = finding(observe(ShareWatch(good, 200), [True, False] * 20, POLICY), POLICY)
    assert found.verdict in Verdict and np.isfinite(found.statistic)


def test_a_share_warms_up_first() -> None:
    found = finding(observe(ShareWatch(), [True] * 150, POLICY), POLICY)
    assert (found.verdict, found.says) == (Verdict.WARMING, "warming: 150 of 200 observations for the reference")


def test_an_alarm_says_since_when() -> None:
    found = finding(observe(KNOWN, [True] * 200 + [False] * 60, POLICY), POLICY)
    assert (found.verdict, found.says) == (Verdict.ALARM, f"lower for about {found.count - 200} observations")


def test_a_share_watch_stored_as_json_goes_on_as_if_nothing_had_happened() -> None:
    values = (np.random.default_rng(15).random(400) < 0.7).tolist()
    stored = shares.watch_of(json.loads(json.dumps(shares.to_json(observe(ShareWatch(), values[:250], POLICY)))))
    assert observe(stored, values[250:], POLICY) == observe(ShareWatch(), values, POLICY)
    with pytest.raises(TypeError):
        shares.watch_of({"cusum": 0.0, "other": 1})
