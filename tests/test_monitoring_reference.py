"""The reference by phase: ranks among its own hour, a fair selection, and learning what it is off by."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from core.clock import HOUR
from monitoring.drift import phase, reference
from monitoring.drift.phase import Phase, normal_score, p_value, single
from monitoring.drift.reference import Reference, met
from monitoring.policy import DriftPolicy

DAILY = DriftPolicy(min_reference=48, max_reference=600)


def day(values: Sequence[float], start: int = 0) -> Sequence[tuple[float, int]]:
    """These values spread over a day."""
    return [(value, start + k * 24 * HOUR // len(values)) for k, value in enumerate(values)]


def test_the_score_is_the_smoothed_rank() -> None:
    # Two of four above, one equal: p = (2 + .5 * 2) / 5 = .6, a score of -.2533
    assert p_value([[1, 2, 3, 4]], 2, 0.5) == pytest.approx(0.6)
    assert normal_score([[1, 2], [3, 4]], 2, 0.5) == pytest.approx(-0.2533471)
    assert normal_score([[1, 2, 3, 4]], 9, 0.5) > 0 > normal_score([[1, 2, 3, 4]], 0, 0.5)
    assert np.isfinite(normal_score([], 0, 1.0))


def test_scores_of_exchangeable_values_are_normal() -> None:
    rng = np.random.default_rng(8)
    found = [normal_score([sorted(d[:20])], d[20], 1 - rng.random()) for d in rng.standard_cauchy((4000, 21))]
    assert np.mean(found) == pytest.approx(0, abs=3 / np.sqrt(4000))
    assert np.std(found) == pytest.approx(1, abs=3 / np.sqrt(8000))


def test_a_value_is_ranked_among_those_of_its_own_hour() -> None:
    rng, hours = np.random.default_rng(1), np.repeat(np.arange(24), 20)
    warm, _ = met(Reference(), [*day((hours * 10.0).tolist()), (0.0, 24 * HOUR)], DAILY, rng)
    assert [set(part.values) for part in warm.phases] == [{hour * 10.0} for hour in range(24)]
    for hour, value in ((3, 35.0), (3, 25.0), (20, 195.0)):
        _, (score,) = met(warm, [(value, (48 + hour) * HOUR)], DAILY, rng)
        assert abs(score) > 1.3 and (score > 0) == (value > hour * 10)


def test_large_phases_are_joined_by_the_two_beside_them() -> None:
    rng, hours = np.random.default_rng(1), np.repeat(np.arange(24), 20)
    large = replace(DAILY, max_reference=24 * reference.ENOUGH)
    warm, _ = met(Reference(), [*day((hours * 10.0).tolist()), (0.0, 24 * HOUR)], large, rng)
    # Among those of hours 2, 3 and 4: above a third of them, and below a third
    _, (score,) = met(warm, [(30.0, 51 * HOUR)], large, rng)
    assert abs(score) < 0.45
    # The day has no edge: hour 0 is among 23, 0 and 1
    _, (score,) = met(warm, [(100.0, 48 * HOUR)], large, rng)
    assert 0.2 < score < 0.7


@pytest.mark.parametrize(
    ("cycle", "most", "count"),
    [(0, 5000, 1), (24, 5000, 24), (168, 5000, 168), (168, 1000, 40), (24, 30, 1), (0.5, 5000, 1)],
)
def test_a_cycle_has_phases_of_an_hour_unless_they_would_be_too_small(cycle: float, most: int, count: int) -> None:
    assert reference.phases(DriftPolicy(max_reference=most, cycle=int(cycle * HOUR))) == count


def test_a_phase_that_overflows_while_it_warms_keeps_a_fair_selection() -> None:
    rng, kept = np.random.default_rng(2), np.zeros(4000)
    policy = DriftPolicy(min_reference=4000, max_reference=200, cycle=0)
    for _ in range(100):
        found, _ = met(Reference(), [(float(k), 0) for k in range(4000)], policy, rng)
        kept[[int(value) for value in found.phases[0].values]] += 1
    tenths = kept.reshape(10, 400).sum(axis=1)
    assert tenths.sum() == 100 * 200
    assert tenths == pytest.approx(2000, abs=4 * np.sqrt(2000))


def test_the_reference_is_capped_and_sorted() -> None:
    rng = np.random.default_rng(12)
    found, scores = met(Reference(), day(rng.standard_normal(5000).tolist()), replace(DAILY, cycle=0), rng)
    assert (found.size, len(scores)) == (600, 5000 - 48)
    values = list(found.phases[0].values)
    assert values == sorted(values)
    assert found.phases[0].count == 5000 - 600


def test_a_reference_that_is_off_by_chance_is_set_right_by_what_follows() -> None:
    rng, draw = np.random.default_rng(3), np.random.default_rng(4)
    policy = DriftPolicy(min_reference=100, max_reference=100, cycle=0)
    off = sorted(draw.standard_normal(100) + 0.3)
    found, scores = met(Reference(), [(x, 0) for x in [*off, *draw.standard_normal(20_000)]], policy, rng)
    raw = [normal_score([found.phases[0].values], single(x), 0.5) for x in draw.standard_normal(5000)]
    assert np.mean(raw) < -0.2
    assert abs(np.mean(scores[-5000:])) < 3 / np.sqrt(5000)
    assert np.std(scores[-5000:]) == pytest.approx(1, abs=0.03)


def test_a_phase_unlearns_what_it_was_taught() -> None:
    empty = Phase().with_value(1.0).with_value(2.0)
    taught = empty.taught(0.5).taught(-1.25)
    assert taught.taught(-1.25, -1) == empty.taught(0.5)
    assert taught.taught(-1.25, -1).standard(2.0, 2) != taught.standard(2.0, 2)


def test_values_can_be_taken_back_newest_first() -> None:
    rng = np.random.default_rng(5)
    policy = DriftPolicy(min_reference=30, max_reference=40, cycle=0)
    values = [(float(x), 0) for x in rng.integers(0, 5, 60)]
    early, _ = met(Reference(), values[:35], policy, rng)
    late, _ = met(early, values[35:], policy, rng)
    assert len(late.recent) == 30
    back = reference.without_last(late, 25)
    assert back.phases[0].values == early.phases[0].values
    assert (back.phases[0].count, back.recent) == (0, ())
    assert back.phases[0].total == pytest.approx(0)


def test_equal_values_stay_equal_in_storage() -> None:
    value = 0.1 + 0.2
    assert single(value) == single(single(value)) != value
    kept = Phase().with_value(phase.single(value))
    assert p_value([kept.values], single(value), 0.25) == pytest.approx(0.25)
