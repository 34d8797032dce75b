"""What the mirror shows: who should have been mirrored, what came back, and how it compares with the champion."""

from collections.abc import Sequence
from dataclasses import replace
from math import exp

import pytest
from customers import BETTER, DUNNO, OLD, WORSE, Behaviour, World
from sqlalchemy import insert

from core.decoys import APPEAL, COMMON, UNKNOWING
from core.errors import EngineFailed, EngineUnavailable
from core.lifecycle import Mover, Stage
from core.schema import scores
from core.settings import Settings
from core.store import Store
from core.types import Arm, Feedback, Finish, Interaction, Role, Version
from monitoring import history
from monitoring.gates.gate import Shadow
from monitoring.history import Window
from monitoring.shadow.likelihoods import Likelihoods
from monitoring.shadow.mirrored import LIKELIHOOD, Mirror
from monitoring.shadow.questions import Skills, answer, question, skills
from monitoring.terms import terms
from serving.scoring import Scored
from serving.shadow import is_sampled

ALL = {"shadow": {"share": 1.0}}
NOTHING = Skills({})


def shadowed(store: Store, behaviour: Behaviour = BETTER, **settings: object) -> World:
    """v1 in the shadow of v0."""
    world = World(store, {**ALL, **settings})  # type: ignore[dict-item]
    world.register("v1", behaviour)
    world.story.advance("v1", Stage.SHADOW, Mover.MONITORING)
    return world


def window(world: World) -> Window:
    with world.store.read() as conn:
        return history.window(conn, world.story.registry.model("v1"), Version("v0"))


def mirror(world: World) -> Mirror:
    return Mirror(world.store, terms(Settings.model_validate(world.settings)))


def read(world: World, past: Skills = NOTHING) -> Shadow:
    return mirror(world).read(window(world), past)


def pair(world: World, asked: str, candidate: str, **changes: object) -> tuple[Interaction, Interaction]:
    """A call of a newcomer, and what the shadow made of it."""
    call = world.call(world.newcomer(), asked, **changes)
    copy = world.shadowed(call, Version("v1"), reply={"role": "assistant", "content": candidate})
    return call, copy


def keep(world: World, pairs: Sequence[tuple[Interaction, Interaction]], words: Sequence[Feedback] = ()) -> None:
    world.keep([call for both in pairs for call in both], words)


def test_every_sampled_call_is_accounted_for(store: Store) -> None:
    world = shadowed(store, shadow={"share": 0.5})
    calls = world.traffic(60, turns=2)
    expected = [call for call in calls if is_sampled(call, Version("v1"), 0.5)]
    lost = [world.call(world.newcomer(), "old question 1") for _ in range(40)]
    world.keep(lost)
    lost = [call for call in lost if is_sampled(call, Version("v1"), 0.5)]
    assert 30 < len(expected) < 90 and lost
    found = read(world)
    assert (found.answered, found.failed, found.dropped) == (len(expected), 0, len(lost))


def test_what_the_mirror_leaves_out_is_not_missed(store: Store) -> None:
    world = shadowed(store)
    for change in (
        {"kind": "completion"},
        {"stored": False},
        {"finish": Finish.CANCELLED},
        {"arm": Arm.NAMED, "propensity": 1.0},
        {"arm": Arm.HOLDBACK, "served": Version("vx"), "assigned": Version("vx")},
        {"tags": {"purpose": "measurement"}},
        {"experiment": "e1"},
    ):
        world.keep([world.call(world.newcomer(), "old question 1", **change)])
    assert read(world).dropped == 0


def test_what_comes_back_later_is_dropped_no_longer(store: Store) -> None:
    world = shadowed(store)
    seen = mirror(world)
    both = pair(world, "old question 1", DUNNO)
    world.keep([both[0]])
    assert seen.read(window(world), NOTHING).dropped == 1
    world.keep([both[1]])
    found = seen.read(window(world), NOTHING)
    assert (found.answered, found.dropped) == (1, 0)


def test_a_call_that_was_mirrored_twice_counts_once(store: Store) -> None:
    world = shadowed(store)
    call, copy = pair(world, "old question 1", OLD["old question 1"])
    world.keep([call, copy, world.shadowed(call, Version("v1"))])
    assert read(world).answered == 1


