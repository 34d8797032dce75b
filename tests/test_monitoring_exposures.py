"""Who was exposed to what, and what became of them: by first assignment, each subject once."""

import time
from dataclasses import replace

import pytest
from customers import BETTER, World
from sqlalchemy import func, insert, select

from core.errors import ConfigError
from core.lifecycle import Mover, Stage
from core.schema import exposures, retractions
from core.settings import Settings
from core.store import Store
from core.types import Arm, Experiment, ExperimentKind, Finish, Role, Subject, Version
from monitoring.experiment import Exposure
from monitoring.exposures import LOOK_BACK, Exposures, Scope
from monitoring.outcomes import Outcomes
from monitoring.questions import Skills, skills
from monitoring.terms import terms

TERMS = terms(Settings())
NOTHING = Skills({})


@pytest.fixture
def world(store: Store) -> World:
    """An A/B of v1 against v0 that has just begun, at one half."""
    return begun(World(store))


def begun(world: World, share: float = 0.5) -> World:
    world.register("v1", BETTER)
    world.story.advance("v1", Stage.SHADOW, Mover.MONITORING)
    world.story.experiments.begin(Version("v1"), share, actor="system:gate", reason="go")
    return world


def running(world: World, kind: ExperimentKind = ExperimentKind.AB) -> Experiment:
    return world.story.experiments.running()[kind]


def collect(world: World, kind: ExperimentKind = ExperimentKind.AB) -> int:
    experiment = running(world, kind)
    others = [other for other in world.story.experiments.page().items if other.id != experiment.id]
    return Exposures(world.store, lambda: world.story.time).collect(Scope(experiment, others))


def outcomes(world: World, past: Skills = NOTHING, kind: ExperimentKind = ExperimentKind.AB) -> dict[Subject, Exposure]:
    collect(world, kind)
    experiment = running(world, kind)
    others = [other for other in world.story.experiments.page().items if other.id != experiment.id]
    found = Outcomes(world.store, TERMS.measure).read(Scope(experiment, others), past)
    return {exposure.subject: exposure for exposure in found}


def test_every_subject_is_exposed_once_to_the_arm_of_its_first_call(world: World) -> None:
    calls = world.traffic(40, turns=3)
    assert collect(world) == 40
    assert collect(world) == 0
    first = {call.subject: call for call in reversed(calls)}
    for subject, exposure in outcomes(world).items():
        assert exposure.challenger == (first[subject].arm is Arm.CHALLENGER)
        assert exposure.share == 0.5
    assert 5 < sum(exposure.challenger for exposure in outcomes(world).values()) < 35


def test_who_was_first_met_before_the_split_was_widened_stays_where_it_was(store: Store) -> None:
    world = begun(World(store), share=0.1)
    subjects = world.newcomers(60)
    world.traffic(subjects)
    early = outcomes(world)
    world.story.experiments.widen(running(world).id, 0.5, actor="system:gate", reason="safe")
    again = world.traffic(subjects)
    moved = {call.subject for call in again if call.arm is Arm.CHALLENGER and not early[call.subject].challenger}
    assert moved
    late = world.traffic(30)
    found = outcomes(world)
    assert all(found[subject].challenger == early[subject].challenger for subject in subjects)
    assert {found[subject].share for subject in subjects} == {0.1}
    assert {found[call.subject].share for call in late} == {0.5}


def test_the_share_is_that_of_the_plan_that_the_call_was_assigned_under(store: Store) -> None:
    world = begun(World(store), share=0.1)
    slow = world.call(world.newcomer(), "old question 1")
    world.story.experiments.widen(running(world).id, 0.5, actor="system:gate", reason="safe")
    world.keep([slow])
    assert outcomes(world)[slow.subject].share == 0.1


def test_calls_that_were_not_drawn_expose_nobody(world: World) -> None:
    for change in (
        {"arm": Arm.PINNED, "experiment": None, "propensity": 1.0},
        {"arm": Arm.NAMED, "experiment": None, "propensity": 1.0},
        {"arm": Arm.SHADOW},
        {"arm": Arm.HOLDBACK, "experiment": None, "propensity": 0.05},
        {"tags": {"purpose": "measurement"}},
    ):
        world.keep([world.call(world.newcomer(), "old question 1", **change)])
    assert collect(world) == 0


