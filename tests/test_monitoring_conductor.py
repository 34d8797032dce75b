"""The way of a candidate, on simulated customers: it gets as far as its evidence, and each end has its reason."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest
from customers import BETTER, CHAMPION, DUNNO, NEW, OLD, WORSE, Behaviour, World, compared, evaluation
from sqlalchemy import Connection

from core import states
from core.errors import Conflict, LeaseLost
from core.lifecycle import Mover, Stage
from core.settings import Settings
from core.store import Store
from core.types import ExperimentKind, ExperimentState, Feedback, Interaction, JsonObject, Role
from monitoring import history
from monitoring.gates.conductor import Conductor
from monitoring.gates.ruling import Reason, Ruling

QUICK: JsonObject = {
    "shadow": {"share": 1.0},
    "experiment": {"min_hours": 0.01, "first_subjects": 10, "first_share": 0.1},
}
REVIEW: JsonObject = {"shadow": {"share": 1.0}, "experiment": {"rollout": "review"}}
DAY = 24 * 3600


@pytest.fixture
def world(sqlite_store: Store) -> World:
    return World(sqlite_store, QUICK)


def ruled(world: World, version: str = "v1") -> JsonObject:
    with world.store.read() as conn:
        found = states.read(conn, f"gate/{version}")
    assert found is not None
    return found.body


def says(world: World, version: str = "v1") -> str:
    return str(ruled(world, version)["says"])


def live(world: World, days: int, customers: int = 150, until: Stage | None = None, rate: float = 1.0) -> None:
    """Traffic and ticks, a few hours apart, until a stage is reached or v1 is rejected."""
    for _ in range(days * 4):
        world.traffic(customers, rate=rate)
        world.conductor.tick()
        world.wait(DAY / 4)
        if world.story.stage("v1") in (until, Stage.REJECTED):
            return


def to_shadow(world: World, behaviour: Behaviour = BETTER) -> None:
    world.register("v1", behaviour)
    world.conductor.tick()
    assert world.story.stage("v1") is Stage.SHADOW


def to_ab(world: World, behaviour: Behaviour = BETTER) -> None:
    """Into the A/B, whatever it will show there."""
    to_shadow(world)
    live(world, 3, until=Stage.AB)
    world.behaviours["v1"] = behaviour
    assert world.story.stage("v1") is Stage.AB


def to_approval(world: World) -> None:
    to_shadow(world)
    live(world, 6, until=Stage.AWAITING_APPROVAL)
    assert world.story.stage("v1") is Stage.AWAITING_APPROVAL


def test_a_better_candidate_reaches_approval_through_every_stage(store: Store) -> None:
    world = World(store, QUICK)
    to_approval(world)
    (experiment,) = world.story.experiments.of_challenger(world.story.name("v1"))
    assert experiment.state is ExperimentState.RUNNING
    assert [step.share for step in experiment.steps] == [0.1, 0.5]
    assert world.story.plan.champion == "v0"
    frozen = world.story.registry.evidence("v1")
    assert frozen is not None and frozen.void is None
    gates = frozen.snapshot["gates"]
    assert isinstance(gates, list)
    assert [ruling["stage"] for ruling in gates] == ["candidate", "shadow", "ab"]
    assert {ruling["ruling"] for ruling in gates} == {"advance"}
    assert world.story.check()
    world.story.promote("v1")
    assert world.story.stage("v1") is Stage.CHAMPION


def test_a_tick_that_is_repeated_changes_nothing(world: World) -> None:
    to_ab(world)
    world.traffic(100)
    for stage in (Stage.AB, Stage.AWAITING_APPROVAL):
        live(world, 6, until=stage)
        world.conductor.tick()
        before = world.story.everything()
        assert world.conductor.tick() == []
        assert world.conduct().tick() == []
        assert world.story.everything() == before
    world.wait(60)
    world.conductor.tick()
    assert world.story.everything() == before


def test_a_worse_candidate_is_rejected_in_shadow_with_the_reason(world: World) -> None:
    to_shadow(world, WORSE)
    live(world, 2)
    assert world.story.stage("v1") is Stage.REJECTED
    assert says(world).startswith("rejected: old skills: worse by")
    assert world.story.plan.shadow is None


def test_a_candidate_that_turns_out_worse_is_rejected_in_the_ab(world: World) -> None:
    to_ab(world, replace(BETTER, wrong=0.9))
    live(world, 6)
    assert world.story.stage("v1") is Stage.REJECTED
    assert world.story.experiment("v1")[0] == ExperimentState.CONCLUDED
    assert "rejected: " in says(world) and ("thumbs: worse by" in says(world) or "old_skills" in says(world))
    assert world.story.plan.split is None


@pytest.mark.parametrize(
    ("harm", "control"),
    [
        (replace(BETTER, micros=300_000), "guardrail latency: harmed by"),
        (replace(BETTER, fails=0.5), "guardrail errors: harmed by"),
        (replace(BETTER, tokens=30, micros=300_000), "guardrail length: harmed by"),
        (Behaviour(dict.fromkeys(OLD, DUNNO) | NEW), "guardrail old_skills: harmed by"),
    ],
    ids=["slow", "failing", "long", "forgetful"],
)
def test_harm_that_users_would_notice_rejects(world: World, harm: Behaviour, control: str) -> None:
    world.traffic(100)
    to_ab(world, harm)
    live(world, 6)
    assert world.story.stage("v1") is Stage.REJECTED
    assert control in says(world)


def test_an_identical_candidate_never_wins(world: World) -> None:
    to_shadow(world, CHAMPION)
    live(world, 8, customers=20)
    assert world.story.stage("v1") is Stage.REJECTED
    assert says(world).startswith("rejected: inconclusive: shadow coverage: all ")
    assert "nothing to gain" in says(world)


def test_a_candidate_that_changes_nothing_for_the_users_is_held_and_then_inconclusive(world: World) -> None:
    to_ab(world, CHAMPION)
    live(world, 6, customers=60)
    assert world.story.stage("v1") is Stage.AB
    assert ruled(world)["ruling"] == "hold"
    live(world, 3, customers=60)
    assert world.story.stage("v1") is Stage.REJECTED
    assert "rejected: inconclusive: thumbs: no difference shown" in says(world)


def test_without_feedback_it_holds_says_so_and_ends_at_the_deadline(world: World) -> None:
    to_shadow(world)
    live(world, 6, rate=0.0, customers=20)
    assert world.story.stage("v1") is Stage.SHADOW
    assert "old skills: 0 of 50 pairs" in says(world)
    deadline = ruled(world)["deadline"]
    live(world, 2, rate=0.0, customers=20)
    assert world.story.stage("v1") is Stage.REJECTED
    assert "rejected: inconclusive: old skills: 0 of 50 pairs" in says(world)
    assert isinstance(deadline, int) and deadline <= world.story.time


def test_one_single_user_moves_nothing(world: World) -> None:
    to_shadow(world)
    (alone,) = world.newcomers(1)
    for _ in range(10):
        world.traffic([alone], turns=40)
        world.conductor.tick()
        world.wait(3600)
    assert world.story.stage("v1") is Stage.SHADOW
    assert "old skills: 1 of 50 pairs" in says(world)


def test_one_single_user_is_no_ab(world: World) -> None:
    to_ab(world)
    (alone,) = world.newcomers(1)
    for _ in range(5):
        world.traffic([alone], turns=40)
        world.conductor.tick()
    assert world.story.stage("v1") is Stage.AB
    assert "of 10 subjects met the challenger" in says(world)


def test_subjects_that_do_not_fall_as_stated_hold(world: World) -> None:
    to_ab(world)
    world.traffic(200)
    world.conductor.tick()
    drawn = [world.call(world.newcomer(), "new question 1") for _ in range(400)]
    # Calls of the challenger get lost on their way into the ledger.
    world.keep([call for call in drawn if call.arm == "champion"])
    world.conductor.tick()
    assert world.story.stage("v1") is Stage.AB
    assert ruled(world)["ruling"] == "hold"
    assert "not the stated split" in says(world)


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (evaluation(leaks=3), "leaks: 3 held-out rows were trained on"),
        (evaluation(length_ratio=2.0), "length of answers: 2 times"),
        (evaluation(held_out=compared(2, 40, 40)), "held-out rows: worse by"),
    ],
    ids=["leaking", "over-long", "worse"],
)
def test_a_bad_candidate_never_meets_a_question(world: World, manifest: JsonObject, words: str) -> None:
    world.register("v1", BETTER, manifest)
    world.conductor.tick()
    assert world.story.stage("v1") is Stage.REJECTED
    assert words in says(world)


def test_a_candidate_with_broken_weights_is_refused(world: World) -> None:
    world.weights = Reason("weights", Ruling.REJECT, "2 tensors are not finite")
    world.register("v1")
    world.conductor.tick()
    assert world.story.stage("v1") is Stage.REJECTED


def test_one_candidate_at_a_time_the_older_one_first(world: World) -> None:
    for name in ("v1", "v2", "v3"):
        world.register(name)
    world.conductor.tick()
    assert [world.story.stage(name) for name in ("v1", "v2", "v3")] == [Stage.SHADOW, *[Stage.CANDIDATE] * 2]
    assert says(world, "v2") == "waits: v1 is at shadow, and one version at a time may be"
    world.story.advance("v1", Stage.REJECTED, Mover.OPERATOR)
    world.conductor.tick()
    assert world.story.stage("v2") is Stage.SHADOW


def test_a_candidate_held_by_its_evaluation_does_not_block_the_next(world: World) -> None:
    world.register("v1", BETTER, evaluation(held_out=None))
    world.register("v2")
    world.conductor.tick()
    assert (world.story.stage("v1"), world.story.stage("v2")) == (Stage.CANDIDATE, Stage.SHADOW)


def test_a_newer_candidate_supersedes_one_that_was_held_for_long(world: World) -> None:
    to_shadow(world)
    world.register("v2")
    world.wait(23 * 3600)
    world.conductor.tick()
    assert world.story.stage("v1") is Stage.SHADOW
    world.wait(2 * 3600)
    world.conductor.tick()
    assert (world.story.stage("v1"), world.story.stage("v2")) == (Stage.REJECTED, Stage.SHADOW)
    with world.store.read() as conn:
        ended = history.entered(conn, world.story.name("v1"), Stage.REJECTED)
    assert ended is not None and ended.reason.startswith("superseded by v2 after 25 h: hold: ")


def test_a_newer_candidate_that_its_own_evaluation_holds_supersedes_nobody(world: World) -> None:
    to_shadow(world)
    world.register("v2", BETTER, evaluation(held_out=compared(10, 10, 60)))
    world.wait(2 * DAY)
    world.conductor.tick()
    assert world.story.stage("v1") is Stage.SHADOW


def test_an_operators_stop_holds_until_the_deadline(world: World) -> None:
    to_ab(world)
    experiment = world.story.experiments.running()[ExperimentKind.AB]
    world.story.experiments.stop(experiment.id, actor="key_ops", reason="customers complain")
    live(world, 6, customers=20)
    assert world.story.stage("v1") is Stage.SHADOW
    assert "operator: an operator stopped it (customers complain)" in says(world)
    live(world, 2, customers=20)
    assert world.story.stage("v1") is Stage.REJECTED


def test_another_champion_is_no_operators_stop(world: World) -> None:
    to_ab(world)
    world.story.enter("v2")
    world.story.clear_shadow()
    world.story.advance("v2", Stage.SHADOW, Mover.MONITORING)
    world.story.advance("v2", Stage.AWAITING_APPROVAL, Mover.MONITORING)
    world.behaviours["v2"] = CHAMPION
    world.wait(1)
    world.story.promote("v2")
    world.wait(60)
    assert world.story.stage("v1") is Stage.SHADOW
    world.conductor.tick()
    assert "operator" not in says(world)


def evidence_void(world: World) -> str:
    return str(world.story.evidence_void("v1"))


def test_a_guardrail_that_leaves_advance_voids_the_evidence(world: World) -> None:
    to_approval(world)
    world.behaviours["v1"] = replace(BETTER, micros=900_000)
    live(world, 4, until=Stage.SHADOW)
    assert world.story.stage("v1") is Stage.SHADOW
    assert "guardrail latency: harmed by" in evidence_void(world)
    with pytest.raises(Conflict, match="only a version at awaiting_approval is promoted"):
        world.story.promote("v1")


def test_other_settings_void_the_evidence(world: World) -> None:
    to_approval(world)
    world.conduct(monitoring={"tick": 1}).tick()
    assert world.story.stage("v1") is Stage.AWAITING_APPROVAL
    world.conduct(gate={"margin": 0.04}).tick()
    assert world.story.stage("v1") is Stage.SHADOW
    assert "settings" in evidence_void(world)


def test_other_weights_void_the_evidence(world: World) -> None:
    to_approval(world)
    world.weights = Reason("weights", Ruling.REJECT, "The artifact is not what it was.")
    world.conductor.tick()
    assert world.story.stage("v1") is Stage.SHADOW
    assert "the artifact changed" in evidence_void(world)


def test_evidence_that_nobody_decided_on_becomes_void(world: World) -> None:
    to_approval(world)
    world.wait(7 * DAY)
    world.conductor.tick()
    assert world.story.stage("v1") is Stage.SHADOW
    assert "nobody decided within 168 h" in evidence_void(world)


def promoted(world: World, behaviour: Behaviour) -> None:
    """v1 became the champion, with a fifth of the subjects held back; then it behaves like this."""
    world.story.await_approval("v1")
    world.behaviours["v1"] = behaviour
    world.story.promote("v1", holdback=0.2)
    world.wait(1)


def test_harm_to_answers_rolls_back_by_itself_and_once(store: Store) -> None:
    world = World(store, QUICK)
    promoted(world, replace(BETTER, wrong=0.9))
    live(world, 5)
    assert world.story.plan.champion == "v0"
    assert world.story.plan.holdback is None
    assert "rolled back: thumbs: worse by" in says(world)
    with pytest.raises(Conflict, match="rolled back automatically for harm"):
        world.story.rollback()
    world.conductor.tick()
    assert world.story.plan.champion == "v0"
    assert world.story.check()


def test_a_rollback_that_a_person_made_first_is_not_made_again(world: World) -> None:
    promoted(world, replace(BETTER, wrong=0.9))
    world.traffic(1500)

    class Hurried(Store):
        """An operator rolls back while the conductor still writes down what it found."""

        @contextmanager
        def write(self) -> Iterator[Connection]:
            if world.story.plan.champion == "v1":
                world.story.rollback()
            with super().write() as conn:
                yield conn

    said = world.conduct(Hurried(world.store.engine)).tick()
    assert len(said) == 1 and said[0].startswith("put off: The plan moved on")
    assert world.story.plan.champion == "v0"


@pytest.mark.parametrize("behaviour", [BETTER, CHAMPION, replace(BETTER, micros=900_000)])
def test_what_is_no_harm_to_answers_stays_champion(world: World, behaviour: Behaviour) -> None:
    promoted(world, behaviour)
    live(world, 3)
    assert world.story.plan.champion == "v1"
    assert says(world) == "no harm shown against the hold-back"


def preferred(world: World, calls: Sequence[Interaction]) -> None:
    """A reviewer prefers the shadow's answer to each of these calls."""
    words = []
    for call in calls:
        copy = world.shadowed(call, world.story.name("v1"))
        world.keep([copy])
        words.append(prefer(world, copy, call))
    world.keep([], words)


