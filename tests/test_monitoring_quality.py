"""The job that reports quality: whose word counts and once, what is settled, and that it reads only what is new."""

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import event
from traffic import Traffic
from traffic import traffic as traffic

from core import asking, config, reports, states
from core.asking import Draw
from core.ids import new_id
from core.ledger import InteractionFilter
from core.reports import ReportKind
from core.types import Arm, Finish, Interaction, Role, Subject, Version
from monitoring.feedback.quality import PACE, SETTLED, Quality
from monitoring.feedback.responses import GROUPS, Asked, Responses, responses_of
from monitoring.terms import terms

MEASURE = terms(config.parse({})).measure
MINUTE, HOUR = PACE / 1e6, SETTLED / 1e6


def job(traffic: Traffic) -> Quality:
    return Quality(traffic.store, MEASURE, traffic.clock)


def reported(traffic: Traffic, version: str = "v0") -> Mapping[str, Any]:
    with traffic.store.read() as conn:
        found = reports.find(conn, ReportKind.QUALITY, Version(version))
    assert found is not None
    return found.body


def kept(traffic: Traffic, version: str = "v0") -> Mapping[str, Any]:
    with traffic.store.read() as conn:
        found = states.read(conn, f"quality/{version}")
    assert found is not None
    return found.body


def asked(traffic: Traffic, who: str, **changes: object) -> Interaction:
    return traffic.ask(who, **{"asked": 0.5, **changes})


def some(traffic: Traffic, up: int, down: int, silent: int, prefix: str = "s") -> None:
    """So many people who were asked and say so."""
    for number in range(up + down + silent):
        row = asked(traffic, f"{prefix}{number}")
        if number < up + down:
            traffic.rate(row, number < up)
    traffic.settle()


async def test_shares_are_of_all_who_were_asked_and_the_bounds_lie_around_them(traffic: Traffic) -> None:
    some(traffic, 30, 10, 60)
    await job(traffic).tick()
    found = reported(traffic)
    assert (found["asked"], found["rated"], found["response_rate"]) == (100, 40, pytest.approx(0.4))
    assert (found["up_per_ask"]["value"], found["down_per_ask"]["value"]) == pytest.approx((0.3, 0.1))
    assert (found["manski"]["low"], found["manski"]["high"]) == pytest.approx((0.3, 0.9))
    assert found["quality"]["low"] < 0.3 and found["quality"]["high"] > 0.9
    assert found["says"].startswith(f"Between {found['quality']['low']:.0%} and")
    assert "75%" not in found["says"], "ups over ratings are nobody's quality"
    assert (found["actors"], found["reviewers"]) == (pytest.approx(100, abs=3), None)
    assert found["at"] == traffic.clock()


async def test_only_answers_that_were_asked_about_and_came_to_their_end_count(traffic: Traffic) -> None:
    traffic.rate(asked(traffic, "counts"), True)
    for number, changes in enumerate(
        (
            {"asked": None},
            {"finish": Finish.ERROR},
            {"finish": Finish.CANCELLED},
            {"arm": Arm.NAMED},
            {"tags": {"purpose": "measurement"}},
            {"arm": Arm.CHALLENGER, "assigned": Version("v1")},
            {"served": Version("v1"), "assigned": Version("v1")},
        )
    ):
        traffic.rate(asked(traffic, f"not{number}", **changes), False)
    traffic.settle()
    await job(traffic).tick()
    assert (reported(traffic)["asked"], reported(traffic)["up_per_ask"]["value"]) == (1, 1.0)


async def test_one_live_vote_an_answer_and_it_is_the_subjects_own(traffic: Traffic) -> None:
    changed, taken_back, others = (asked(traffic, who) for who in ("a", "b", "c"))
    traffic.rate(changed, False)
    traffic.rate(changed, True)
    gone = traffic.rate(taken_back, False)
    traffic.rate(others, False, role=Role.REVIEWER, actor="key-2")
    traffic.rate(others, True, name="rating")
    traffic.settle()
    traffic.ledger.retract(gone.id, "key-1").result(10)
    await job(traffic).tick()
    found = reported(traffic)
    assert (found["asked"], found["rated"]) == (3, 1)
    assert (found["up_per_ask"]["value"], found["down_per_ask"]["value"]) == pytest.approx((1 / 3, 0))


async def test_more_frequent_asking_does_not_count_for_more(traffic: Traffic) -> None:
    for number in range(80):
        traffic.rate(asked(traffic, f"usual{number}", asked=0.1), True)
        traffic.rate(asked(traffic, f"raised{number}", asked=0.4), False)
    traffic.settle()
    await job(traffic).tick()
    assert reported(traffic)["up_per_ask"]["value"] == pytest.approx(0.8)


async def test_what_is_settled_is_kept_and_never_read_again(traffic: Traffic) -> None:
    working = job(traffic)
    some(traffic, 6, 2, 2, "old")
    await working.tick()
    assert kept(traffic)["cells"] == []
    traffic.clock.advance(HOUR + 1)
    some(traffic, 3, 0, 1, "new")
    await working.tick()
    assert sum(row[3] for row in kept(traffic)["cells"]) == 10
    before = reported(traffic)
    assert (before["asked"], before["rated"]) == (14, 11)
    # Another leader goes on from there, and a word that comes too late changes nothing.
    oldest = traffic.ledger.interactions(InteractionFilter(), None, 100).items[-1]
    traffic.rate(oldest, False)
    traffic.settle()
    traffic.clock.advance(MINUTE)
    await job(traffic).tick()
    assert {**reported(traffic), "at": 0} == {**before, "at": 0}


