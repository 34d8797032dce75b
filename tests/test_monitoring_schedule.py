"""The schedule: one leader, each due job once, nothing beside itself, failures that end nothing but themselves."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from conducting_process import conduct, signing
from processes import PROCESSES
from rows import stored, wait_until

from core import leases, states
from core.clock import now
from core.errors import EngineUnavailable, SetupError
from core.store import Store
from monitoring.schedule import LEASE, Job, Schedule

LEASE_SECONDS = 1.5


@pytest.fixture(autouse=True)
def quiet_scheduler() -> None:
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)


def signers(store: Store) -> list[str]:
    """Who signed, in order."""
    return [row.split()[1] for row in stored(store)]


@asynccontextmanager
async def running(*schedules: Schedule) -> AsyncIterator[Sequence[asyncio.Task[None]]]:
    tasks = [asyncio.create_task(schedule.run()) for schedule in schedules]
    try:
        yield tasks
    finally:
        for schedule in schedules:
            schedule.stop()
        await asyncio.wait(tasks, timeout=5)


async def until(fact: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not await asyncio.to_thread(fact):
        assert time.monotonic() < end, "did not happen in time"
        await asyncio.sleep(0.02)


def job(tick: Callable[[], Awaitable[None]], every: float = 0.1, name: str = "job") -> Callable[[Store], list[Job]]:
    return lambda store: [Job(name, every, tick)]


async def test_of_three_that_start_at_once_one_leads_and_each_job_runs_once_when_due(store: Store) -> None:
    schedules = [
        Schedule(store, LEASE_SECONDS, lambda fenced, name=name: [signing(fenced, name, 0.25)], owner=name)
        for name in ("a", "b", "c")
    ]
    began = time.monotonic()
    async with running(*schedules):
        await until(lambda: len(stored(store)) >= 5)
        seen, seconds = signers(store), time.monotonic() - began
    assert len(set(seen)) == 1
    assert len(seen) <= seconds / 0.25 + 1


async def test_when_the_leader_ends_the_next_one_takes_over_at_once(store: Store) -> None:
    first, second = (
        Schedule(store, 60, lambda fenced, name=name: [signing(fenced, name)], owner=name) for name in ("a", "b")
    )
    async with running(first):
        await until(lambda: signers(store) != [])
    async with running(second):
        await until(lambda: "b" in signers(store), 5)


async def test_a_leader_whose_lease_was_taken_stops_its_jobs_and_follows(store: Store) -> None:
    schedule = Schedule(store, LEASE_SECONDS, lambda fenced: [signing(fenced, "old", 0.05)], owner="old")
    async with running(schedule) as (task,):
        await until(lambda: signers(store) != [])
        with store.write() as conn:
            assert leases.acquire(conn, LEASE, "new", 60_000_000, now() + 60_000_000)
            before = list(signers(store))
        await asyncio.sleep(1)
        assert signers(store) == before
        assert not task.done()


async def test_a_job_never_runs_beside_itself_and_what_it_missed_runs_once(sqlite_store: Store) -> None:
    beside, starts = [0], []

    async def slow() -> None:
        starts.append(time.monotonic())
        beside.append(beside[-1] + 1)
        await asyncio.sleep(0.35)
        beside.append(beside[-1] - 1)

    async with running(Schedule(sqlite_store, 60, job(slow, 0.1))):
        await until(lambda: len(starts) >= 4)
    assert max(beside) == 1
    assert min(b - a for a, b in pairwise(starts)) >= 0.35


async def test_a_failing_job_is_told_once_keeps_a_row_and_does_not_stop_the_others(
    sqlite_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    failures, works = [0], [0]
    broken = True

    async def fails() -> None:
        failures[0] += 1
        if broken:
            raise EngineUnavailable("the engine is down")

    async def goes_on() -> None:
        works[0] += 1

    def noted() -> dict[str, object]:
        with sqlite_store.read() as conn:
            return {name: state.body for name, state in states.under(conn, "jobs/").items()}

    both = lambda store: [Job("fails", 0.05, fails), Job("goes on", 0.05, goes_on)]  # noqa: E731
    async with running(Schedule(sqlite_store, 60, both)):
        await until(lambda: failures[0] >= 5 and works[0] >= 5)
        assert noted() == {"jobs/fails": {"error": "the engine is down"}}
        assert [r.levelname for r in caplog.records if "fails" in r.getMessage()] == ["ERROR"]
        broken = False
        await until(lambda: noted() == {})


async def test_a_defect_in_a_job_is_told_with_its_traceback(
    sqlite_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    times = [0]

    async def divides() -> None:
        times[0] += 1
        raise ZeroDivisionError("by zero")

    async with running(Schedule(sqlite_store, 60, job(divides, 0.05))):
        await until(lambda: times[0] >= 4)
    (told,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert told.exc_info and told.exc_info[0] is ZeroDivisionError


async def test_what_a_person_must_mend_ends_the_schedule(sqlite_store: Store) -> None:
    async def refuses() -> None:
        raise SetupError("set this right")

    with pytest.raises(SetupError, match="set this right"):
        await asyncio.wait_for(Schedule(sqlite_store, 60, job(refuses)).run(), 5)


async def test_it_ends_within_two_seconds_whatever_a_job_waits_for(sqlite_store: Store) -> None:
    waiting = asyncio.Event()

    async def hangs() -> None:
        waiting.set()
        await asyncio.Event().wait()

    schedule = Schedule(sqlite_store, 60, job(hangs))
    task = asyncio.create_task(schedule.run())
    await asyncio.wait_for(waiting.wait(), 5)
    began = time.monotonic()
    schedule.stop()
    await task
    assert time.monotonic() - began < 2


async def test_a_ledger_that_does_not_answer_is_waited_for(sqlite_store: Store, tmp_path: Path) -> None:
    ledger, away = tmp_path / "ledger.db", tmp_path / "away.db"
    ledger.rename(away)
    async with running(Schedule(sqlite_store, LEASE_SECONDS, lambda s: [signing(s, "a")], owner="a")) as (task,):
        await asyncio.sleep(0.3)
        assert not task.done()
        away.rename(ledger)
        await until(lambda: signers(sqlite_store) != [])


def test_a_leader_that_was_frozen_past_its_lease_writes_nothing_when_it_wakes(
    store: Store, database_url: str, tmp_path: Path
) -> None:
    logs = {name: tmp_path / f"{name}.log" for name in ("a", "b")}
    processes = {
        name: PROCESSES.Process(target=conduct, args=(database_url, name, LEASE_SECONDS, log), daemon=True)
        for name, log in logs.items()
    }
    for process in processes.values():
        process.start()
    try:
        wait_until(lambda: len(signers(store)) >= 2, 30)
        leader = signers(store)[0]
        other = "b" if leader == "a" else "a"
        pid = processes[leader].pid
        assert pid is not None
        at = len(stored(store))
        wait_until(lambda: len(stored(store)) > at)  # just written, so it holds no lock now
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: other in signers(store))
        asleep = signers(store).index(other)
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: "another process holds the lease" in logs[leader].read_text().lower())
        at = len(stored(store))
        wait_until(lambda: len(stored(store)) >= at + 5)
        assert set(signers(store)[asleep:]) == {other}
        assert processes[leader].is_alive()
    finally:
        for process in processes.values():
            process.kill()
            process.join()
