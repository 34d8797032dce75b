"""The registry: who is champion, who may become it, and what every change of champion takes with it."""

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from registry_story import BASE, Story
from sqlalchemy import insert, select, update

from core import plan, versions
from core.clock import HOUR
from core.errors import BadRequest, Conflict, Forbidden, HoneError, NotFound, SetupError
from core.lifecycle import Mover, Stage
from core.registry import Registry
from core.schema import experiments, models, moves
from core.store import Store
from core.types import ExperimentKind, ExperimentState, Holdback, Plan, Split
from core.workers import Worker, WorkerBeat

OPERATOR, MONITORING = Mover.OPERATOR, Mover.MONITORING


@pytest.fixture
def story(store: Store) -> Story:
    return Story(store)


def test_before_the_first_start_there_is_no_plan_and_nothing_can_be_decided(store: Store) -> None:
    story = Story(store, started=False)
    assert story.registry.plan() is None
    for act in (lambda: story.enter("v1"), lambda: story.promote("v1", revision=1), lambda: story.rollback(revision=1)):
        with pytest.raises((Conflict, NotFound)):
            act()
    assert story.trail() == []


def test_the_first_start_makes_version_zero_the_champion(story: Story) -> None:
    assert story.registry.plan() == Plan(revision=1, champion=story.name("v0"))
    assert story.stage("v0") is Stage.CHAMPION
    assert story.trail() == ["plan.install v0"]
    story.check()


def test_a_later_start_on_the_same_base_changes_nothing_whoever_is_champion(story: Story) -> None:
    story.await_approval("v1")
    promoted = story.promote("v1")
    before = story.everything()
    assert story.registry.install(story.made("v0"), "system:setup") == promoted
    assert story.everything() == before


def test_a_start_on_another_base_is_refused_and_names_the_ways_out(story: Story) -> None:
    before = story.everything()
    with pytest.raises(SetupError, match=r"belongs to the base tiny, not to large.*hone models adopt.*HONE_DATA"):
        story.registry.install(story.made("w0", base="large"), "system:setup")
    assert story.everything() == before


def test_processes_that_start_at_once_install_one_champion(store: Store) -> None:
    story = Story(store, started=False)
    start = threading.Barrier(6)

    def install(_: int) -> Plan:
        start.wait()
        return story.registry.install(story.made("v0"), "system:setup")

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(install, range(6))) == {Plan(revision=1, champion=story.name("v0"))}
    assert story.trail() == ["plan.install v0"]
    story.check()


def test_a_new_version_is_a_candidate_whatever_its_maker_claims(story: Story) -> None:
    entered = story.registry.register(story.made("v1", stage=Stage.CHAMPION, revision=7), "run_1")
    assert (entered.stage, entered.revision) == (Stage.CANDIDATE, 0)
    assert story.registry.model("v1") == entered
    story.check()


def test_a_name_is_never_used_twice(story: Story) -> None:
    story.enter("v1")
    for name in ("v1", "v0"):
        with pytest.raises(Conflict, match=f"{name} is registered already"):
            story.enter(name)
    story.check()


def test_a_version_for_another_base_is_not_entered(story: Story) -> None:
    with pytest.raises(Conflict, match="made for the base large, but tiny is being served"):
        story.enter("w1", base="large")
    with pytest.raises(NotFound, match="no version 'w1'"):
        story.registry.model("w1")


def test_a_candidate_goes_its_way_and_leaves_its_tracks(story: Story) -> None:
    story.await_approval("v1")
    with story.store.read() as conn:
        rows = conn.execute(select(moves).where(moves.c.model == "v1").order_by(moves.c.id)).all()
    steps = {(row.source, row.target, row.mover, row.actor, row.reason) for row in rows}
    assert steps == {
        ("candidate", "shadow", "monitoring", "system:gate", "it is time"),
        ("shadow", "awaiting_approval", "monitoring", "system:gate", "it is time"),
    }
    assert story.registry.model("v1").revision == 2
    story.check()


def test_a_move_that_the_table_lacks_or_keeps_for_others_changes_nothing(story: Story) -> None:
    story.await_approval("v1")
    before = story.everything()
    with pytest.raises(Conflict, match="cannot become candidate"):
        story.advance("v1", Stage.CANDIDATE, OPERATOR)
    with pytest.raises(Forbidden, match="Only operator"):
        story.advance("v1", Stage.CHAMPION, MONITORING)
    with pytest.raises(NotFound):
        story.advance("v9", Stage.SHADOW, MONITORING)
    assert story.everything() == before


