"""The watches over real rows: what counts as a value, each once, alarms under lasting names, what is written down."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from traffic import V0, Traffic
from traffic import traffic as traffic

from core import config, reports, states
from core.lifecycle import Stage
from core.rules import Notify
from core.runs import Runs
from core.schema import checks, notices
from core.types import Arm, Role, Subject, Version
from monitoring.calibration import maps
from monitoring.calibration.recalibration import Map, Temperature
from monitoring.drift import numbers
from monitoring.drift.arrivals import FAR_EVERY
from monitoring.drift.streams import Observation
from monitoring.drift.watched import Numbers
from monitoring.drift.watches import Watches
from monitoring.drift.watchlist import Falling, all_streams
from monitoring.notices import Outbox
from monitoring.policy import Policies, policies
from monitoring.scoring.sources import LOGPROB

SETTINGS = {
    "drift": {"min_reference": 30, "min_share_reference": 40, "cycle_hours": 0},
    "calibration": {"min_labels": 30},
}
RULES = policies(config.parse(SETTINGS))
TELLING = Notify(command=("cat",))


def watches(traffic: Traffic, rules: Policies = RULES, notify: Notify = TELLING) -> Watches:
    return Watches(traffic.store, all_streams(rules, np.random.default_rng(1)), Outbox(notify), traffic.clock)


def standing(traffic: Traffic, stream: str, version: str = "v0", kind: str = "drift/") -> Mapping[str, Any]:
    with traffic.store.read() as conn:
        state = states.read(conn, f"{kind}{stream}{'/' if stream else ''}{version}")
    assert state is not None
    return state.body


def seen(traffic: Traffic) -> int:
    """How many thumbs are in the watch."""
    watch = standing(traffic, "thumbs")["watch"]["watch"]
    return int(watch["seen"] + watch["tested"])


def reference(traffic: Traffic, stream: str) -> list[float]:
    """The values in the reference of a stream of numbers, sorted."""
    watch = numbers.watch_of(standing(traffic, stream)["watch"])
    return sorted(round(value, 6) for phase in watch.reference.phases for value in phase.values)


def condition(traffic: Traffic) -> Mapping[str, Any]:
    with traffic.store.read() as conn:
        found = reports.condition(conn)
    assert found is not None
    return found


def written(traffic: Traffic, stream: str) -> list[Any]:
    query = select(checks).where(checks.c.stream == stream).order_by(checks.c.id)
    with traffic.store.read() as conn:
        return list(conn.execute(query))


async def test_a_fall_of_thumbs_alarms_once_under_one_name_and_tells_operators(traffic: Traffic) -> None:
    watching = watches(traffic)
    traffic.rated([True] * 60)
    await watching.tick()
    assert standing(traffic, "thumbs")["verdict"] == "ok"
    for start in range(3):
        traffic.rated([False] * 15, f"sad{start}-")
        await watching.tick()
    now = standing(traffic, "thumbs")
    assert now["alarm"]["id"] == "thumbs:v0:1"
    assert "thumbs: lower" in now["alarm"]["says"]
    assert now["breached"].endswith("rated subjects were content, below 80%")
    last = written(traffic, "thumbs")[-1]
    assert (last.kind, last.verdict, last.version) == ("drift", "alarm", "v0")
    assert last.details["action"] == "retrain"
    with traffic.store.read() as conn:
        (told,) = conn.execute(select(notices)).all()
    assert (told.kind, told.body["alarm"]) == ("drift", "thumbs:v0:1")


async def test_unhappy_few_breach_nothing(traffic: Traffic) -> None:
    traffic.rated([True] * 60)
    for number in range(40):
        traffic.rate(traffic.ask("one angry subject", f"q{number}"), False)
    traffic.settle()
    await watches(traffic).tick()
    now = standing(traffic, "thumbs")
    assert now["alarm"] and now["breached"] is None


async def test_what_does_not_count_as_a_thumb(traffic: Traffic) -> None:
    traffic.rated([True])
    asked = traffic.ask("bob", "twice the same")
    traffic.rate(asked, True)
    traffic.rate(asked, False)  # a changed mind
    traffic.rate(traffic.ask("bob", "twice the same"), False)  # a retry
    traffic.rate(traffic.ask("c"), False, role=Role.REVIEWER, actor="key-2")
    traffic.rate(traffic.ask("c"), False, name="rating")
    traffic.rate(traffic.ask("d", tags={"purpose": "measurement"}), False)
    traffic.rate(traffic.ask("e", arm=Arm.CHALLENGER, served=Version("v1")), False)
    traffic.rate(traffic.ask("f", arm=Arm.NAMED), False)
    traffic.rate(traffic.ask("g", stored=False, messages=(), reply=None), False)
    taken_back = traffic.rate(traffic.ask("h"), False)
    traffic.settle()
    traffic.ledger.retract(taken_back.id, "key-1").result(10)
    await watches(traffic).tick()
    assert (seen(traffic), standing(traffic, "thumbs")["watch"]["watch"]["good"]) == (2, 2)


async def test_nothing_is_taken_twice_by_later_ticks_or_by_the_next_leader(traffic: Traffic) -> None:
    watching = watches(traffic)
    traffic.rated([True] * 5)
    for _ in range(3):
        await watching.tick()
    await watches(traffic).tick()
    assert seen(traffic) == 5
    traffic.rated([True] * 2, "later")
    await watches(traffic).tick()
    assert seen(traffic) == 7


async def test_rows_that_come_late_are_taken_too(traffic: Traffic) -> None:
    watching = watches(traffic)
    early = traffic.clock()
    traffic.clock.advance(300)
    traffic.rated([True] * 3)
    await watching.tick()
    traffic.clock.at, now = early, traffic.clock()
    traffic.rated([True] * 2, "late")
    traffic.clock.at = now
    for _ in range(FAR_EVERY):
        await watching.tick()
    assert seen(traffic) == 5
    assert reference(traffic, "length") == [8.0] * 5


async def test_a_history_longer_than_one_tick_takes_is_caught_up_with(
    traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitoring.drift.streams.AT_ONCE", 3)
    traffic.rated([True] * 8)
    watching, counts = watches(traffic), []
    for _ in range(4):
        await watching.tick()
        counts.append(seen(traffic))
    assert counts == [3, 6, 8, 8]


async def test_lengths_that_change_are_an_alarm_that_asks_for_nothing(traffic: Traffic) -> None:
    watching = watches(traffic)
    for tokens, calls in ((8, 200), (9, 200)):
        for number in range(calls):
            traffic.ask(completion_tokens=tokens + 10 * (number % 7))
        traffic.settle()
        await watching.tick()
    for _ in range(200):
        traffic.ask(completion_tokens=200)
    traffic.settle()
    await watching.tick()
    assert standing(traffic, "length")["alarm"]["id"] == "length:v0:1"
    assert written(traffic, "length")[-1].details["action"] == "ignore"
    assert standing(traffic, "thumbs")["alarm"] is None


async def test_scores_are_a_stream_of_their_own(traffic: Traffic) -> None:
    asked = [traffic.ask() for _ in range(4)]
    traffic.settle()
    for number, row in enumerate(asked[:3]):
        traffic.score(row, -0.5 - number)
        traffic.score(row, -3.0, "prompt")
    watching = watches(traffic)
    await watching.tick()
    traffic.score(asked[3], -0.1)
    await watching.tick()
    assert reference(traffic, "logprob") == [-2.5, -1.5, -0.5, -0.1]
    assert reference(traffic, "prompt") == [-3.0] * 3


async def test_a_stream_that_says_nothing_new_is_written_down_once_a_minute_at_most(traffic: Traffic) -> None:
    watching = watches(traffic)
    for number in range(20):
        traffic.rated([True], f"n{number}-")
        await watching.tick()
        traffic.clock.advance(10)
    assert [row.verdict for row in written(traffic, "thumbs")] == ["warming"] * 4
    assert written(traffic, "logprob") == [], "a stream without a value says nothing"
    traffic.rated([True] * 20, "rest")
    await watching.tick()
    await watching.tick()
    assert [row.verdict for row in written(traffic, "thumbs")][4:] == ["ok"]


async def alarmed(traffic: Traffic, watching: Watches) -> None:
    traffic.rated([True] * 60)
    traffic.rated([False] * 30, "sad")
    await watching.tick()
    assert standing(traffic, "thumbs")["alarm"]["id"] == "thumbs:v0:1"


async def test_a_run_that_ended_restarts_the_watch_and_the_next_alarm_has_another_name(traffic: Traffic) -> None:
    watching = watches(traffic)
    await alarmed(traffic, watching)
    runs = Runs(traffic.store, traffic.clock)
    traffic.clock.advance(1)
    run = runs.request(method="sft", recipe={}, reason="r", requester="system:worse")
    await watching.tick()
    assert standing(traffic, "thumbs")["alarm"], "a run that is only asked for has dealt with nothing"
    runs.cancel(run.id, "key_ops", "no")
    await watching.tick()
    assert standing(traffic, "thumbs")["alarm"] is None
    reference = standing(traffic, "thumbs")["watch"]["watch"]
    assert (reference["good"], reference["seen"]) == (40, 40)
    traffic.rated([False] * 30, "still sad")
    await watching.tick()
    assert standing(traffic, "thumbs")["alarm"]["id"] == "thumbs:v0:2"


async def test_a_failed_run_deals_with_nothing_but_a_person_may(traffic: Traffic) -> None:
    watching = watches(traffic)
    await alarmed(traffic, watching)
    traffic.clock.advance(1)
    runs = Runs(traffic.store, traffic.clock)
    runs.request(method="sft", recipe={}, reason="r", requester="system:worse")
    claim = runs.claim("worker", 10)
    assert claim is not None
    runs.fail(claim, "out of memory")
    await watching.tick()
    assert standing(traffic, "thumbs")["alarm"]
    with traffic.store.write() as conn:
        states.put(conn, states.ACKNOWLEDGED, {"actor": "key_ops"}, traffic.clock())
    await watching.tick()
    assert standing(traffic, "thumbs")["alarm"] is None


async def test_a_new_champion_gets_new_watches_and_the_old_ones_go(traffic: Traffic) -> None:
    watching = watches(traffic)
    await alarmed(traffic, watching)
    story = traffic.story
    story.time = traffic.clock()
    story.await_approval("v1")
    story.promote("v1")
    traffic.clock.advance(1)
    traffic.rate(traffic.ask("ann", "to the new one", served=Version("v1"), assigned=Version("v1")), True)
    traffic.rated([False] * 3, "to the old one")
    await watching.tick()
    now = standing(traffic, "thumbs", "v1")
    assert (now["alarm"], now["watch"]["watch"]["seen"]) == (None, 1)
    with traffic.store.read() as conn:
        names = [*states.under(conn, "drift/"), *states.under(conn, "calibration/")]
    assert {name.rpartition("/")[2] for name in names} == {"v1"}


async def test_a_champion_that_comes_back_is_watched_from_its_return(traffic: Traffic) -> None:
    watching = watches(traffic)
    traffic.rated([True] * 5)
    await watching.tick()
    story = traffic.story
    story.time = traffic.clock()
    story.await_approval("v1")
    story.promote("v1")
    story.time += 1_000_000
    story.rollback()
    traffic.clock.advance(2)
    traffic.rated([True] * 2, "after")
    await watching.tick()  # never saw v1 as champion
    assert seen(traffic) == 2
    await watches(traffic).tick()
    assert seen(traffic) == 2
    assert story.stage("v0") is Stage.CHAMPION


async def test_confidence_is_compared_with_the_thumb_on_the_same_answer(traffic: Traffic) -> None:
    chart = Map(Temperature(1.0), LOGPROB, 100, 0, traffic.clock() - 1)
    with traffic.store.write() as conn:
        maps.put(conn, V0, chart)
    watching = watches(traffic)
    asked = [traffic.ask(f"s{number}") for number in range(60)]
    for row in asked:
        traffic.rate(row, False)
    unrated = traffic.ask("silent")
    traffic.settle()
    await watching.tick()
    assert standing(traffic, "", kind="calibration/")["watch"]["rated"] == 0
    traffic.clock.advance(1)
    for row in [*asked, unrated]:
        traffic.score(row, -0.05)  # the score comes after the thumb
    await watching.tick()
    await watching.tick()
    now = standing(traffic, "", kind="calibration/")
    assert now["alarm"]["id"] == "confidence:v0:1"
    assert now["watch"]["rated"] == now["watch"]["alarm"]
    last = written(traffic, "confidence")[-1]
    assert (last.kind, last.verdict, last.details["action"]) == ("calibration", "alarm", "recalibrate")
    assert condition(traffic)["action"] == "recalibrate"
    assert (condition(traffic)["traffic"]["state"], condition(traffic)["answers"]["state"]) == ("ok", "ok")
    traffic.clock.advance(1)
    with traffic.store.write() as conn:
        maps.put(conn, V0, replace(chart, fitted_at=traffic.clock()))
    await watching.tick()
    anew = standing(traffic, "", kind="calibration/")
    assert (anew["alarm"], anew["watch"]["rated"]) == (None, 0), "a new map deals with the alarm"


async def test_without_anybody_to_tell_there_are_no_notices(traffic: Traffic) -> None:
    await alarmed(traffic, watches(traffic, notify=Notify()))
    with traffic.store.read() as conn:
        assert conn.execute(select(notices)).first() is None


async def test_before_the_first_start_there_is_nothing_to_watch(traffic: Traffic) -> None:
    from core.schema import plan

    with traffic.store.write() as conn:
        conn.execute(plan.delete())
    await watches(traffic).tick()
    with traffic.store.read() as conn:
        assert not states.under(conn, "drift/")


async def test_each_alarm_says_what_to_do_and_why_and_how_often_it_is_false(traffic: Traffic) -> None:
    watching = watches(traffic)
    await alarmed(traffic, watching)
    details = written(traffic, "thumbs")[-1].details
    assert (details["action"], bool(details["reason"])) == ("retrain", True)
    policy = RULES.drift
    assert details["run_length"] == details["guaranteed"] == policy.run_length
    assert details["streams"] == 2, "thumbs and length have values, nothing else has"
    assert details["family"] == policy.family(2) == policy.run_length / 2
    calm = written(traffic, "length")[-1].details
    assert (calm["action"], calm["reason"]) == ("none", "")
    assert calm["guaranteed"] < calm["run_length"], "what theory gives lies below what is simulated"


async def test_the_two_states_are_told_apart(traffic: Traffic) -> None:
    watching = watches(traffic)
    await watching.tick()
    assert condition(traffic)["traffic"] == {"state": "warming", "since": None, "streams": [], "says": "no values yet"}
    traffic.rated([True] * 60)
    await watching.tick()
    now = condition(traffic)
    assert (now["traffic"]["state"], now["answers"]["state"], now["action"]) == ("ok", "ok", "none")
    changed = traffic.clock()
    for _ in range(200):
        traffic.ask(completion_tokens=200)
    traffic.settle()
    await watching.tick()
    now = condition(traffic)
    assert (now["traffic"]["state"], now["traffic"]["streams"]) == ("changed", ["length"])
    assert now["traffic"]["since"] > changed
    assert now["answers"]["state"] == "ok"
    assert (now["action"], now["reason"].partition(":")[0]) == ("ignore", "length")
    traffic.rated([False] * 40, "sad")
    await watching.tick()
    now = condition(traffic)
    assert (now["traffic"]["state"], now["answers"]["state"]) == ("changed", "worse")
    assert (now["action"], now["family_run_length"]) == ("retrain", RULES.drift.family(2))


@pytest.mark.parametrize(("name", "fault"), [("refusal", 1.0), ("tool_error", 1.0), ("judge", 0.1)])
async def test_faults_and_a_judge_say_that_answers_got_worse(traffic: Traffic, name: str, fault: float) -> None:
    watching = watches(traffic)
    for value, count in ((1 - fault, 60), (fault, 40)):
        for row in [traffic.ask() for _ in range(count)]:
            traffic.score(row, value, name)
        traffic.settle()
        await watching.tick()
    assert condition(traffic)["answers"]["streams"] == [name]
    assert standing(traffic, name)["alarm"]["id"] == f"{name}:v0:1"


async def test_a_standing_of_another_release_is_begun_anew(traffic: Traffic) -> None:
    traffic.rated([True] * 3)
    with traffic.store.write() as conn:
        states.put(conn, "drift/thumbs/v0", {"alarm": None, "cursor": traffic.clock()}, traffic.clock())
    await watches(traffic).tick()
    assert seen(traffic) == 3


def marks(values: np.ndarray[Any, np.dtype[np.float64]]) -> list[Observation]:
    return [Observation(str(n), n, str(n), Subject(str(n)), float(value)) for n, value in enumerate(values)]


def test_a_judge_that_likes_answers_better_is_no_alarm_and_a_fall_after_it_is() -> None:
    rng = np.random.default_rng(3)
    watched = Falling(RULES.drift, rng).after(marks(rng.normal(size=500)))
    better = watched.after(marks(rng.normal(2, 1, 300)))
    assert better.view().verdict == "ok"
    assert Numbers(RULES.drift, rng, watched.watch).after(marks(rng.normal(2, 1, 300))).view().verdict == "alarm"
    assert better.after(marks(rng.normal(-2, 1, 300))).view().verdict == "alarm"