def test_a_call_that_is_written_late_still_exposes_its_subject(world: World) -> None:
    slow = world.call(world.newcomer(), "old question 1")
    world.wait(LOOK_BACK / 2_000_000)
    world.traffic(10)
    assert collect(world) == 10
    world.keep([slow])
    assert collect(world) == 1


def test_only_new_calls_are_read_once_the_cursor_has_moved(world: World) -> None:
    world.traffic(5)
    old = world.call(world.newcomer(), "old question 1")
    world.wait(LOOK_BACK / 1_000_000 * 2)
    world.traffic(5)
    assert collect(world) == 10
    world.keep([old])
    assert collect(world) == 0


def test_outcomes_are_means_over_the_calls_of_a_subject(world: World) -> None:
    (subject,) = world.newcomers(1)
    fast = world.call(subject, "old question 1", duration=100_000, completion_tokens=10)
    slow = world.call(subject, "old question 2", duration=800_000, completion_tokens=20)
    failed = world.call(subject, "old question 3", finish=Finish.ERROR, served=None, reply=None)
    cut = world.call(subject, "old question 4", finish=Finish.CANCELLED, served=None, duration=1)
    world.keep([fast, slow, failed, cut], [world.thumb(fast), world.thumb(slow, value=0.0)])
    found = outcomes(world)[subject].outcomes
    assert found["thumbs"] == 0.5
    assert found["latency"] == pytest.approx((10_000 * 40_000) ** 0.5)
    assert found["length"] == 15
    assert found["errors"] == 0.25
    assert "old_skills" not in found


def test_a_challenger_that_the_champion_had_to_stand_in_for_has_failed(world: World) -> None:
    subjects = [call.subject for call in world.traffic(30, turns=1) if call.arm is Arm.CHALLENGER]
    call = world.call(subjects[0], "old question 1", served=Version("v0"), completion_tokens=1)
    world.keep([call])
    found = outcomes(world)[subjects[0]].outcomes
    assert found["errors"] == 0.5
    assert found["length"] == 10


def test_a_provider_that_stood_in_is_an_error_of_the_assigned_arm(world: World) -> None:
    calls = world.traffic(30, turns=1)
    challenged = next(call for call in calls if call.arm is Arm.CHALLENGER)
    stood_in = replace(
        challenged, id=world.call(challenged.subject, "x").id, arm=Arm.EXTERNAL, provider="p/q", served=None
    )
    world.keep([stood_in])
    assert outcomes(world)[challenged.subject].outcomes["errors"] == 0.5


def test_the_last_word_of_each_person_counts_unless_it_was_taken_back(world: World) -> None:
    (subject,) = world.newcomers(1)
    call, other = world.call(subject, "old question 1"), world.call(subject, "old question 2")
    words = [
        world.thumb(call, value=0.0),
        world.thumb(call, value=1.0),
        world.thumb(call, value=0.0, actor="key_reviewer", role=Role.REVIEWER),
        world.thumb(other, value=0.0),
        world.thumb(other, name="rating", value=0.9),
    ]
    world.keep([call, other], words)
    assert outcomes(world)[subject].outcomes["thumbs"] == 0.25
    with world.store.write() as conn:
        conn.execute(insert(retractions), {"feedback": words[3].id, "created_at": 1, "key_id": "k"})
    assert outcomes(world)[subject].outcomes["thumbs"] == 0.5
    with world.store.write() as conn:
        # Taking a word back does not bring the one before it back.
        conn.execute(insert(retractions), {"feedback": words[1].id, "created_at": 1, "key_id": "k"})
    assert outcomes(world)[subject].outcomes["thumbs"] == 0.0


def test_an_old_skill_is_a_question_that_was_answered_well_before(sqlite_store: Store) -> None:
    world = World(sqlite_store)
    before = world.traffic(20, questions=["old question 1", "new question 1"])
    until = world.story.time + 1
    begun(world)
    past = skills(world.store, until, TERMS.measure)
    assert len(past.liked) == 1
    (subject,) = world.newcomers(1)
    known, unknown = world.call(subject, "OLD question 1!"), world.call(subject, "new question 1")
    world.keep([known, unknown], [world.thumb(known, value=0.0), world.thumb(unknown, value=1.0)])
    found = outcomes(world, past)[subject].outcomes
    assert (found["thumbs"], found["old_skills"]) == (0.5, 0.0)
    assert before[0].subject not in outcomes(world, past)