def test_no_step_makes_or_unmakes_a_champion(story: Story) -> None:
    story.await_approval("v1")
    before = story.everything()
    for name, target in (("v1", Stage.CHAMPION), ("v0", Stage.RETIRED)):
        with pytest.raises(Conflict, match="by promotion or rollback only"):
            story.advance(name, target, OPERATOR)
    assert story.everything() == before


def test_the_plan_follows_a_candidate_into_shadow_and_lets_go_of_a_rejected_one(story: Story) -> None:
    story.enter("v1")
    story.advance("v1", Stage.SHADOW, MONITORING)
    assert story.plan == Plan(revision=2, champion=story.name("v0"), shadow=story.name("v1"))
    story.advance("v1", Stage.REJECTED, OPERATOR)
    assert story.plan == Plan(revision=3, champion=story.name("v0"))


def test_a_second_shadow_is_refused_until_the_first_is_decided(story: Story) -> None:
    for name in ("v1", "v2"):
        story.enter(name)
    story.advance("v1", Stage.SHADOW, MONITORING)
    with pytest.raises(Conflict, match="v1 is in shadow already; reject it before v2 follows"):
        story.advance("v2", Stage.SHADOW, MONITORING)
    story.advance("v1", Stage.REJECTED, MONITORING)
    story.advance("v2", Stage.SHADOW, MONITORING)
    assert story.plan.shadow == "v2"
    story.check()


def test_an_experiment_ends_with_its_challenger(story: Story) -> None:
    story.compare("v1")
    story.advance("v1", Stage.SHADOW, OPERATOR)
    assert story.experiment("v1") == ("stopped", "it is time")
    assert (story.plan.split, story.plan.shadow) == (None, "v1")
    story.check()


def test_an_experiment_of_another_challenger_goes_on(story: Story) -> None:
    story.compare("v1")
    story.enter("v2")
    story.advance("v2", Stage.REJECTED, OPERATOR)
    assert story.plan.split is not None
    assert story.running() == ["v1"]


def test_a_plan_that_changed_under_the_hand_is_not_overwritten(story: Story) -> None:
    seen = story.plan
    story.await_approval("v1")
    newer = story.plan
    with pytest.raises(Conflict, match="moved on from revision 1 to 2"), story.store.write() as conn:
        plan.swap(conn, seen, Plan(2, story.name("v9")), story.time)
    assert story.plan == newer


def test_a_decision_on_a_version_that_moved_meanwhile_is_refused(story: Story) -> None:
    seen = story.enter("v1")
    story.advance("v1", Stage.REJECTED, OPERATOR)
    decision = versions.Decision(MONITORING, "system:gate", "late", story.time)
    with pytest.raises(Conflict, match="v1 moved on from candidate to rejected meanwhile"), story.store.write() as conn:
        versions.move(conn, seen, Stage.SHADOW, decision)
    story.check()


def test_a_promotion_swaps_champions_and_keeps_the_old_one_at_hand(story: Story) -> None:
    story.await_approval("v1")
    new = story.promote("v1")
    assert new == story.plan
    assert (new.champion, new.previous, new.shadow, new.split) == ("v1", "v0", None, None)
    assert (story.stage("v1"), story.stage("v0")) == (Stage.CHAMPION, Stage.RETIRED)
    assert {"v0", "v1"} <= new.live()
    assert story.trail()[-1] == "plan.promote v1"
    story.check()


def test_only_a_person_promotes_and_only_what_awaits_approval(story: Story) -> None:
    story.await_approval("v1")
    story.enter("v2")
    before = story.everything()
    with pytest.raises(Forbidden, match="Only operator"):
        story.promote("v1", mover=MONITORING)
    with pytest.raises(Forbidden):
        story.promote("v1", mover=Mover.SETUP)
    for mover in (OPERATOR, Mover.SETUP):
        with pytest.raises(Conflict, match="v2 is at candidate"):
            story.promote("v2", mover=mover)
    assert story.everything() == before