def test_failures_are_the_candidates_and_have_no_answer_to_compare(store: Store) -> None:
    world = shadowed(store, replace(BETTER, fails=1.0))
    world.traffic(20)
    found = read(world)
    assert (found.answered, found.failed, found.same) == (0, 40, 0)
    assert found.old_skills is not None and found.old_skills.units == 0


def test_answers_that_are_the_champions_own_are_counted(store: Store) -> None:
    world = shadowed(store)
    keep(world, [pair(world, "old question 1", OLD["old question 1"]), pair(world, "old question 1", "Another.")])
    found = read(world)
    assert (found.answered, found.same) == (2, 1)


def test_a_liked_answer_must_be_given_again_up_to_spelling(store: Store) -> None:
    world = shadowed(store)
    pairs = [
        pair(world, "old question 1", "old ANSWER 1"),
        pair(world, "old question 2", "Something else."),
        pair(world, "old question 3", "Something else."),
    ]
    keep(world, pairs, [world.thumb(call) for call, _ in pairs[:2]])
    found = read(world).old_skills
    assert found is not None
    assert (found.units, found.better, found.worse, found.same) == (2, 0, 1, 0)


def test_a_question_that_was_answered_well_before_the_run_is_an_old_skill(store: Store) -> None:
    world = World(store, ALL)
    world.traffic(10, questions=["old question 1"])
    past = skills(store, world.story.time + 1, terms(Settings()).measure)
    world.behaviours["v0"] = Behaviour({})  # the champion has forgotten it
    world.register("v1", BETTER)
    world.story.advance("v1", Stage.SHADOW, Mover.MONITORING)
    world.traffic(5, questions=["old question 1"], rate=0.0)
    found = read(world, past).old_skills
    assert found is not None and (found.units, found.better) == (5, 5)


def test_an_answer_that_was_corrected_is_no_skill_but_a_reference(store: Store) -> None:
    world = shadowed(store)
    both = pair(world, "old question 1", "Now it is blue.")
    liked, corrected = world.thumb(both[0]), world.thumb(both[0], value=0.0, correction="now it is blue", actor="rita")
    keep(world, [both], [liked, corrected])
    found = read(world, Skills({str(question(both[0].messages)): frozenset({str(answer(both[0].reply))})}))
    assert found.old_skills is not None and found.old_skills.units == 0
    assert found.references is not None and (found.references.units, found.references.better) == (1, 1)


def test_references_count_liked_answers_lost_and_corrections_met(store: Store) -> None:
    world = shadowed(store)
    learnt, missed, lost = (pair(world, "new question 1", text) for text in ("New answer 1.", "No.", "No."))
    words = [
        *(world.thumb(call, value=0.0, correction="New answer 1.") for call in (learnt[0], missed[0])),
        world.thumb(lost[0], value=1.0),
    ]
    keep(world, [learnt, missed, lost], words)
    found = read(world).references
    assert found is not None and (found.units, found.better, found.worse) == (3, 1, 1)


def test_decoys_are_compared_as_the_candidate_is(store: Store) -> None:
    world = shadowed(store)
    pairs = [pair(world, "old question 1", "Old answer 1.") for _ in range(3)]
    pairs += [pair(world, "old question 2", "Old answer 2."), pair(world, "new question 1", "New answer 1.")]
    words = [world.thumb(call) for call, _ in pairs[:4]]
    words.append(world.thumb(pairs[4][0], value=0.0, correction="i do not know"))
    keep(world, pairs, words)
    frequent, unknowing, appeals = read(world).decoys
    assert [decoy.name for decoy in (frequent, unknowing, appeals)] == [COMMON, UNKNOWING, APPEAL]
    assert frequent.same == 3 and frequent.old_skills is not None and unknowing.references is not None
    assert (frequent.old_skills.units, frequent.old_skills.worse) == (4, 1)
    assert (unknowing.references.units, unknowing.references.better, unknowing.references.worse) == (5, 1, 4)
    assert appeals.references is not None and appeals.references.worse == 4


def test_nothing_that_was_mirrored_gives_decoys_without_a_comparison(store: Store) -> None:
    assert [decoy.old_skills and decoy.old_skills.units for decoy in read(shadowed(store)).decoys] == [0, 0, 0]