def test_what_was_corrected_later_is_no_skill(sqlite_store: Store) -> None:
    world = World(sqlite_store)
    right, outdated = (
        world.call(world.newcomer(), "old question 1"),
        world.call(world.newcomer(), "old question 2"),
    )
    words = [world.thumb(right), world.thumb(outdated), world.thumb(outdated, value=0.0, correction="It moved.")]
    world.keep([right, outdated], [replace(words[2], actor="key_reviewer"), *words[:2]])
    assert len(skills(world.store, world.story.time + 1, TERMS.measure).liked) == 1


@pytest.mark.parametrize("held", [0.2])
def test_a_hold_back_counts_those_who_were_drawn_after_the_promotion_and_by_nothing_else(
    store: Store, held: float
) -> None:
    world = World(store)
    world.traffic(20)
    world.story.await_approval("v1")
    world.behaviours["v1"] = BETTER
    world.story.promote("v1", holdback=held)
    calls = world.traffic(100, turns=1)
    pinned = world.call(world.newcomer(), "old question 1", arm=Arm.PINNED, propensity=1.0)
    away = world.call(world.newcomer(), "old question 1", arm=Arm.EXTERNAL, propensity=1.0)
    world.keep([pinned, away])
    found = outcomes(world, kind=ExperimentKind.HOLDBACK)
    assert set(found) == {call.subject for call in calls}
    assert all(found[call.subject].challenger == (call.assigned == "v1") for call in calls)
    assert {exposure.share for exposure in found.values()} == {1 - held}


def test_during_an_ab_the_hold_back_meets_nobody_in_either_arm(store: Store) -> None:
    world = World(store)
    world.story.await_approval("v1")
    world.behaviours |= {"v1": BETTER, "v2": BETTER}
    world.story.promote("v1", holdback=0.2)
    before = world.traffic(50, turns=1)
    world.story.compare("v2")
    during = world.traffic(50, turns=1)
    assert {call.arm for call in during} >= {Arm.HOLDBACK, Arm.CHAMPION}
    assert set(outcomes(world, kind=ExperimentKind.HOLDBACK)) == {call.subject for call in before}
    world.wait(1)
    world.story.experiments.stop(running(world).id, actor="key_ops", reason="enough")
    world.wait(1)
    after = world.traffic(50, turns=1)
    found = outcomes(world, kind=ExperimentKind.HOLDBACK)
    assert set(found) == {call.subject for call in [*before, *after]}


def test_a_metric_without_a_better_end_cannot_decide() -> None:
    with pytest.raises(ConfigError, match="does not declare"):
        terms(Settings.model_validate({"experiment": {"metric": "joy"}}))
    names = {"mood": {"type": "label", "labels": ["good", "bad"]}}
    with pytest.raises(ConfigError, match="no better end"):
        terms(Settings.model_validate({"experiment": {"metric": "mood"}, "feedback": {"names": names}}))


def test_a_metric_of_any_range_and_direction_becomes_a_share() -> None:
    names = {"effort": {"type": "number", "low": 1.0, "high": 5.0, "better": "lower"}}
    found = terms(Settings.model_validate({"experiment": {"metric": "effort"}, "feedback": {"names": names}})).measure
    assert (found.of(1.0), found.of(5.0), found.of(2.0)) == (1.0, 0.0, 0.75)


@pytest.mark.slow
def test_two_thousand_subjects_with_five_calls_each_are_read_in_seconds(world: World) -> None:
    world.traffic(2000, turns=5)
    begun_at = time.perf_counter()
    assert collect(world) == 2000
    collected = time.perf_counter()
    experiment = running(world)
    found = Outcomes(world.store, TERMS.measure).read(Scope(experiment), NOTHING)
    read = time.perf_counter()
    assert collect(world) == 0
    again = time.perf_counter()
    print(f"collect {collected - begun_at:.3f} s, outcomes {read - collected:.3f} s, again {again - read:.3f} s")
    assert len(found) == 2000
    assert again - begun_at < 5
    with world.store.read() as conn:
        assert conn.scalar(select(func.count()).select_from(exposures)) == 2000
