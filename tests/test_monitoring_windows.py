"""Windows over real rows: each explained once, across restarts, and without a word of those who are not to be heard."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sqlalchemy import select
from traffic import V0, Traffic
from traffic import traffic as traffic

from core import config, erasure, reports, states
from core.clock import HOUR
from core.datasets import Datasets
from core.reports import ReportKind
from core.schema import checks
from core.types import Subject, Version
from monitoring.drift.watchlist import Watchlist, all_streams
from monitoring.drift.windows import Windows
from monitoring.policy import policies

SIZE = 200
LUNCH = ("lunch", "menu", "soup", "price")
LOGIN = ("login", "password", "reset", "account")


def watchlist(cycle_hours: float = 0) -> Watchlist:
    settings = {"drift": {"min_reference": 200, "cycle_hours": cycle_hours}}
    return all_streams(policies(config.parse(settings)), np.random.default_rng(1))


def windows(traffic: Traffic, cycle_hours: float = 0) -> Windows:
    return Windows(traffic.store, watchlist(cycle_hours), SIZE, traffic.clock)


def ask(traffic: Traffic, count: int, words: Sequence[str] = LUNCH, prefix: str = "s", **told: object) -> None:
    """Questions of 90 subjects, each in three of these words."""
    rng = np.random.default_rng(traffic.clock.at % 2**32)
    for number in range(count):
        text = f"what about {' '.join(rng.choice(words, 3))} {rng.integers(10**6)}"
        traffic.ask(f"{prefix}{number % 90}", text, **{"prompt_tokens": 12, "duration": 80_000 + number, **told})
    traffic.settle()


def report(traffic: Traffic, version: Version = V0) -> Mapping[str, Any]:
    with traffic.store.read() as conn:
        found = reports.find(conn, ReportKind.TRAFFIC, version)
    assert found is not None
    return found.body


def written(traffic: Traffic) -> list[Any]:
    with traffic.store.read() as conn:
        return list(conn.execute(select(checks).where(checks.c.kind == "explanation").order_by(checks.c.id)))


async def test_a_window_is_explained_once_it_is_full(traffic: Traffic) -> None:
    job = windows(traffic)
    ask(traffic, SIZE)  # the reference
    ask(traffic, SIZE - 1)
    await job.tick()
    assert written(traffic) == []
    ask(traffic, 1, prefix="last")
    await job.tick()
    await job.tick()
    (row,) = written(traffic)
    assert (row.stream, row.version, row.count, row.verdict) == ("traffic", "v0", SIZE, "warming")
    assert row.details["says"] == report(traffic)["says"]
    assert not report(traffic)["moved"]
    assert report(traffic)["turns"] == SIZE
    assert {effect["stream"] for effect in report(traffic)["effects"]} == {"prompt_length", "length", "latency"}


async def test_a_planted_topic_is_named_and_the_row_has_the_verdict_of_the_streams(traffic: Traffic) -> None:
    job = windows(traffic)
    ask(traffic, SIZE)
    ask(traffic, SIZE // 2, prefix="t")
    ask(traffic, SIZE // 2, LOGIN, prefix="u", completion_tokens=40)
    state = {"traffic": {"state": "changed"}, "answers": {"state": "ok"}}
    with traffic.store.write() as conn:
        states.put(conn, reports.CONDITION, state, traffic.clock())
    await job.tick()
    found = report(traffic)
    assert found["moved"] and found["p"] <= found["alpha"]
    assert {term["term"] for term in found["terms"] if term["share_before"] == 0} == set(LOGIN)
    assert found["examples"]
    (row,) = written(traffic)
    assert row.verdict == "alarm"
    (length,) = (effect for effect in found["effects"] if effect["stream"] == "length")
    assert length["psi"] > length["psi_95"]


async def test_a_restart_neither_forgets_nor_repeats_a_turn(traffic: Traffic) -> None:
    ask(traffic, SIZE)
    await windows(traffic).tick()
    ask(traffic, SIZE // 2, prefix="a")
    await windows(traffic).tick()
    assert written(traffic) == []
    ask(traffic, SIZE // 2, prefix="b")
    await windows(traffic).tick()
    assert [row.details["window"] for row in written(traffic)] == [1]
    await windows(traffic).tick()
    ask(traffic, SIZE, prefix="c")
    await windows(traffic).tick()
    assert [row.details["window"] for row in written(traffic)] == [1, 2]
    assert written(traffic)[1].details["alpha"] < written(traffic)[0].details["alpha"] / 3


async def test_erased_and_unstored_words_never_appear(traffic: Traffic) -> None:
    job = windows(traffic)
    ask(traffic, SIZE)
    ask(traffic, SIZE - 50, prefix="t")
    for number in range(50):
        traffic.ask(f"gone{number}", f"my secret is xylophone {number}")
        traffic.ask(f"shy{number}", "", stored=False, messages=(), reply=None)
    traffic.settle()
    with TemporaryDirectory() as folder:
        data = Path(folder)
        for number in range(50):
            erasure.erase(traffic.store, Datasets(data), data, Subject(f"gone{number}"), "key_ops", traffic.clock)
    await job.tick()
    assert written(traffic) == [], "what was erased fills no window"
    ask(traffic, 50, prefix="u")
    await job.tick()
    (row,) = written(traffic)
    assert "xylophone" not in str(report(traffic)) and "secret" not in str(row.details)


async def test_words_that_were_erased_after_they_were_taken_do_not_appear_either(traffic: Traffic) -> None:
    job = windows(traffic)
    ask(traffic, SIZE)
    for number in range(50):
        traffic.ask(f"gone{number}", f"my secret is xylophone {number}")
    traffic.settle()
    await job.tick()
    with TemporaryDirectory() as folder:
        data = Path(folder)
        for number in range(50):
            erasure.erase(traffic.store, Datasets(data), data, Subject(f"gone{number}"), "key_ops", traffic.clock)
    ask(traffic, SIZE, prefix="t")
    await job.tick()
    assert report(traffic)["turns"] == SIZE - 50
    assert "xylophone" not in str(report(traffic))


async def test_a_subject_fills_a_window_with_each_question_once(traffic: Traffic) -> None:
    job = windows(traffic)
    ask(traffic, SIZE)
    for _ in range(SIZE):
        traffic.ask("ann", "again and again")
    traffic.settle()
    await job.tick()
    assert written(traffic) == []


async def test_the_reference_is_a_whole_cycle_and_a_window_is_compared_with_its_own_hours(traffic: Traffic) -> None:
    """Lunch is asked about at noon, passwords at midnight: neither is news at its hour, but lunch at midnight is."""
    job, start = windows(traffic, cycle_hours=24), traffic.clock.at // (24 * HOUR) * 24 * HOUR + 24 * HOUR
    noon, midnight = start + 12 * HOUR, start + 24 * HOUR
    for at, words in ((noon, LUNCH), (midnight, LOGIN)):
        traffic.clock.at = at
        ask(traffic, 250, words)
        await job.tick()
    traffic.clock.at = noon + 24 * HOUR + HOUR // 2
    ask(traffic, 1, prefix="first of the next day")
    await job.tick()
    for at, words, moved in ((noon, LUNCH, False), (midnight, LOGIN, False), (midnight + 24 * HOUR, LUNCH, True)):
        traffic.clock.at = at + 48 * HOUR
        ask(traffic, SIZE, words, prefix=f"n{at}")
        await job.tick()
        assert report(traffic)["moved"] is moved


async def test_a_new_champion_is_compared_with_its_own_beginning(traffic: Traffic) -> None:
    job = windows(traffic)
    ask(traffic, 2 * SIZE)
    await job.tick()
    story = traffic.story
    story.time = traffic.clock()
    story.await_approval("v1")
    story.promote("v1")
    traffic.clock.advance(1)
    told: dict[str, object] = {"served": Version("v1"), "assigned": Version("v1")}
    ask(traffic, 2 * SIZE, LOGIN, prefix="n", **told)
    await job.tick()
    assert not report(traffic, Version("v1"))["moved"]
    with traffic.store.read() as conn:
        assert list(states.under(conn, "windows/")) == ["windows/v1"]


async def test_before_the_first_start_there_is_nothing_to_explain(traffic: Traffic) -> None:
    from core.schema import plan

    with traffic.store.write() as conn:
        conn.execute(plan.delete())
    await windows(traffic).tick()
    assert written(traffic) == []