def test_a_retired_champion_is_not_promoted_again(story: Story) -> None:
    for name in ("v1", "v2"):
        story.await_approval(name)
        story.promote(name)
    for name in ("v0", "v1"):
        with pytest.raises(Conflict, match="is at retired"):
            story.promote(name)


def test_a_decision_on_an_older_plan_is_refused_and_says_what_is_new(story: Story) -> None:
    story.await_approval("v1")
    seen = story.plan.revision
    story.promote("v1")
    story.await_approval("v2")
    before = story.everything()
    moved_on = rf"moved on from revision {seen} to {story.plan.revision}: champion v1, previous v0, shadow v2"
    with pytest.raises(Conflict, match=moved_on):
        story.promote("v2", revision=seen)
    with pytest.raises(Conflict, match=moved_on):
        story.rollback(revision=seen)
    assert story.everything() == before


def test_void_evidence_promotes_nothing(story: Story) -> None:
    story.await_approval("v1")
    story.void("v1", "a guardrail left advance")
    with pytest.raises(Conflict, match="evidence for v1 is void: a guardrail left advance"):
        story.promote("v1")
    story.check()


def test_another_champion_ends_what_was_measured_against_the_old_one(story: Story) -> None:
    story.await_approval("v1")
    story.promote("v1")
    story.await_approval("v2")
    story.clear_shadow()
    story.compare("v3")
    story.rollback(reason="answers got worse")
    why = "the champion changed: answers got worse"
    assert story.experiment("v3") == ("invalidated", why)
    assert (story.stage("v2"), story.stage("v3")) == (Stage.SHADOW, Stage.SHADOW)
    assert story.evidence_void("v2") == why
    assert (story.plan.split, story.plan.shadow) == (None, "v3")
    story.check()


def test_a_promotion_concludes_the_experiment_of_the_promoted_version(story: Story) -> None:
    story.compare("v1")
    story.advance("v1", Stage.AWAITING_APPROVAL, MONITORING)
    story.promote("v1", reason="good")
    assert story.experiment("v1") == ("concluded", "good")
    assert story.plan.shadow is None and story.stage("v1") is Stage.CHAMPION


def test_an_experiment_that_had_ended_stays_as_it_ended(story: Story) -> None:
    story.compare("v1")
    with story.store.write() as conn:
        conn.execute(update(experiments).values(state="concluded", reason="superior", ended_at=5))
    story.advance("v1", Stage.AWAITING_APPROVAL, MONITORING)
    story.promote("v1")
    assert story.experiment("v1") == ("concluded", "superior")


def test_a_promotion_ends_an_older_hold_back_and_may_begin_its_own(story: Story) -> None:
    story.await_approval("v1")
    first = story.promote("v1", holdback=0.05).holdback
    assert first is not None and (first.version, first.share) == ("v0", 0.05)
    running = story.experiments.running()[ExperimentKind.HOLDBACK]
    assert (running.salt, running.champion, running.challenger, running.share) == (first.salt, "v0", "v1", 0.95)
    story.await_approval("v2")
    assert story.plan.holdback == first
    assert story.promote("v2").holdback is None
    assert story.experiments.running() == {}


def test_a_rollback_ends_the_hold_back(story: Story) -> None:
    story.await_approval("v1")
    story.promote("v1", holdback=0.05)
    assert story.rollback().holdback is None
    assert story.experiments.running() == {}


def test_an_a_b_begins_with_its_split_and_never_by_a_move_alone(story: Story) -> None:
    story.enter("v1")
    story.advance("v1", Stage.SHADOW, MONITORING)
    with pytest.raises(Conflict, match="begins with its split"):
        story.advance("v1", Stage.AB, MONITORING)
    begun = story.begin("v1")
    split = story.plan.split
    assert split is not None and (split.experiment, split.challenger, split.share) == (begun.id, "v1", 0.1)
    assert begun.steps[0].revision == story.plan.revision
    with pytest.raises(Conflict, match="is running already"):
        story.begin("v1")
    story.check()


def test_a_share_only_grows_and_each_step_is_remembered(story: Story) -> None:
    story.compare("v1")
    begun = story.experiments.running()[ExperimentKind.AB]
    wide = story.experiments.widen(begun.id, 0.5, actor="system:gate", reason="safe")
    assert [step.share for step in wide.steps] == [0.1, 0.5]
    assert wide == story.experiments.find(begun.id)
    assert story.plan.split is not None and story.plan.split.share == 0.5
    with pytest.raises(Conflict, match=r"has 0\.5 of the subjects already"):
        story.experiments.widen(begun.id, 0.2, actor="system:gate", reason="back")
    story.check()


