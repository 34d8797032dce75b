"""The job over real rows: which votes it takes, when it fits and when it publishes, and how the watch begins anew."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event
from traffic import V0, Traffic
from traffic import traffic as traffic

from core import config, plan, states
from core.reports import Report, ReportKind
from core.rules import Notify
from core.store import Store
from core.types import Arm, Role, Split, Version
from monitoring.calibration import betting, maps
from monitoring.calibration.betting import CalibrationWatch
from monitoring.calibration.calibrator import PACE, Alarm, Calibrator, Case, alarm, due, is_news
from monitoring.calibration.labels import Label
from monitoring.calibration.recalibration import IDENTITY, Map, Sigmoid, apply
from monitoring.drift.arrivals import Arrivals
from monitoring.drift.watches import Watches
from monitoring.drift.watchlist import all_streams
from monitoring.notices import Outbox
from monitoring.policy import CalibrationPolicy, policies

POLICY = CalibrationPolicy(min_labels=40)
V1 = Version("v1")


def job(traffic: Traffic, policy: CalibrationPolicy = POLICY, share: float = 1.0) -> Calibrator:
    settings = config.parse({"monitoring": {"score_share": share}})
    return Calibrator(traffic.store, policy, settings, np.random.default_rng(1), traffic.clock)


def votes(traffic: Traffic, n: int, truth: float, stated: float = 0.9, prefix: str = "s", **changes: Any) -> None:
    """So many subjects, each with an answer that has this confidence and is liked with this share, evenly spread."""
    asked = []
    for number in range(n):
        row = traffic.ask(f"{prefix}{number}", **changes)
        traffic.rate(row, int((number + 1) * truth) > int(number * truth))
        asked.append(row)
    traffic.settle()
    for row in asked:
        traffic.score(row, log(stated))


def known(store: Store, version: Version = V0) -> Map | None:
    with store.read() as conn:
        return maps.read(conn, version, POLICY.source)


def published(store: Store, version: Version = V0) -> Mapping[str, Any] | None:
    with store.read() as conn:
        state = states.read(conn, f"report/calibration/{version}")
    return state.body if state else None


def watched(store: Store, source: str = POLICY.source) -> Sequence[float | None]:
    with store.read() as conn:
        return [each.confidence for each in maps.confidences(conn, V0, Arrivals(0), "thumbs", source)]


def alarmed(traffic: Traffic, at: int, run: int) -> None:
    """As if the watch had found something."""
    watch = replace(CalibrationWatch(), runs=(run,) * 16, rated=500, alarm=500)
    body = {"alarm": {"id": "confidence:v0:1", "says": "off"}, "alarm_at": at, "watch": betting.to_json(watch)}
    with traffic.store.write() as conn:
        states.put(conn, f"calibration/{V0}", body, at)


def on_trial(store: Store) -> None:
    with store.write() as conn:
        found = plan.current(conn)
        split = Split("e1", V1, 0.5, "salt")
        plan.swap(conn, found, replace(found, revision=found.revision + 1, split=split), 1)


async def test_a_version_gets_its_map_and_its_report_with_votes_enough(traffic: Traffic) -> None:
    calibrator = job(traffic)
    await calibrator.tick()
    assert published(traffic.store) is None, "nothing is known of a version without votes"
    votes(traffic, 39, truth=0.6)
    await calibrator.tick()
    report = published(traffic.store)
    assert report is not None and known(traffic.store) is None
    assert report["says"] == "warming: 39 of 40 rated answers with a confidence"
    votes(traffic, 60, truth=0.6, prefix="t")
    traffic.clock.advance(1)
    await calibrator.tick()
    chart, report = known(traffic.store), published(traffic.store)
    assert chart is not None and report is not None
    assert (chart.n, chart.fitted_at) == (99, traffic.clock())
    assert float(apply(chart.form, 0.9)) == pytest.approx(0.6, abs=0.05)
    assert (report["n"], report["map"]["kind"], report["e_value"]) == (99, chart.kind, None)
    assert report["confidence"] == pytest.approx(0.6, abs=0.03)


async def test_only_users_live_votes_on_answers_of_the_version_count_one_an_actor(traffic: Traffic) -> None:
    asked = traffic.ask("a")
    traffic.rate(asked, True)
    traffic.rate(asked, False)
    taken_back, by_name = traffic.rate(traffic.ask("b"), False), traffic.ask("c", arm=Arm.NAMED)
    reviewed, measured = traffic.ask("d"), traffic.ask("e", tags={"purpose": "measurement"})
    other, rated, unscored = traffic.ask("f", served=V1, arm=Arm.CHALLENGER), traffic.ask("g"), traffic.ask("h")
    traffic.rate(reviewed, True, role=Role.REVIEWER, actor="key-9")
    traffic.rate(rated, True, name="rating")
    for row in (by_name, measured, other, unscored):
        traffic.rate(row, True)
    traffic.settle()
    traffic.ledger.retract(taken_back.id, "key-1").result(10)
    for row in (asked, by_name, reviewed, measured, other, rated):
        traffic.score(row, log(0.9))
    await job(traffic).tick()
    report = published(traffic.store)
    assert report is not None
    assert (report["n"], report["liked"]) == (1, 0.0)


async def test_what_changes_later_is_taken_up_and_only_what_is_new_is_read(traffic: Traffic) -> None:
    calibrator = job(traffic)
    votes(traffic, 50, truth=1.0)
    late = traffic.ask("late")
    traffic.rate(late, True)
    doubted = traffic.ask("doubted")
    traffic.rate(doubted, True)
    traffic.settle()
    traffic.score(doubted, log(0.9))
    await calibrator.tick()
    report = published(traffic.store)
    assert report is not None and (report["n"], report["liked"]) == (51, 1.0)

    traffic.rate(doubted, False)
    first = traffic.rate(traffic.ask("undone"), True)
    traffic.settle()
    traffic.ledger.retract(first.id, "key-1").result(10)
    traffic.score(late, log(0.9))
    votes(traffic, 5, truth=1.0, prefix="n")
    traffic.clock.advance(61)
    statements: list[str] = []
    with Reading(traffic.store, statements):
        await calibrator.tick()
    report = published(traffic.store)
    assert report is not None and report["n"] == 57
    assert report["liked"] == pytest.approx(56 / 57)
    loading = re.compile(r"ORDER BY feedback.created_at DESC\s+LIMIT")
    assert statements and not any(loading.search(each) for each in statements), "what is known is not read again"


class Reading:
    """Collects the statements that are sent to the database."""

    def __init__(self, store: Store, statements: list[str]) -> None:
        self._engine, self._statements = store.engine, statements

    def __enter__(self) -> None:
        event.listen(self._engine, "before_cursor_execute", self._take)

    def __exit__(self, *_: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._take)

    def _take(self, _conn: object, _cursor: object, statement: str, *_: object) -> None:
        self._statements.append(statement)


async def test_the_next_leader_knows_as_much_and_fits_nothing_anew(traffic: Traffic) -> None:
    votes(traffic, 50, truth=0.6)
    await job(traffic).tick()
    chart = known(traffic.store)
    traffic.clock.advance(100)
    votes(traffic, 10, truth=0.6, prefix="t")
    await job(traffic).tick()
    report = published(traffic.store)
    assert chart is not None and known(traffic.store) == chart
    assert report is not None and (report["n"], report["at"]) == (60, traffic.clock())
    assert report["e_value"] is not None


async def test_reports_come_at_a_pace(traffic: Traffic) -> None:
    calibrator = job(traffic)
    votes(traffic, 50, truth=0.6)
    await calibrator.tick()
    first = traffic.clock()
    votes(traffic, 5, truth=0.6, prefix="t")
    await calibrator.tick()
    report = published(traffic.store)
    assert report is not None and (report["n"], report["at"]) == (50, first)


async def test_a_version_on_trial_has_a_map_of_its_own(traffic: Traffic) -> None:
    on_trial(traffic.store)
    votes(traffic, 60, truth=0.6)
    votes(traffic, 60, truth=0.3, prefix="c", served=V1, arm=Arm.CHALLENGER)
    await job(traffic).tick()
    mine, other = known(traffic.store), known(traffic.store, V1)
    report = published(traffic.store, V1)
    assert mine and other and report
    assert float(apply(mine.form, 0.9)) > float(apply(other.form, 0.9)) + 0.2
    assert [(each["name"], each["n"]) for each in report["slices"] if each["by"] == "version"] == [
        ("v0", 60),
        ("v1", 60),
    ]


async def test_the_watch_sees_the_mapped_confidence_of_later_ratings_only(traffic: Traffic) -> None:
    votes(traffic, 60, truth=0.6)
    assert watched(traffic.store) == [None] * 60
    await job(traffic).tick()
    chart = known(traffic.store)
    traffic.clock.advance(1)
    votes(traffic, 3, truth=0.6, prefix="t", stated=0.8)
    assert chart is not None
    assert watched(traffic.store)[:60] == [None] * 60
    assert watched(traffic.store)[60:] == pytest.approx([float(apply(chart.form, 0.8))] * 3)
    assert watched(traffic.store, "p_true") == []


async def test_an_alarm_makes_a_new_map_of_what_was_said_since_the_change(traffic: Traffic) -> None:
    calibrator = job(traffic)
    votes(traffic, 80, truth=0.9)
    await calibrator.tick()
    votes(traffic, 60, truth=0.3, prefix="t")
    traffic.clock.advance(1)
    alarmed(traffic, traffic.clock(), run=60)
    traffic.clock.advance(1)
    await calibrator.tick()
    chart, report = known(traffic.store), published(traffic.store)
    assert chart is not None and report is not None
    assert chart.n == 60 and report["n"] == 60
    assert float(apply(chart.form, 0.9)) == pytest.approx(0.3, abs=0.05)
    traffic.clock.advance(100)
    await calibrator.tick()
    assert known(traffic.store) == chart, "one alarm makes one map"


async def test_alarm_new_map_and_a_watch_begun_anew_follow_one_another(traffic: Traffic) -> None:
    rules = policies(config.parse({"calibration": {"min_labels": 40}}))
    calibrator = job(traffic, rules.calibration)
    watches = Watches(traffic.store, all_streams(rules, np.random.default_rng(2)), Outbox(Notify()), traffic.clock)

    async def tick() -> Mapping[str, Any]:
        for each in (calibrator, watches):
            traffic.clock.advance(1)
            await each.tick()
        with traffic.store.read() as conn:
            found = states.read(conn, f"calibration/{V0}")
        return found.body if found else {}

    votes(traffic, 60, truth=0.9)
    await tick()
    votes(traffic, 55, truth=0.3, prefix="t")
    assert (await tick())["alarm"]["id"] == "confidence:v0:1"
    before = known(traffic.store)
    now = await tick()
    chart = known(traffic.store)
    assert before and chart and chart.fitted_at > before.fitted_at
    assert (now["alarm"], now["watch"]["rated"]) == (None, 0)
    votes(traffic, 30, truth=0.3, prefix="u")
    now = await tick()
    assert (now["alarm"], now["watch"]["rated"], now["watch"]["alarm"]) == (None, 30, None)
    assert known(traffic.store) == chart


def some(n: int, start: int = 0) -> list[Label]:
    return [Label(f"i{at}", f"a{at}", at, 0.9, True) for at in range(start, start + n)]


CHART = Map(IDENTITY, "logprob", 50, 10, 100)


@pytest.mark.parametrize(
    ("case", "policy", "learned"),
    [
        (Case(V0, some(39)), POLICY, 0),
        (Case(V0, some(40)), POLICY, 40),
        (Case(V0, some(109), CHART), POLICY, 0),
        (Case(V0, some(110), CHART), POLICY, 100),  # twice the fifty, since the time that the map is about
        (Case(V0, some(105), CHART, Alarm(102, 5)), POLICY, 40),  # the run is shorter than what a map needs
        (Case(V0, some(160), CHART, Alarm(150, 60)), POLICY, 69),  # the run and what came after the alarm
        (Case(V0, some(109), CHART, Alarm(99, 60)), POLICY, 0),  # an alarm over the map before
    ],
)
def test_when_a_map_is_due_and_what_it_learns_from(case: Case, policy: CalibrationPolicy, learned: int) -> None:
    assert list(due(case, policy)) == list(case.labels[len(case.labels) - learned :])


def test_without_recalibration_a_person_must_have_acknowledged() -> None:
    policy = replace(POLICY, recalibrate=False)
    case = Case(V0, some(160), CHART, Alarm(150, 60))
    assert not due(case, policy)
    assert len(due(replace(case, acknowledged=151), policy)) == 69
    cleared = replace(case, alarm=None, acknowledged=151)
    assert [label.at for label in due(cleared, policy)] == list(range(101, 160)), "the watch forgot its alarm already"
    assert not due(replace(cleared, acknowledged=99, labels=some(105)), policy)


def test_alarms_are_read_from_the_standing() -> None:
    watch = betting.to_json(replace(CalibrationWatch(), restarted=(0.0, 3.0, *[0.0] * 14), runs=(9, 7, *[9] * 14)))
    assert alarm(None) is None
    assert alarm(states.State({"alarm": None, "alarm_at": 5, "watch": watch}, 5)) is None
    assert alarm(states.State({"alarm": {"id": "x"}, "alarm_at": 5, "watch": watch}, 5)) == Alarm(5, 7)


def test_what_makes_a_report_due() -> None:
    last = Report(ReportKind.CALIBRATION, V0, 0, {"n": 100})
    assert not is_news(None, 0, True, PACE)
    assert is_news(None, 1, False, 0) and is_news(last, 100, True, 0)
    assert not is_news(last, 200, False, PACE - 1) and not is_news(last, 101, False, PACE)
    assert is_news(last, 102, False, PACE)


def test_a_map_of_another_source_is_none(traffic: Traffic) -> None:
    with traffic.store.write() as conn:
        maps.put(conn, V0, Map(Sigmoid(1, 0), "p_true", 50, 1, 5))
        assert maps.read(conn, V0, "logprob") is None
        assert maps.read(conn, V0, "p_true") == Map(Sigmoid(1, 0), "p_true", 50, 1, 5)


def test_before_the_first_start_there_is_nothing_to_calibrate(traffic: Traffic) -> None:
    from core.schema import plan as table

    with traffic.store.write() as conn:
        conn.execute(table.delete())
    job(traffic)._look()
    assert published(traffic.store) is None
