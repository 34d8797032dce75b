"""Change detection: one step is the formula's, state can be stored, warming is honest, what alarmed is not learnt.

Error rates and delays are simulated in test_statistics_drift.py.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from math import log

import numpy as np
import pytest

from core.clock import HOUR
from core.types import JsonObject, Verdict
from monitoring.drift import numbers
from monitoring.drift.numbers import Watch, finding, folded, observe
from monitoring.drift.watched import Numbers
from monitoring.policy import DriftPolicy

POLICY = DriftPolicy(min_reference=1000, max_reference=2000, cycle=0)
QUICK = DriftPolicy(run_length=1000, cycle=0)
DAILY = DriftPolicy(run_length=1000)


def at_one(values: Iterable[float]) -> Sequence[tuple[float, int]]:
    """All at the same time: for a watch that knows no cycle."""
    return [(float(value), 0) for value in values]


def by_minutes(values: Iterable[float], minutes: int = 10) -> Sequence[tuple[float, int]]:
    return [(float(value), k * minutes * HOUR // 60) for k, value in enumerate(values)]


def warmed(policy: DriftPolicy, rng: np.random.Generator, quiet: int = 0) -> Watch:
    while True:
        watch = observe(Watch(), at_one(rng.standard_normal(policy.min_reference + quiet)), policy, rng)
        if watch.alarm is None:
            return watch


def stored(watch: Watch) -> Watch:
    return numbers.watch_of(json.loads(json.dumps(numbers.to_json(watch))))


def test_one_step_in_the_state_is_one_step_of_the_formula() -> None:
    scores = np.random.default_rng(6).standard_normal(200) + 0.3
    watch, sums = folded(Watch(), scores.tolist(), limit=1e9), np.zeros(len(numbers.SHIFTS))
    for score in scores:
        sums = np.maximum(sums, 0) + np.array(numbers.SHIFTS) * score - np.array(numbers.SHIFTS) ** 2 / 2
    assert watch.cusum == pytest.approx(sums)
    assert numbers.statistic(watch.cusum) == pytest.approx(log(np.exp(np.maximum(sums, 0)).mean()))


def test_many_streams_at_once_alarm_where_each_alone_does() -> None:
    scores = np.random.default_rng(7).standard_normal((60, 1500)) * 1.1
    alone = [folded(Watch(), row, numbers.threshold(QUICK.run_length)).alarm for row in scores.tolist()]
    assert 5 < sum(alarm is not None for alarm in alone) < 60
    assert numbers.run(scores, QUICK).tolist() == [-1 if alarm is None else alarm - 1 for alarm in alone]


def test_a_reference_that_is_not_complete_is_warming_and_never_ok() -> None:
    rng = np.random.default_rng(9)
    watch = observe(Watch(), at_one(rng.standard_normal(999)), POLICY, rng)
    assert finding(watch, POLICY).verdict is Verdict.WARMING
    assert finding(watch, POLICY).says == "warming: 999 of 1000 observations for the reference"
    watch = observe(watch, at_one([99.0]), POLICY, rng)
    assert (finding(watch, POLICY).verdict, watch.tested) == (Verdict.OK, 0)


def test_a_reference_without_a_whole_cycle_is_warming_however_many_values_it_has() -> None:
    rng, daily = np.random.default_rng(9), by_minutes(np.random.default_rng(9).standard_normal(1442), minutes=1)
    watch = observe(Watch(), daily[:1440], DAILY, rng)
    assert (finding(watch, DAILY).verdict, watch.tested) == (Verdict.WARMING, 0)
    assert finding(watch, DAILY).says == "warming: 23 of 24 hours for the reference"
    watch = observe(watch, daily[1440:], DAILY, rng)
    assert (finding(watch, DAILY).verdict, watch.tested) == (Verdict.OK, 1)


def test_nothing_of_an_alarmed_stretch_enters_the_reference() -> None:
    rng = np.random.default_rng(10)
    quiet = warmed(POLICY, rng)
    loud = observe(quiet, at_one([9.0] * 500), POLICY, rng)
    assert finding(loud, POLICY).verdict is Verdict.ALARM
    assert loud.reference.phases == quiet.reference.phases
    assert observe(loud, at_one(rng.standard_normal(500)), POLICY, rng) == loud
    again = numbers.restarted(loud)
    assert finding(again, POLICY).verdict is Verdict.OK
    assert again.reference.phases == quiet.reference.phases


@pytest.mark.parametrize("together", [True, False], ids=["in one look", "one by one"])
def test_a_full_reference_unlearns_an_alarmed_stretch(together: bool) -> None:
    rng, full = np.random.default_rng(11), replace(POLICY, max_reference=1000)
    quiet = warmed(full, rng, quiet=400)
    before = quiet.reference.phases[0]
    assert (before.count, len(before.values)) == (400, 1000)
    # So far out that the sums start with it.
    loud, values = quiet, at_one([9.0] * 30)
    for part in [values] if together else [[value] for value in values]:
        loud = observe(loud, part, full, rng)
    after = loud.reference.phases[0]
    assert 0 < (loud.alarm or 0) - quiet.tested < 10
    assert before.count - 60 <= after.count <= before.count
    assert after.total <= before.total + 20


def test_an_alarm_says_which_way_and_since_when() -> None:
    rng = np.random.default_rng(11)
    quiet = warmed(POLICY, rng, quiet=200)
    for shift, way in ((1.0, "higher"), (-1.0, "lower")):
        loud = observe(quiet, at_one(rng.standard_normal(500) + shift), POLICY, rng)
        says = finding(loud, POLICY).says
        assert says.startswith(f"{way} for about ")
        assert int(says.split()[3]) == pytest.approx((loud.alarm or 0) - quiet.tested, abs=12)


def test_the_bound_of_the_theorem_is_shown_beside_the_stated_run_length() -> None:
    found = finding(Watch(), POLICY)
    assert found.guaranteed == pytest.approx(np.exp(found.threshold))
    assert 600 < found.guaranteed < POLICY.run_length


def test_the_run_length_of_a_family_is_divided_by_its_streams() -> None:
    assert DriftPolicy(run_length=10_000).family(8) == 1250
    with pytest.raises(ValueError, match="one stream at least"):
        DriftPolicy().family(0)


@pytest.mark.parametrize(
    ("cycle", "most"), [(0, 5000), (24 * HOUR, 5000), (24 * HOUR, 600)], ids=["plain", "daily", "full"]
)
def test_a_watch_stored_as_json_goes_on_as_if_nothing_had_happened(cycle: int, most: int) -> None:
    policy = DriftPolicy(run_length=1e6, max_reference=most, cycle=cycle)
    values = by_minutes(np.random.default_rng(13).integers(0, 900, 2000) / 7)
    whole = observe(Watch(), values, policy, np.random.default_rng(14))
    rng, parts = np.random.default_rng(14), Watch()
    for first, last in pairwise(np.linspace(0, 2000, 8).astype(int)):
        parts = stored(observe(parts, values[first:last], policy, rng))
    assert parts == whole
    assert whole.tested > 1000


def test_a_watch_with_the_phases_of_another_cycle_starts_anew() -> None:
    daily = Numbers(DAILY, np.random.default_rng(1), warmed(QUICK, np.random.default_rng(1)))
    body = daily.to_json()
    assert replace(daily, policy=QUICK).stored(body).watch == daily.watch
    assert daily.stored(body).watch == Watch()


def test_a_stored_watch_is_small() -> None:
    rng, values = np.random.default_rng(15), by_minutes(np.random.default_rng(15).standard_normal(8000), minutes=2)
    watch = observe(Watch(), values, replace(DAILY, run_length=1e9), rng)
    assert watch.reference.size > 4900
    assert len(json.dumps(numbers.to_json(watch))) < 40_000


def _without(name: str) -> JsonObject:
    return {key: value for key, value in numbers.to_json(Watch()).items() if key != name}


@pytest.mark.parametrize(
    "body",
    [
        {},
        _without("tested"),
        {**numbers.to_json(Watch()), "cusum": [0.0]},
        {**numbers.to_json(Watch()), "reference": 7},
        {**numbers.to_json(Watch()), "reference": {**numbers.to_json(Watch())["reference"], "values": "AAAAAA=="}},  # type: ignore[dict-item]
        {**numbers.to_json(Watch()), "reference": {**numbers.to_json(Watch())["reference"], "totals": "no base 64"}},  # type: ignore[dict-item]
    ],
)
def test_what_was_not_stored_by_a_watch_is_refused(body: JsonObject) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        numbers.watch_of(body)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_what_cannot_be_watched_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        observe(Watch(), at_one([value]), POLICY, np.random.default_rng(18))


def test_a_run_length_without_a_simulated_threshold_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 600"):
        numbers.threshold(100)