def test_an_operator_stops_an_experiment_once_and_its_evidence_is_void(story: Story) -> None:
    story.compare("v1")
    story.advance("v1", Stage.AWAITING_APPROVAL, MONITORING)
    begun = story.experiments.running()[ExperimentKind.AB]
    stopped = story.experiments.stop(begun.id, actor="key_ops", reason="complaints")
    assert (stopped.state, stopped.reason) == (ExperimentState.STOPPED, "complaints")
    assert (story.plan.split, story.plan.shadow, story.stage("v1")) == (None, "v1", Stage.SHADOW)
    assert "complaints" in str(story.evidence_void("v1"))
    with pytest.raises(Conflict, match="has ended already: complaints"):
        story.experiments.stop(begun.id, actor="key_ops", reason="again")
    story.check()


def test_an_operator_ends_a_hold_back(story: Story) -> None:
    story.await_approval("v1")
    story.promote("v1", holdback=0.05)
    held = story.experiments.running()[ExperimentKind.HOLDBACK]
    story.experiments.stop(held.id, actor="key_ops", reason="enough")
    assert story.plan.holdback is None and story.plan.champion == "v1"
    story.check()


def test_approval_is_bound_to_the_evidence_that_was_frozen(story: Story) -> None:
    story.await_approval("v1")
    before = story.everything()
    with pytest.raises(Conflict, match="The evidence for v1 is") as refused:
        story.promote("v1", digest="0" * 64)
    assert refused.value.code == "evidence_stale"
    assert story.everything() == before
    with pytest.raises(Conflict, match="cannot await approval without evidence"):
        story.enter("v2")
        story.clear_shadow()
        story.advance("v2", Stage.SHADOW, MONITORING)
        story.registry.advance("v2", Stage.AWAITING_APPROVAL, mover=MONITORING, actor="system:gate", reason="now")


def test_evidence_grows_too_old(story: Story) -> None:
    story.await_approval("v1")
    story.time += 168 * HOUR + 1
    with pytest.raises(Conflict, match="older than 168 h"):
        story.promote("v1")


def test_going_back_to_shadow_makes_the_evidence_void(story: Story) -> None:
    story.await_approval("v1")
    story.advance("v1", Stage.SHADOW, OPERATOR)
    assert "went back to shadow" in str(story.evidence_void("v1"))


def test_a_rollback_swaps_back_and_a_second_one_swaps_again(story: Story) -> None:
    story.await_approval("v1")
    story.promote("v1")
    back = story.rollback()
    assert (back.champion, back.previous, back.revision) == ("v0", "v1", story.plan.revision)
    assert (story.stage("v0"), story.stage("v1")) == (Stage.CHAMPION, Stage.RETIRED)
    forth = story.rollback()
    assert (forth.champion, forth.previous) == ("v1", "v0")
    assert story.trail()[-2:] == ["plan.rollback v0", "plan.rollback v1"]
    story.check()


def test_nobody_but_a_person_or_monitoring_rolls_back(story: Story) -> None:
    story.await_approval("v1")
    story.promote("v1")
    before = story.everything()
    with pytest.raises(Forbidden, match="Only monitoring or operator"):
        story.rollback(mover=Mover.SETUP)
    assert story.everything() == before


def test_there_is_nothing_to_roll_back_to_at_first(story: Story) -> None:
    with pytest.raises(Conflict, match="no previous champion"):
        story.rollback()


def test_what_left_for_harm_does_not_return_by_a_rollback(story: Story) -> None:
    story.await_approval("v1")
    story.promote("v1")
    story.rollback(mover=MONITORING)
    before = story.everything()
    for mover in (OPERATOR, MONITORING):
        with pytest.raises(Conflict, match="v1 was rolled back automatically for harm"):
            story.rollback(mover=mover)
    assert story.everything() == before


def test_a_newer_promotion_after_harm_can_be_rolled_back_as_any_other(story: Story) -> None:
    story.await_approval("v1")
    story.promote("v1")
    story.rollback(mover=MONITORING)
    story.await_approval("v2")
    story.promote("v2")
    assert story.rollback().champion == "v0"
    assert story.rollback().champion == "v2"