async def test_young_answers_may_still_be_rated_and_words_taken_back(traffic: Traffic) -> None:
    working = job(traffic)
    row = asked(traffic, "slow")
    traffic.settle()
    await working.tick()
    assert reported(traffic)["rated"] == 0
    word = traffic.rate(row, True)
    traffic.settle()
    traffic.clock.advance(MINUTE)
    await working.tick()
    assert reported(traffic)["rated"] == 1
    traffic.ledger.retract(word.id, "key-1").result(10)
    traffic.clock.advance(MINUTE)
    await working.tick()
    assert reported(traffic)["rated"] == 0


async def test_a_report_comes_once_a_minute_or_when_there_are_two_percent_more(traffic: Traffic) -> None:
    working = job(traffic)
    some(traffic, 100, 50, 50)
    await working.tick()
    some(traffic, 3, 0, 0, "few")
    await working.tick()
    assert reported(traffic)["asked"] == 200
    some(traffic, 1, 0, 0, "one more")
    await working.tick()
    assert reported(traffic)["asked"] == 204
    some(traffic, 1, 0, 0, "and one")
    await working.tick()
    assert reported(traffic)["asked"] == 204
    traffic.clock.advance(MINUTE)
    await working.tick()
    assert reported(traffic)["asked"] == 205


async def test_a_minute_without_news_writes_nothing(traffic: Traffic) -> None:
    working = job(traffic)
    some(traffic, 2, 1, 1)
    await working.tick()
    at = reported(traffic)["at"]
    traffic.clock.advance(MINUTE)
    await working.tick()
    assert reported(traffic)["at"] == at


async def test_a_long_history_is_caught_up_with_page_by_page(traffic: Traffic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitoring.feedback.quality.AT_ONCE", 7)
    some(traffic, 10, 5, 5)
    traffic.clock.advance(HOUR + 1)
    working, counts = job(traffic), []
    for _ in range(4):
        await working.tick()
        counts.append(reported(traffic)["asked"])
        traffic.clock.advance(MINUTE)
    assert counts == [7, 14, 20, 20]
    assert reported(traffic)["up_per_ask"]["value"] == pytest.approx(0.5)


async def test_champion_and_challenger_are_reported_apart(traffic: Traffic) -> None:
    traffic.story.time = traffic.clock()
    traffic.story.compare("v1")
    v1 = Version("v1")
    for number in range(20):
        traffic.rate(asked(traffic, f"a{number}"), True)
        traffic.rate(asked(traffic, f"b{number}", arm=Arm.CHALLENGER, served=v1, assigned=v1), False)
    traffic.settle()
    await job(traffic).tick()
    assert [reported(traffic, v)["up_per_ask"]["value"] for v in ("v0", "v1")] == [1.0, 0.0]


async def test_reviewers_answers_are_weighed_by_the_chance_of_the_draw(traffic: Traffic) -> None:
    rows = [traffic.ask(f"r{number}") for number in range(30)]
    traffic.settle()
    for number, row in enumerate(rows):
        likely = number < 10
        draw = Draw(new_id(), traffic.clock(), row.id, "key-r", 0.02 if likely else 0.005, "uncertain")
        with traffic.store.write() as conn:
            asking.note(conn, draw)
        if number % 10 < 9:
            traffic.rate(row, not likely, role=Role.REVIEWER, actor="key-r")
        traffic.rate(row, likely, role=Role.REVIEWER, actor="key-unasked")
    traffic.settle()
    await job(traffic).tick()
    found = reported(traffic)["reviewers"]
    assert (found["drawn"], found["rated"], found["reviewers"]) == (30, 27, 1)
    assert found["reasons"] == {"uncertain": 30}
    assert found["value"] == pytest.approx(18 / 0.005 / (9 / 0.02 + 18 / 0.005))
    assert found["low"] < found["value"] < found["high"]


def test_actors_are_counted_in_groups_that_name_nobody() -> None:
    answers = [Asked(f"{n}", Subject(f"who {n % 300}"), 0.5, 10, 1.0 if n % 2 else None) for n in range(900)]
    found = Responses().plus(answers)
    assert found.asked == 900
    assert found.actors() == pytest.approx(300, rel=0.03)
    assert "who" not in str(found.to_json())
    assert max(group for group, _, _ in found.cells) < GROUPS
    assert responses_of(found.to_json()) == found  # type: ignore[arg-type]


async def test_a_look_reads_by_index_and_only_behind_its_cursor(traffic: Traffic) -> None:
    if traffic.store.engine.dialect.name != "sqlite":
        pytest.skip("reads SQLite's query plans")
    some(traffic, 3, 1, 1)
    traffic.clock.advance(HOUR + 1)
    working = job(traffic)
    await working.tick()
    traffic.clock.advance(MINUTE)
    some(traffic, 1, 0, 0, "new")
    plans: list[str] = []

    def explain(conn: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT") and "interactions" in statement:
            lines = conn.connection.driver_connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(line[3] for line in lines)

    event.listen(traffic.store.engine, "before_cursor_execute", explain)
    await working.tick()
    scans = [line for line in plans if line.startswith("SCAN") and ("interactions" in line or "feedback" in line)]
    assert scans == []
    assert any("interactions_served (served=? AND id>?)" in line for line in plans)
    assert any("feedback_interaction" in line for line in plans)
