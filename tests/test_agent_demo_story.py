"""The story of a demo on a Hone by script: it waits for what Hone says, tells it, and ends for a stated reason."""

from collections.abc import Callable

import pytest
from fixtures_service import KEY, FakeService, serving
from scripted_hone import DIGEST, NEW, OLD, ScriptedHone

from agent.cli.customers import Row
from agent.cli.openai_calls import open_async_client
from agent.demo.record import Act, Record, Sign
from agent.demo.scenario import Phase, Scenario
from agent.demo.story import LIMITS, Cast, Story
from agent.demo.telling import Telling
from agent.demo.timeline import PlainTimeline
from agent.demo.town import Town
from agent.loop_documents import ModelDetails
from core.errors import HoneError

SHORT = dict.fromkeys(LIMITS, 0.3)


def row(phase: str, number: int) -> Row:
    text = f"{phase} {number}"
    return Row(f"{phase}/{number}", phase, f"user {number}", ({"role": "user", "content": text},), text.upper())


SCENARIO = Scenario(
    Phase("known", tuple(row("known", n) for n in range(12)), tuple(row("known", n) for n in range(50, 54))),
    (Phase("new", tuple(row("new", n) for n in range(9)), tuple(row("new", n) for n in range(60, 66))),),
)


def service() -> FakeService:
    """Version 0 knows what is known; the one after it knows what is new as well."""
    fake = FakeService(version=OLD)
    fake.answer = lambda text: text.upper() if text.startswith("known") or fake.version == NEW else "I do not know."
    return fake


async def told(
    hone: ScriptedHone, agree: Callable[[ModelDetails], bool] = lambda model: True, *, quick: bool = False
) -> Record:
    """The record of a whole story; `quick` gives up after a moment."""
    record = Record("data", "rows.jsonl")
    telling = Telling(record, PlainTimeline())
    with serving(hone.service) as url:
        async with open_async_client(url, KEY) as client:
            cast = Cast(Town(client, telling.served), hone, client, hone, agree)  # type: ignore[arg-type]
            limits = SHORT if quick else LIMITS
            story = Story(SCENARIO, cast, telling, limits=limits, looking=0.01)
            try:
                await story.play()
            finally:
                hone.asked.append("end")
    return record


async def test_a_story_goes_from_the_first_measurement_to_the_way_back_and_forth() -> None:
    hone = ScriptedHone(service())
    record = await told(hone)
    acts = [scene.act for scene in record.scenes]
    assert acts == [act for act in Act if act not in (Act.START, Act.STOP)]
    assert all(scene.end is not None for scene in record.scenes)
    assert [moment.sign for moment in record.moments] == list(Sign)
    assert record.promoted
    assert record.ending == ""
    assert (record.champion, record.candidate, record.requester) == (NEW, NEW, "system:worse")


async def test_the_held_back_rows_are_asked_before_and_after_by_name_and_as_measurements() -> None:
    hone = ScriptedHone(service())
    record = await told(hone)
    shares = {m.phase: (str(m.before), str(m.after)) for m in record.measured}
    assert shares == {"known": ("100.0%", "100.0%"), "new": ("0.0%", "100.0%")}
    held = {str(each.messages[-1]["content"]) for each in SCENARIO.held_back}
    asked = [chat for chat in hone.service.chats if chat["messages"][-1]["content"] in held]
    assert len(asked) == 2 * len(held)
    assert [chat["model"] for chat in asked] == [OLD] * len(held) + [NEW] * len(held)
    assert all(chat["metadata"] == {"purpose": "measurement"} for chat in asked)


async def test_everybody_else_is_a_customer_under_the_public_name() -> None:
    hone = ScriptedHone(service())
    record = await told(hone)
    customers = [chat for chat in hone.service.chats if "metadata" not in chat]
    assert {chat["model"] for chat in customers} == {"hone"}
    assert record.asked == len(customers) == len(hone.service.ratings)
    assert record.failed == 0


async def test_the_change_of_champion_is_timed_and_made_three_times() -> None:
    hone = ScriptedHone(service())
    record = await told(hone)
    assert [word for word in hone.asked if word.startswith("champion")] == [f"champion {v}" for v in (NEW, OLD, NEW)]
    assert record.promotion_seconds is not None
    assert record.rollback_seconds is not None
    assert 0 < record.promotion_seconds < 5


async def test_the_training_and_the_looks_at_the_comparison_are_kept() -> None:
    record = await told(ScriptedHone(service()))
    assert [loss.step for loss in record.losses] == sorted({loss.step for loss in record.losses})
    assert len(record.losses) >= 2
    assert [look.subjects for look in record.ab] == sorted(look.subjects for look in record.ab)
    assert len(record.ab) == 4
    assert all(look.low < look.estimate < look.high for look in record.ab)
    assert [(each.units, each.estimate) for each in record.compared] == [(80, 0.3), (90, 0.4)]
    assert [(c.stage, c.ruling) for c in record.controls] == [(s, "advance") for s in ("candidate", "shadow", "ab")]
    assert record.evidence_digest == DIGEST


async def test_a_rejected_candidate_ends_it_with_the_words_of_the_gate() -> None:
    record = await told(ScriptedHone(service(), stages=("candidate", "rejected")))
    assert not record.promoted
    assert "rejected" in record.ending
    assert "what the gate says" in record.ending
    assert [scene.act for scene in record.scenes][-1] is Act.AFTER
    assert all(measured.after is not None for measured in record.measured)


async def test_an_operator_who_does_not_agree_ends_it_and_changes_nothing() -> None:
    hone, seen = ScriptedHone(service()), list[str]()

    def refuse(model: ModelDetails) -> bool:
        seen.append(str(model.evidence_digest))
        return False

    record = await told(hone, refuse)
    assert (record.promoted, seen) == (False, [DIGEST])
    assert "nobody agreed" in record.ending
    assert hone.service.version == OLD


async def test_evidence_that_is_void_by_then_ends_it_with_the_reason() -> None:
    record = await told(ScriptedHone(service(), stale=True))
    assert not record.promoted
    assert "the config changed" in record.ending


async def test_a_shift_after_which_no_run_starts_ends_with_what_hone_waits_for() -> None:
    record = await told(ScriptedHone(service(), starts=False), quick=True)
    assert not record.promoted
    assert "The shift waited for 0 s: answers got worse, waiting for data: 3 of 9" in record.ending
    assert record.moment(Sign.DRIFT)


async def test_a_run_that_failed_is_a_failure_with_its_cause() -> None:
    with pytest.raises(HoneError, match="Run r1 is failed: out of memory"):
        await told(ScriptedHone(service(), run_state="failed"))


async def test_an_answer_in_the_place_of_the_named_version_is_a_failed_request() -> None:
    hone = ScriptedHone(service(), starts=False)
    before = hone.status

    async def lying() -> object:
        return (await before()).model_copy(update={"champion": "tiny-v7"})

    hone.status = lying  # type: ignore[method-assign,assignment]
    record = await told(hone, quick=True)
    assert record.failed >= len(SCENARIO.held_back)
    assert f"{OLD} answered in the place of tiny-v7" in record.failure