def prefer(world: World, winner: Interaction, loser: Interaction) -> Feedback:
    word = world.thumb(winner, name="preference", value=1.0, actor="rita", role=Role.REVIEWER)
    return replace(word, tags={"over": loser.id})


def test_under_review_preferences_stand_in_for_an_ab_and_the_evidence_says_so(sqlite_store: Store) -> None:
    world = World(sqlite_store, REVIEW)
    to_shadow(world)
    live(world, 1)
    assert world.story.stage("v1") is Stage.SHADOW
    assert "blind preferences: 0 of 30 pairs judged; no A/B is run" in says(world)
    calls = [world.call(world.newcomer(), "new question 1") for _ in range(40)]
    world.keep(calls)
    preferred(world, calls)
    world.conductor.tick()
    assert world.story.stage("v1") is Stage.AWAITING_APPROVAL
    frozen = world.story.registry.evidence("v1")
    assert frozen is not None and frozen.snapshot["experiment"] is None
    assert "No A/B was run" in str(frozen.snapshot["note"])
    world.conductor.tick()
    assert world.story.stage("v1") is Stage.AWAITING_APPROVAL
    world.behaviours["v1"] = WORSE
    live(world, 3, until=Stage.SHADOW)
    assert "old skills" in evidence_void(world)


class Dying(Store):
    """A database whose writer dies at its nth write from now on, before or after the commit."""

    def __init__(self, store: Store, left: int, after: bool) -> None:
        super().__init__(store.engine)
        self.left, self.after = left, after

    @contextmanager
    def write(self) -> Iterator[Connection]:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise LeaseLost("gone")
        with super().write() as conn:
            yield conn
        if self.left == 0:
            raise LeaseLost("gone")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_tick_that_is_cut_short_anywhere_is_completed_by_the_next(sqlite_store: Store, after: bool) -> None:
    world, deaths = World(sqlite_store, QUICK), 0
    world.register("v1")
    for _ in range(24):
        for place in (1, 2, 3):
            try:
                world.conduct(Dying(world.store, place, after)).tick()
            except LeaseLost:
                deaths += 1
            assert world.story.check()
        world.conductor.tick()
        if world.story.stage("v1") is Stage.AWAITING_APPROVAL:
            break
        world.traffic(150)
        world.wait(DAY / 4)
    assert deaths > 3
    assert world.story.stage("v1") is Stage.AWAITING_APPROVAL
    frozen = world.story.registry.evidence("v1")
    assert frozen is not None
    assert [ruling["stage"] for ruling in frozen.snapshot["gates"]] == ["candidate", "shadow", "ab"]  # type: ignore[index,call-overload,union-attr]