def test_a_talkative_customer_is_one_voice(store: Store) -> None:
    world = shadowed(store, WORSE)
    (loud,) = world.newcomers(1)
    world.traffic([loud], turns=50, questions=list(OLD))
    world.traffic(3, turns=1, questions=list(OLD))
    found = read(world).old_skills
    assert found is not None and found.units == 4


def test_blind_preferences_count_for_whom_they_name_and_only_from_reviewers(store: Store) -> None:
    world = shadowed(store)
    won, lost, even, user, strange = (pair(world, "new question 1", "Yes.") for _ in range(5))

    def prefer(winner: Interaction, loser: str, value: float = 1.0, role: Role = Role.REVIEWER) -> Feedback:
        word = world.thumb(winner, name="preference", value=value, actor="rita", role=role)
        return replace(word, tags={"over": loser})

    words = [
        prefer(won[1], won[0].id),
        prefer(lost[0], lost[1].id),
        prefer(even[1], even[0].id, 0.5),
        prefer(user[1], user[0].id, role=Role.USER),
        prefer(strange[1], won[0].id),
    ]
    keep(world, [won, lost, even, user, strange], words)
    found = read(world).preferences
    assert found is not None and (found.units, found.better, found.worse) == (3, 1, 1)


def test_likelihoods_are_compared_where_both_versions_were_asked(store: Store) -> None:
    world = shadowed(store)
    pairs = [pair(world, "new question 1", "Yes.") for _ in range(3)]
    keep(world, pairs)
    with world.store.write() as conn:
        for number, (call, version, value) in enumerate(
            [(pairs[0][0], "v0", 0.2), (pairs[0][0], "v1", 0.9), (pairs[1][0], "v0", 0.5)]
        ):
            row = {"id": f"s{number}", "created_at": 1, "interaction": call.id, "source": "engine", "value": value}
            conn.execute(insert(scores), {**row, "version": version, "name": LIKELIHOOD})
    found = read(world).likelihood
    assert found is not None and found.units == 1
    assert found.mean == pytest.approx(0.7)


def test_erased_texts_compare_nothing_and_are_still_counted(store: Store) -> None:
    world = shadowed(store)
    call, copy = pair(world, "old question 1", OLD["old question 1"])
    keep(world, [(replace(call, reply=None), replace(copy, reply=None))], [world.thumb(call)])
    found = read(world)
    assert (found.answered, found.same) == (1, 0)
    assert found.old_skills is not None and found.old_skills.units == 0


def test_calls_from_before_the_shadow_are_no_part_of_it(store: Store) -> None:
    world = World(store, ALL)
    world.traffic(10)
    world.wait(5)
    world.register("v1", BETTER)
    world.story.advance("v1", Stage.SHADOW, Mover.MONITORING)
    found = read(world)
    assert (found.answered, found.failed, found.dropped, found.same) == (0, 0, 0, 0)


class Certain:
    """An engine that finds every answer as likely as the version's word; it refuses what is `strange`, and breaks down
    over what is `poison`."""

    def __init__(self, **logs: float) -> None:
        self.logs, self.asked = logs, 0

    async def score(self, version: str, messages: object, answer: str, tools: object = None) -> Scored | None:
        self.asked += 1
        if not self.logs:
            raise EngineUnavailable("not now")
        if answer == "poison":
            raise EngineFailed("500")
        return None if answer == "strange" else Scored(self.logs[version], None, 3)


async def test_references_are_measured_under_both_versions_and_once(store: Store) -> None:
    world = shadowed(store)
    broken, liked, corrected, refused, plain = (pair(world, "old question 1", "Yes.") for _ in range(5))
    words = [
        world.thumb(liked[0]),
        *(
            world.thumb(call, value=0.0, correction=text)
            for call, text in ((broken[0], "poison"), (corrected[0], "It is."), (refused[0], "strange"))
        ),
    ]
    keep(world, [broken, liked, corrected, refused, plain], words)
    settings = Settings.model_validate(world.settings)
    engine = Certain(v0=-1.0, v1=-0.5)
    job = Likelihoods(store, engine, settings)  # type: ignore[arg-type]
    await Likelihoods(store, Certain(), settings).tick()  # type: ignore[arg-type]
    for _ in range(3):
        await job.tick()
    assert engine.asked == 7
    found = read(world).likelihood
    assert found is not None and (found.units, found.better) == (2, 2)
    assert found.mean == pytest.approx(exp(-0.5) - exp(-1.0))
