"""When more ratings are asked for than usual: each reason for it, its end, and that only news is written."""

from dataclasses import asdict

import pytest
from sqlalchemy import insert
from traffic import Traffic
from traffic import traffic as traffic

from core import asking, reports, states
from core.experiments import Experiments
from core.ids import new_id
from core.schema import checks, plan
from core.types import Check, JsonObject, Verdict, Version
from monitoring.feedback.asking import Asking


def state(traffic: Traffic) -> JsonObject:
    with traffic.store.read() as conn:
        found = states.read(conn, asking.STATE)
    assert found is not None
    return found.body


async def look(traffic: Traffic) -> tuple[bool, str]:
    await Asking(traffic.store, traffic.clock).tick()
    body = state(traffic)
    assert asking.wants_more(traffic.store) is body["more"]
    return bool(body["more"]), str(body["reason"])


def condition(traffic: Traffic, traffic_state: str, answers: str) -> None:
    body: JsonObject = {"traffic": {"state": traffic_state, "since": 5}, "answers": {"state": answers, "since": None}}
    with traffic.store.write() as conn:
        states.put(conn, reports.CONDITION, body, traffic.clock())


def looked(traffic: Traffic, verdict: Verdict, version: str = "v0", kind: str = "calibration") -> None:
    traffic.clock.advance(1)
    at = traffic.clock()
    row = Check(new_id(at // 1000), at, kind, "confidence", Version(version), None, None, verdict, 7)
    with traffic.store.write() as conn:
        conn.execute(insert(checks).values(**asdict(row)))


async def test_as_long_as_nothing_is_known_nothing_is_raised(traffic: Traffic) -> None:
    assert not asking.wants_more(traffic.store)
    assert await look(traffic) == (False, "nothing asks for more ratings")


@pytest.mark.parametrize(
    ("of_traffic", "of_answers", "more"),
    [("ok", "ok", False), ("warming", "warming", False), ("changed", "ok", True), ("ok", "worse", True)],
)
async def test_more_is_asked_while_traffic_or_answers_are_not_what_they_were(
    traffic: Traffic, of_traffic: str, of_answers: str, more: bool
) -> None:
    condition(traffic, of_traffic, of_answers)
    assert (await look(traffic))[0] is more
    condition(traffic, "ok", "ok")
    assert (await look(traffic))[0] is False


async def test_more_is_asked_until_confidence_is_known_to_mean_what_it_says(traffic: Traffic) -> None:
    found = []
    for verdict in (Verdict.WARMING, Verdict.OK, Verdict.ALARM, Verdict.OK):
        looked(traffic, verdict)
        found.append((await look(traffic))[0])
    assert found == [True, False, True, False]


async def test_checks_of_other_versions_and_kinds_ask_for_nothing(traffic: Traffic) -> None:
    looked(traffic, Verdict.ALARM, "v7")
    looked(traffic, Verdict.ALARM, kind="drift")
    assert (await look(traffic))[0] is False


async def test_more_is_asked_while_a_comparison_is_undecided(traffic: Traffic) -> None:
    traffic.story.time = traffic.clock()
    traffic.story.compare("v1")
    split = traffic.story.plan.split
    assert split is not None
    more, reason = await look(traffic)
    assert more and "v1" in reason
    Experiments(traffic.store, traffic.clock).stop(split.experiment, actor="ops", reason="enough")
    assert (await look(traffic))[0] is False


async def test_only_news_is_written(traffic: Traffic) -> None:
    condition(traffic, "changed", "ok")
    await look(traffic)
    first = state(traffic)["at"]
    traffic.clock.advance(60)
    await look(traffic)
    assert state(traffic)["at"] == first
    condition(traffic, "changed", "worse")
    traffic.clock.advance(60)
    await look(traffic)
    condition(traffic, "ok", "worse")
    await look(traffic)
    assert (state(traffic)["reason"], state(traffic)["at"]) == ("answers got worse", traffic.clock())


async def test_before_the_first_start_there_is_nobody_to_ask(traffic: Traffic) -> None:
    with traffic.store.write() as conn:
        conn.execute(plan.delete())
    await Asking(traffic.store, traffic.clock).tick()
    with traffic.store.read() as conn:
        assert states.read(conn, asking.STATE) is None