def test_a_conductor_without_a_lease_stops_at_once(world: World) -> None:
    world.register("v1")
    with pytest.raises(LeaseLost):
        world.conduct(Dying(world.store, 1, False)).tick()
    assert world.story.stage("v1") is Stage.CANDIDATE


def test_a_plan_that_moves_under_a_tick_is_looked_at_again(world: World) -> None:
    to_shadow(world)
    live(world, 1, until=Stage.AB)

    class Meddling(Store):
        """Somebody rejects the candidate between its judgement and its move."""

        @contextmanager
        def write(self) -> Iterator[Connection]:
            if world.story.stage("v1") is not Stage.REJECTED:
                world.story.advance("v1", Stage.REJECTED, Mover.OPERATOR)
            with super().write() as conn:
                yield conn

    world.traffic(150)
    said = world.conduct(Meddling(world.store.engine)).tick()
    assert all(sentence.startswith("put off: ") for sentence in said)
    assert world.story.stage("v1") is Stage.REJECTED
    assert world.story.check()


def test_looks_are_kept_when_they_say_something_new(world: World) -> None:
    to_ab(world)
    experiment = world.story.experiments.running()[ExperimentKind.AB]
    world.traffic(30)
    world.conductor.tick()
    kept = len(world.story.experiments.looks(experiment.id))
    for _ in range(5):
        world.conductor.tick()
    assert len(world.story.experiments.looks(experiment.id)) == kept
    world.traffic(30)
    world.conductor.tick()
    assert len(world.story.experiments.looks(experiment.id)) == kept + 1


def test_a_single_subject_among_hundreds_is_not_worth_a_look(world: World) -> None:
    to_ab(world)
    experiment = world.story.experiments.running()[ExperimentKind.AB]
    world.traffic(400, rate=0.0)
    for _ in range(2):
        world.conductor.tick()
    kept = len(world.story.experiments.looks(experiment.id))
    world.traffic(1, rate=0.0)
    world.conductor.tick()
    assert len(world.story.experiments.looks(experiment.id)) == kept


def test_before_the_first_start_there_is_nothing_to_do(sqlite_store: Store) -> None:
    assert Conductor(sqlite_store, Settings()).tick() == ()
