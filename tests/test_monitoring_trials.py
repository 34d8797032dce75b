"""Looks at experiments as rows: a look is taken once, whoever asks, and another process goes on with it."""

import pytest
from customers import BETTER, CHAMPION, Behaviour, World
from sqlalchemy import func, select

from core.lifecycle import Mover, Stage
from core.schema import looks
from core.settings import Settings
from core.store import Store
from core.types import Experiment, ExperimentKind, JsonObject, Version
from monitoring.experiments.findings import Effect, Findings
from monitoring.experiments.trials import Past, Trials
from monitoring.gates.ruling import Decision, Ruling
from monitoring.policy import Rule
from monitoring.terms import terms

BY_LOOKS: JsonObject = {"experiment": {"rule": "group_sequential", "planned": 400, "looks": 4}}
HELD = Decision(Ruling.HOLD, None, (), "hold")
DAY = 24 * 3600


def trials(world: World, settings: JsonObject = BY_LOOKS) -> Trials:
    found = terms(Settings.model_validate(settings))
    return Trials(world.store, found, Past(world.store, found), lambda: world.story.time)


@pytest.fixture
def world(sqlite_store: Store) -> World:
    """An A/B of v1, which answers as the champion does, at one half."""
    made = World(sqlite_store)
    made.register("v1", CHAMPION)
    made.story.advance("v1", Stage.SHADOW, Mover.MONITORING)
    made.story.experiments.begin(Version("v1"), 0.5, actor="system:gate", reason="go")
    return made


def running(world: World, kind: ExperimentKind = ExperimentKind.AB) -> Experiment:
    return world.story.experiments.running()[kind]


def take(world: World, by: Trials) -> Findings:
    found = by.look(running(world), 0.5)
    by.note(running(world), found, HELD)
    return found


def taken(found: Findings) -> list[int]:
    return [look.information for look in found.primary.taken]


def test_a_look_is_taken_once_and_another_process_goes_on_with_it(world: World) -> None:
    first = trials(world)
    world.traffic(130, rate=1.0)
    one = take(world, first)
    assert taken(one) == [130]
    world.traffic(30)
    again, other = take(world, first), take(world, trials(world))
    assert again.primary.taken == other.primary.taken == one.primary.taken
    assert again.primary.comparison.estimate == one.primary.comparison.estimate
    world.traffic(60)
    assert taken(take(world, trials(world))) == [130, 220]
    assert taken(take(world, first)) == [130, 220]


def test_the_last_look_ends_the_test_for_every_process(world: World) -> None:
    world.behaviours |= {"v0": BETTER, "v1": BETTER}  # all are content, so that chance shows no difference either
    world.traffic(420)
    assert take(world, trials(world)).primary.effect is Effect.INCONCLUSIVE
    world.behaviours["v0"] = CHAMPION
    world.traffic(400)
    late = take(world, trials(world))
    assert (late.primary.effect, taken(late)) == (Effect.INCONCLUSIVE, [420])


def test_a_look_without_news_leaves_no_row_and_one_that_was_taken_always_does(world: World) -> None:
    def rows() -> int:
        with world.store.read() as conn:
            return int(conn.scalar(select(func.count()).select_from(looks)) or 0)

    by = trials(world)
    world.traffic(199)
    assert taken(take(world, by)) == [199]
    assert rows() == 1
    take(world, by)
    assert rows() == 1
    world.traffic(1)  # not two in a hundred more, but the number of a scheduled look
    assert taken(take(world, by)) == [199, 200]
    assert rows() == 2


def test_a_hold_back_is_watched_at_all_times_whatever_the_rule_of_the_ab(store: Store) -> None:
    world = World(store)
    world.story.await_approval("v1")
    world.behaviours["v1"] = BETTER
    world.story.promote("v1", holdback=0.3)
    world.traffic(300)
    experiment = running(world, ExperimentKind.HOLDBACK)
    found = trials(world).look(experiment, experiment.share)
    assert (found.primary.rule, taken(found)) == (Rule.ANYTIME, [])
    assert found.primary.effect is Effect.BETTER


def test_where_whole_weeks_decide_those_met_in_an_unfinished_week_wait(world: World) -> None:
    by = trials(world, {"experiment": {"whole_weeks": True}})
    world.traffic(110)
    assert take(world, by).left_out == 0
    world.wait(8 * DAY)
    world.traffic(40)
    second = take(world, by)
    assert (second.left_out, second.split.champion + second.split.challenger) == (40, 150)
    world.wait(7 * DAY)
    world.traffic(20)
    assert take(world, by).left_out == 20


@pytest.mark.parametrize(
    ("before", "stage", "says"),
    [
        (CHAMPION, Stage.AWAITING_APPROVAL, "thumbs: better by "),
        # Where everybody is content, chance shows no difference either.
        (BETTER, Stage.REJECTED, "rejected: thumbs: inconclusive: no difference shown"),
    ],
    ids=["better", "alike"],
)
def test_an_ab_by_planned_looks_ends_for_good_or_as_inconclusive(
    sqlite_store: Store, before: Behaviour, stage: Stage, says: str
) -> None:
    quick = {"min_hours": 0.01, "first_subjects": 10, "first_share": 0.1}
    settings: JsonObject = {"shadow": {"share": 1.0}, "experiment": {**BY_LOOKS["experiment"], **quick}}  # type: ignore[dict-item]
    world = World(sqlite_store, settings)
    world.register("v1", BETTER)
    for _ in range(40):
        world.traffic(150)
        world.conductor.tick()
        if world.story.stage("v1") is Stage.AB:
            world.behaviours["v0"] = before
        # Another process each time: all that a test has done is in its rows.
        world.conductor = world.conduct()
        world.wait(DAY / 4)
        if world.story.stage("v1") in (Stage.AWAITING_APPROVAL, Stage.REJECTED):
            break
    (experiment,) = world.story.experiments.of_challenger(Version("v1"))
    (newest,) = world.story.experiments.looks(experiment.id, limit=1)
    assert world.story.stage("v1") is stage
    assert says in str(newest.findings["says"])
