"""Simulated A/Bs: what the lab decides at each look is what a live experiment decides."""

import numpy as np
import pytest

from core.types import Subject
from monitoring.experiments.experiment import examine
from monitoring.experiments.findings import Effect, Exposure, Taken
from monitoring.lab import looks, sticky
from monitoring.lab.traffic import Cohort, Population, World, cohort
from monitoring.policy import ExperimentPolicy, Rule

POLICY = ExperimentPolicy(planned=100, minimum=30, looks=5)
BUSY = Population(rate=0.6)
SIGNS = {Effect.WORSE: -1, Effect.BETTER: 1}


def exposures(found: Cohort, row: int, policy: ExperimentPolicy) -> list[Exposure]:
    """A replicate as the ledger would tell it."""
    return [
        Exposure(
            Subject(str(place)),
            bool(found.challenger[row, place]),
            float(found.share[place]),
            {policy.metric: float(found.value[row, place])},
            rated=bool(found.rated[row, place]),
        )
        for place in range(found.value.shape[1])
    ]


@pytest.mark.parametrize("world", [World.PLAIN, World.RAMP])
def test_the_interval_at_a_look_is_that_of_a_live_experiment(world: World) -> None:
    found = cohort(world, BUSY, 0.2, (1, 300), np.random.default_rng(1))
    compared = looks.after_each(found, POLICY)
    before, told = int((found.share != BUSY.share).sum()), exposures(found, 0, POLICY)
    for look in (99, 150, 239):
        live = examine(told[: before + look + 1], BUSY.share, POLICY).primary.comparison
        assert live.estimate == pytest.approx(compared.estimate[0, look], abs=1e-12)
        assert live.interval is not None
        assert live.interval.high - live.interval.low == pytest.approx(2 * compared.margin[0, look], abs=1e-12)


@pytest.mark.parametrize("rule", list(Rule))
def test_the_verdict_after_all_looks_is_that_of_a_live_experiment(rule: Rule) -> None:
    policy = ExperimentPolicy(planned=100, minimum=30, looks=5, rule=rule)
    found = cohort(World.PLAIN, BUSY, 0.15, (8, 150), np.random.default_rng(2))
    mine = looks.verdicts(looks.after_each(found, policy), rule, policy)[:, -1]
    live = [last_word(exposures(found, row, policy), policy) for row in range(8)]
    assert mine.tolist() == live
    assert len(set(live)) > 1


def last_word(told: list[Exposure], policy: ExperimentPolicy) -> int:
    """The first verdict of a live experiment that is looked at after every subject; 0 when there is none."""
    taken: tuple[Taken, ...] = ()
    for look in range(2, len(told) + 1):
        primary = examine(told[:look], BUSY.share, policy, taken).primary
        taken = tuple(primary.taken)
        if primary.effect in SIGNS:
            return SIGNS[primary.effect]
    return 0


def test_a_users_ratings_are_one_value_that_each_of_them_changes() -> None:
    given = sticky.ratings(0.7, 2, np.random.default_rng(3))
    found = sticky.by_user(given, POLICY)
    for look in (700, 4999):
        means: dict[bool, dict[int, list[float]]] = {False: {}, True: {}}
        for user, value, arm in zip(
            given.user[1, : look + 1], given.value[1, : look + 1], given.challenger[1], strict=False
        ):
            means[bool(arm)].setdefault(int(user), []).append(float(value))
        arms = [[np.mean(values) for values in means[arm].values()] for arm in (False, True)]
        assert found.estimate[1, look] == pytest.approx(np.mean(arms[1]) - np.mean(arms[0]))
        assert found.n[1, look] == sum(map(len, arms))


def test_a_population_rates_as_often_as_it_says() -> None:
    found = cohort(World.PLAIN, BUSY, 0.1, (50, 2000), np.random.default_rng(4))
    assert found.rated.mean() == pytest.approx(BUSY.raters, abs=0.005)
    gap = found.value[found.challenger].mean() - found.value[~found.challenger].mean()
    assert gap == pytest.approx(BUSY.metric(0.1), abs=0.01)


def test_on_the_ramp_later_subjects_are_easier_and_meet_the_challenger_more() -> None:
    found = cohort(World.RAMP, BUSY, 0.0, (50, 2000), np.random.default_rng(5))
    assert found.challenger[:, :300].mean() == pytest.approx(BUSY.first_share, abs=0.01)
    assert found.challenger[:, 1000:].mean() == pytest.approx(BUSY.share, abs=0.01)
    assert found.value[:, 1000:].mean() > found.value[:, :300].mean() + 0.2