def test_adopting_another_base_starts_over_and_keeps_the_records(story: Story) -> None:
    story.await_approval("v1")
    story.promote("v1")
    story.enter("v2")
    story.clear_shadow()
    story.compare("v3")
    new = story.registry.adopt(story.made("w0", base="large"), "key_ops", "a better base came out")
    assert new == Plan(revision=new.revision, champion=story.name("w0")) == story.plan
    stages = {name: story.stage(name) for name in ("v0", "v1", "v2", "v3", "w0")}
    rejected, retired = Stage.REJECTED, Stage.RETIRED
    assert stages == {"v0": retired, "v1": retired, "v2": rejected, "v3": rejected, "w0": Stage.CHAMPION}
    assert story.experiment("v3")[0] == "invalidated"
    with pytest.raises(Conflict, match="no previous champion"):
        story.rollback()
    assert story.registry.install(story.made("w0", base="large"), "system:setup") == new
    story.check()


def test_an_adopted_base_can_be_left_again(story: Story) -> None:
    story.registry.adopt(story.made("w0", base="large"), "key_ops", "try it")
    back = story.registry.adopt(story.made("v0"), "key_ops", "it was worse")
    assert (back.champion, story.stage("v0"), story.stage("w0")) == ("v0", Stage.CHAMPION, Stage.RETIRED)
    story.check()


def test_adopting_the_base_that_is_served_is_refused(story: Story) -> None:
    before = story.everything()
    with pytest.raises(Conflict, match="on the base tiny already"):
        story.registry.adopt(story.made("v9"), "key_ops", "why not")
    assert story.everything() == before


def test_a_reason_that_says_nothing_is_refused(story: Story) -> None:
    for reason in ("", " \n", "x" * 2001, "nul \x00", "\x1b[2J", "\ud800"):
        with pytest.raises(BadRequest, match="A reason is 1 to 2000 printable characters"):
            story.rollback(reason=reason)


def test_of_two_promotions_at_once_exactly_one_wins(story: Story) -> None:
    story.await_approval("v1")
    story.clear_shadow()
    story.await_approval("v2")
    revision = story.plan.revision
    won, lost = race([partial(story.promote, name, revision=revision) for name in ("v1", "v2")])
    assert (len(won), len(lost)) == (1, 1)
    assert isinstance(lost[0], Conflict)
    assert story.plan == won[0]
    story.check()


def test_of_many_rollbacks_at_once_exactly_one_wins_each_round(story: Story) -> None:
    story.await_approval("v1")
    story.promote("v1")
    for _ in range(8):
        revision = story.plan.revision
        won, lost = race([partial(story.rollback, revision=revision)] * 4)
        assert (len(won), len(lost)) == (1, 3)
        assert story.plan.revision == revision + 1
    assert story.plan.champion == "v1"
    story.check()


def test_a_promotion_and_a_rejection_of_one_version_at_once_leave_one_of_the_two(story: Story) -> None:
    for number in range(1, 6):
        name = f"v{number}"
        story.await_approval(name)
        revision, champion = story.plan.revision, story.plan.champion
        promote = partial(story.promote, name, revision=revision)
        won, lost = race([promote, partial(story.advance, name, Stage.REJECTED, OPERATOR)])
        assert len(won) == 1 and all(isinstance(error, Conflict) for error in lost)
        assert (story.plan.champion, story.stage(name)) in {(name, Stage.CHAMPION), (champion, Stage.REJECTED)}
        story.check()


def race(acts: Sequence[Callable[[], object]]) -> tuple[list[object], list[HoneError]]:
    """Run all at once; what came back, and what was refused."""
    start = threading.Barrier(len(acts))

    def run(act: Callable[[], object]) -> object:
        start.wait()
        try:
            return act()
        except HoneError as error:
            return error

    with ThreadPoolExecutor(len(acts)) as pool:
        results = list(pool.map(run, acts))
    lost = [result for result in results if isinstance(result, HoneError)]
    return [result for result in results if not isinstance(result, HoneError)], lost


