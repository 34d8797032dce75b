"""Alpha spending: what each look may cost, at any looks; published boundaries are in test_statistics_experiment.py."""

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.experiments import spending

fractions = st.lists(st.floats(0.02, 1.4), min_size=1, max_size=8, unique=True).map(sorted)


@settings(deadline=None, max_examples=40)
@given(fractions, st.sampled_from([0.01, 0.05]))
def test_any_looks_spend_what_their_last_one_may_have_spent(shares: list[float], alpha: float) -> None:
    bounds = spending.boundaries(shares, alpha)
    left = spending.leaving(bounds, shares)
    assert left.sum() == pytest.approx(float(spending.spent(shares[-1], alpha)), rel=2e-3, abs=1e-12)
    assert left[0] == pytest.approx(left[1], rel=1e-6, abs=1e-15)


def test_nothing_is_spent_before_information_and_all_at_the_plan_and_beyond() -> None:
    assert float(spending.spent(0.0, 0.05)) == 0.0
    assert spending.spent([1.0, 1.7], 0.05) == pytest.approx([0.05, 0.05])
    assert (np.diff(spending.spent(np.linspace(0.05, 1, 40), 0.05)) > 0).all()


def test_looks_already_taken_keep_their_boundaries_whatever_follows() -> None:
    before = spending.boundaries([0.2, 0.55], 0.05)
    assert spending.boundaries([0.2, 0.55, 0.57, 1.1], 0.05)[:2] == pytest.approx(before, abs=1e-9)


def test_integration_agrees_with_simulated_paths() -> None:
    rng, shares = np.random.default_rng(1), np.array([0.15, 0.2, 0.6, 0.61, 1.0])
    bounds, drift = np.array([3.0, 2.5, 2.2, 2.3, 2.0]), 1.5
    steps = np.diff(shares, prepend=0)
    paths = (rng.standard_normal((200_000, 5)) * np.sqrt(steps) + drift * steps).cumsum(axis=1) / np.sqrt(shares)
    above, below = paths >= bounds, paths <= -bounds
    first = np.where((above | below).any(axis=1), (above | below).argmax(axis=1), 5)
    exact = spending.leaving(bounds, shares, drift)
    for row, crossed in ((0, below), (1, above)):
        seen = [(crossed[:, look] & (first == look)).mean() for look in range(5)]
        assert exact[row] == pytest.approx(seen, abs=0.003)


def test_a_very_early_look_can_never_reject_and_a_late_one_still_can() -> None:
    bounds = spending.boundaries([0.0005, 1.0], 0.05)
    assert bounds[0] == inf
    assert bounds[1] == pytest.approx(1.96, abs=1e-3)


def test_looks_very_close_together_stay_accurate() -> None:
    alone, crowded = spending.boundaries([0.5, 1.0], 0.05), spending.boundaries([0.5, 0.50001, 1.0], 0.05)
    assert crowded[-1] == pytest.approx(alone[-1], abs=1e-3)


@pytest.mark.parametrize("wrong", [[0.5, 0.5], [0.0, 1.0], [0.9, 0.2]])
def test_information_that_does_not_grow_is_refused(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="information grows from look to look"):
        spending.boundaries(wrong, 0.05)


def test_one_look_costs_nothing_extra_and_more_looks_a_little() -> None:
    assert spending.budget(1, 0.05, 0.8) == pytest.approx(1.0, abs=1e-5)
    assert 1.0 < spending.budget(5, 0.05, 0.8) < spending.budget(14, 0.05, 0.8) < spending.budget(50, 0.05, 0.8) < 1.06
