"""Who was exposed to what, and what became of them: by first assignment, each subject once."""

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
from monitoring.experiments.exposures import LOOK_BACK, Exposures, Scope
from monitoring.experiments.findings import Exposure
from monitoring.experiments.outcomes import Outcomes
from monitoring.shadow.questions import Skills, skills
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
    exposure = outcomes(world)[subject]
    found = exposure.outcomes
    assert (found["thumbs"], exposure.up, exposure.down, exposure.rated) == (0.0, 0.5, 0.5, True)
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
    assert outcomes(world)[subject].outcomes["thumbs"] == -0.5
    with world.store.write() as conn:
        conn.execute(insert(retractions), {"feedback": words[3].id, "created_at": 1, "key_id": "k"})
    assert outcomes(world)[subject].outcomes["thumbs"] == 0.0
    with world.store.write() as conn:
        # Taking a word back does not bring the one before it back.
        conn.execute(insert(retractions), {"feedback": words[1].id, "created_at": 1, "key_id": "k"})
    assert outcomes(world)[subject].outcomes["thumbs"] == -0.5


def test_an_answer_that_nobody_rated_counts_as_nothing_and_no_answer_is_no_outcome(world: World) -> None:
    silent, brief, cut, rude = world.newcomers(4)
    for subject, rated in ((silent, 0), (brief, 1)):
        calls = [world.call(subject, "old question 1") for _ in range(4)]
        world.keep(calls, [world.thumb(call, value=1.0) for call in calls[:rated]])
    stopped = [world.call(subject, "old question 1", finish=Finish.CANCELLED) for subject in (cut, rude)]
    world.keep(stopped, [world.thumb(stopped[1], value=0.0)])
    found = outcomes(world)
    assert (found[silent].outcomes["thumbs"], found[silent].rated) == (0.0, False)
    assert (found[brief].outcomes["thumbs"], found[brief].up, found[brief].down) == (0.25, 0.25, 0.0)
    assert "thumbs" not in found[cut].outcomes
    assert (found[rude].outcomes["thumbs"], found[rude].down) == (-1.0, 1.0)


def test_looks_that_read_only_what_is_new_find_what_one_that_reads_all_finds(world: World) -> None:
    kept = Outcomes(world.store, TERMS.measure)

    def look() -> dict[Subject, Exposure]:
        collect(world)
        found = {e.subject: e for e in kept.read(Scope(running(world)), NOTHING)}
        assert found == outcomes(world)
        return found

    first = world.traffic(20, rate=0.6)
    late, early = world.call(world.newcomer(), "old question 1"), look()
    again = [world.call(call.subject, "new question 1") for call in first[:6]]
    words = [world.thumb(call, value=0.0) for call in [*again, *first[6:12]]]
    world.keep([*again, late], words)
    assert look() != early
    with world.store.write() as conn:
        times = {"created_at": world.story.time, "key_id": "k"}
        conn.execute(insert(retractions), [{"feedback": word.id, **times} for word in words[4:9]])
    changed = look()
    world.wait(LOOK_BACK / 1_000_000 * 3)
    world.traffic(10)
    slow = world.call(first[0].subject, "old question 1")
    world.wait(LOOK_BACK / 2_000_000)
    world.traffic(5)
    look()
    world.keep([slow], [world.thumb(slow, value=1.0)])
    assert look()[first[0].subject] != changed[first[0].subject]
    world.keep([], [world.thumb(first[3], value=1.0), world.thumb(first[3], value=0.0)])
    look()


def test_sums_are_begun_anew_when_the_split_changes_and_after_a_day(world: World) -> None:
    kept = Outcomes(world.store, TERMS.measure)
    calls = world.traffic(5, rate=0.0)

    def heard() -> int:
        collect(world)
        return sum("thumbs" in e.outcomes and e.outcomes["errors"] == 0.0 for e in kept.read(scope(), NOTHING))

    def scope() -> Scope:
        return Scope(running(world))

    assert heard() == 5
    lost = [replace(world.call(call.subject, "x"), id=call.id[:-4] + "ZZZZ", finish=Finish.ERROR) for call in calls]
    world.wait(LOOK_BACK / 1_000_000 * 5)
    world.traffic(1)
    assert heard() == 6
    # Rows that come hours late, under ids of then, are met only when all is read again.
    world.keep(lost)
    assert heard() == 6
    world.wait(25 * 3600)
    world.traffic(1)
    assert heard() == 7
    assert heard() == 2


def test_the_past_of_a_subject_is_what_it_said_before_the_experiment(store: Store) -> None:
    world = World(store)
    fan, critic, quiet, fickle, changed, new = world.newcomers(6)
    old = {
        who: [world.call(who, f"old question {n}") for n in range(2)] for who in (fan, critic, quiet, fickle, changed)
    }
    words = [world.thumb(old[fan][0], value=1.0), world.thumb(old[critic][0], value=0.0)]
    taken_back = world.thumb(old[fickle][0], value=1.0)
    world.keep([call for calls in old.values() for call in calls], [*words, taken_back])
    with store.write() as conn:
        conn.execute(insert(retractions), {"feedback": taken_back.id, "created_at": world.story.time, "key_id": "k"})
    begun(world)
    # What is said after the beginning may be an arm's doing, even about an answer from before.
    world.keep([], [world.thumb(old[changed][0], value=0.0)])
    world.traffic([fan, critic, quiet, fickle, changed, new])
    found = outcomes(world)
    expected = {fan: 0.5, critic: -0.5, quiet: 0.0, fickle: 0.0, changed: 0.0, new: None}
    assert {subject: exposure.before for subject, exposure in found.items()} == expected


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
    assert (found["thumbs"], found["old_skills"]) == (0.0, 0.0)
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
def test_of_two_thousand_subjects_what_is_kept_is_what_a_new_process_reads(world: World) -> None:
    world.traffic(2000, turns=5)
    assert collect(world) == 2000
    scope = Scope(running(world))
    kept = Outcomes(world.store, TERMS.measure)
    assert len(kept.read(scope, NOTHING)) == 2000
    world.wait(LOOK_BACK / 1_000_000 * 2)
    world.traffic(5)
    assert (collect(world), collect(world)) == (5, 0)
    anew = Outcomes(world.store, TERMS.measure).read(scope, NOTHING)
    assert {each.subject: each for each in kept.read(scope, NOTHING)} == {each.subject: each for each in anew}
    with world.store.read() as conn:
        assert conn.scalar(select(func.count()).select_from(exposures)) == 2005