class Monkey:
    """Asks for anything, sensible or not."""

    def __init__(self, story: Story) -> None:
        self.story, self.rng, self.entered = story, random.Random(5), ["v0"]
        self.acts = [self.enter, *[self.advance] * 12, *[self.begin] * 4, *[self.promote] * 3, self.rollback, self.stop]

    def enter(self) -> None:
        self.entered.append(f"v{len(self.entered)}")
        self.story.enter(self.entered[-1])

    def pick(self) -> str:
        likely = self.rng.random() < 0.7
        return (self.story.plan.shadow or self.entered[-1]) if likely else self.rng.choice(self.entered)

    def advance(self) -> None:
        sensible = self.rng.random() < 0.7
        mover = MONITORING if sensible else self.rng.choice(list(Mover))
        upward = [Stage.SHADOW, Stage.AWAITING_APPROVAL] if sensible else list(Stage)
        self.story.advance(self.pick(), self.rng.choice(upward), mover)

    def begin(self) -> None:
        self.story.begin(self.pick())

    def stop(self) -> None:
        for running in self.story.experiments.running().values():
            self.story.experiments.stop(running.id, actor="key_ops", reason="enough")

    def promote(self) -> None:
        mover, held = self.rng.choice(list(Mover)), self.rng.choice([0.0, 0.05])
        self.story.promote(self.pick(), mover=mover, holdback=held)

    def rollback(self) -> None:
        self.story.rollback(mover=self.rng.choice(list(Mover)))


def test_whatever_is_asked_in_whatever_order_there_is_one_champion_and_every_move_is_written(story: Story) -> None:
    monkey, refused, done = Monkey(story), 0, 0
    for _ in range(500):
        try:
            monkey.rng.choice(monkey.acts)()
            done += 1
        except HoneError:
            refused += 1
        if done % 10 == 0:
            story.check()
    champions = {entry for entry in story.trail() if entry.startswith("plan.promote")}
    assert done > 50 and refused > 50 and len(champions) > 3
    story.check()


def test_the_list_of_versions_shows_each_once_newest_first(story: Story) -> None:
    for number in range(1, 8):
        story.time += number % 2  # some share a time
        story.enter(f"v{number}", at=story.time)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = story.registry.models(cursor, limit=3)
        seen += [model.id for model in page.items]
        if (cursor := page.next) is None:
            break
    assert seen == sorted(seen, key=lambda name: (story.registry.model(name).created_at, name), reverse=True)
    assert len(seen) == len(set(seen)) == 8


def test_a_foreign_cursor_is_refused(story: Story) -> None:
    for cursor in ("", "v1", ":", "x:v1", "-1:v1", "9" * 30 + ":v1"):
        with pytest.raises(BadRequest, match="not a place in the list of versions"):
            story.registry.models(cursor)


def test_a_model_comes_back_as_it_was_registered(story: Story) -> None:
    made = story.made("v1", parent="v0", run="run_1", manifest={"rank": 8, "scores": [0.5, None]})
    assert story.registry.register(made, "run_1") == story.registry.model("v1") == made


def test_a_plan_with_all_its_parts_comes_back_as_it_was_written(story: Story) -> None:
    v = story.name
    full = Plan(2, v("v0"), v("p"), v("s"), Split("x", v("c"), 0.25, "salt"), Holdback(v("p"), 0.05, "pepper"))
    with story.store.write() as conn:
        plan.swap(conn, plan.current(conn), full, 1)
    assert story.registry.plan() == full


def test_the_newest_beat_of_each_worker_counts(store: Store) -> None:
    time = [1000]
    registry = Registry(store, clock=lambda: time[0])
    engine = WorkerBeat("e1", "engine", "host", 7, 900, 3, ("v0", "v1"))
    registry.beat(WorkerBeat("e1", "engine", "host", 7, 900, 2))
    registry.beat(WorkerBeat("g1", "gateway", "host", 8, 950, 2))
    time[0] = 2000
    registry.beat(engine)
    assert registry.workers(since=2000) == [Worker("e1", "engine", "host", 7, 900, 3, ("v0", "v1"), seen_at=2000)]
    assert [worker.id for worker in registry.workers(since=0)] == ["e1", "g1"]
    assert registry.workers(since=2001) == []


def test_the_story_would_notice_a_wrong_stage(story: Story) -> None:
    with story.store.write() as conn:
        conn.execute(insert(models).values({**story.row("x"), "stage": "champion", "base": BASE}))
    with pytest.raises(AssertionError):
        story.check()
