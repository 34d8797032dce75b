"""Verdicts over arrays of looks: where looks are taken, that they stand, and how many subjects are planned."""

from dataclasses import replace

import numpy as np
import pytest

from monitoring.experiments import spending, superiority
from monitoring.experiments.findings import Taken
from monitoring.experiments.sequential import Difference, mean_margin
from monitoring.policy import ExperimentPolicy, Rule

ANYTIME = ExperimentPolicy(planned=400)
LOOKS = replace(ANYTIME, rule=Rule.GROUP_SEQUENTIAL, looks=4)


def test_looks_are_taken_where_information_passes_its_next_share_and_stand_until_then() -> None:
    bounds = spending.boundaries([0.25, 0.5, 0.75, 1.0], 0.05)
    information = np.arange(40.0, 441.0, 20.0)
    z = np.zeros(len(information))
    between, at = information == 140, information == 200
    z[between] = bounds[0] + 5
    assert not superiority.group_sequential(z, information, LOOKS).any()
    z[at] = bounds[1] + 1e-6
    verdicts = superiority.group_sequential(z, information, LOOKS)
    assert verdicts.tolist() == [0] * int((information < 200).sum()) + [1] * int((information >= 200).sum())
    z[at] = -bounds[1] - 1e-6
    assert superiority.group_sequential(z, information, LOOKS)[-1] == -1


def test_nothing_is_looked_at_after_the_last_look() -> None:
    information = np.array([100.0, 200.0, 300.0, 401.0, 900.0])
    assert not superiority.group_sequential(np.array([0, 0, 0, 0, 9.0]), information, LOOKS).any()


def test_scheduled_looks_that_are_passed_at_once_are_one_and_what_is_no_number_is_none() -> None:
    information = np.array([30.0, 310.0, 420.0])
    z = np.array([[np.nan, 2.5, 0.0], [np.nan, np.nan, 1.97]])
    late = spending.boundaries([310 / 400], 0.05)[0]
    assert late < 2.5
    assert superiority.group_sequential(z, information, LOOKS).tolist() == [[0, 1, 1], [0, 0, 1]]


def test_each_experiment_has_the_boundaries_of_its_own_looks() -> None:
    information = np.array([[100.0, 200.0, 300.0, 400.0], [10.0, 20.0, 30.0, 410.0]])
    z = np.full((2, 4), 1.97) * [0, 0, 0, 1]
    # After three looks 1.97 is not enough; as the only one it is.
    assert superiority.group_sequential(z, information, LOOKS)[:, -1].tolist() == [0, 1]


def test_one_path_and_its_rows_say_the_same() -> None:
    rng = np.random.default_rng(4)
    for _ in range(50):
        information = np.sort(rng.choice(np.arange(60, 500), 30, replace=False)).astype(float)
        z = rng.normal(1.5, 1.5, 30)
        taken: list[Taken] = []
        for n, score in zip(information, z, strict=True):
            before = taken[-1].information if taken else 0
            if superiority.due(n, before, LOOKS) and not (taken and superiority.verdict(taken)):
                bound = superiority.boundary([*(look.information for look in taken), n], LOOKS)[-1]
                taken.append(Taken(int(n), 400, 0.0, 1.0, float(score), float(bound)))
        expected = int(superiority.group_sequential(z, information, LOOKS)[-1])
        assert (superiority.verdict(taken) if taken else 0) == expected


def test_a_verdict_stays_what_it_was_first() -> None:
    assert superiority.sticky([0, 0, -1, 0, 1]).tolist() == [0, 0, -1, -1, -1]
    assert superiority.sticky(np.zeros((2, 3))).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_the_anytime_verdict_is_whether_the_interval_leaves_zero_out() -> None:
    n, spread = np.array([100.0, 400.0, 900.0]), np.full(3, 4.0)
    margin = mean_margin(n, spread, 400, 0.05)
    ready = np.where(n > 100, margin, np.inf)
    for estimate, expected in ((margin * 1.01, [0, 1, 1]), (-margin * 1.01, [0, -1, -1]), (margin * 0.99, [0, 0, 0])):
        assert superiority.anytime(Difference(estimate, ready, n, spread), ANYTIME).tolist() == expected


def test_the_planned_sample_is_that_of_one_look_times_the_budget_of_the_rule() -> None:
    # Two arms of 0 and 1 at .7 and .75 for power .8: 1,251 an arm by the usual formula with both variances.
    spread = 4 * (0.7 * 0.3 + 0.75 * 0.25) / 2
    fixed = 2 * 1248
    one_look = replace(LOOKS, looks=1)
    assert superiority.planned(0.05, spread, one_look) == pytest.approx(fixed, rel=0.005)
    assert superiority.planned(0.05, spread, LOOKS) / fixed == pytest.approx(spending.budget(4, 0.05, 0.8), rel=0.005)
    assert 1.5 < superiority.planned(-0.05, spread, ANYTIME) / fixed < 1.7
    assert superiority.planned(0.05, spread, LOOKS, 0.9) > superiority.planned(0.05, spread, LOOKS, 0.8)


@pytest.mark.parametrize(("effect", "power"), [(0.0, 0.8), (0.1, 1.0)])
def test_no_sample_shows_nothing_and_none_is_certain(effect: float, power: float) -> None:
    with pytest.raises(ValueError, match="an effect that is not zero"):
        superiority.planned(effect, 1.0, LOOKS, power)
