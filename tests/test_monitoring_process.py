"""`python -m monitoring` as processes: it starts, looks, ends quickly, refuses what cannot be, and only one leads."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fixtures_process import Place, place_in
from rows import wait_until
from sqlalchemy import select

from core import asking, reports, states
from core.schema import checks, leases
from core.store import Store

QUICK = "[monitoring]\ntick = 0.2\nlease = 1.5\n"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path, QUICK) as place:
        yield place


@contextmanager
def conducting(place: Place, count: int = 1) -> Iterator[list["subprocess.Popen[bytes]"]]:
    logs = [place.log.with_name(f"monitoring-{number}.log").open("ab") for number in range(count)]
    command = [sys.executable, "-P", "-m", "monitoring"]
    processes = [subprocess.Popen(command, env=place.environ, stderr=log) for log in logs]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for log in logs:
            log.close()


def leading(place: Place) -> list[int]:
    """Which processes ever led."""
    logs = sorted(place.log.parent.glob("monitoring-*.log"))
    return [number for number, log in enumerate(logs) if '"leading"' in log.read_text()]


@contextmanager
def store_of(place: Place) -> Iterator[Store]:
    store = Store.open(place.settings.database_url)
    yield store
    store.close()


def looked(store: Store) -> bool:
    """Whether every job has been round once."""
    with store.read() as conn:
        written = [states.read(conn, name) for name in (states.TRIGGERS, reports.CONDITION, asking.STATE)]
        return None not in written and conn.scalar(select(checks.c.id).limit(1)) is not None


def test_it_looks_and_ends_within_two_seconds_leaving_the_lease_free(place: Place) -> None:
    with conducting(place) as (process,), store_of(place) as store:
        wait_until(lambda: looked(store), 30)
        with store.read() as conn:
            assert not states.under(conn, "jobs/")
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert time.monotonic() - began < 2
        with store.read() as conn:
            assert conn.execute(select(leases)).one().until == 0


def test_of_three_one_leads_and_when_it_is_killed_another_one_goes_on(place: Place) -> None:
    with conducting(place, 3) as processes, store_of(place) as store:
        wait_until(lambda: looked(store), 30)
        time.sleep(1)
        (first,) = leading(place)
        with store.read() as conn:
            told = [row.stream for row in conn.execute(select(checks))]
        assert len(told) == len(set(told)), "each stream was written down once"
        processes[first].send_signal(signal.SIGKILL)
        wait_until(lambda: len(leading(place)) == 2, 15)
        assert [process.poll() for number, process in enumerate(processes) if number != first] == [None, None]


def test_settings_that_contradict_one_another_are_a_persons_to_mend(tmp_path: Path) -> None:
    with place_in(tmp_path, "[drift]\nmin_reference = 900\nmax_reference = 100\n") as place:
        with conducting(place) as (process,):
            assert process.wait(30) == os.EX_CONFIG
        assert (
            "drift.max_reference (100) is below drift.min_reference (900)"
            in (tmp_path / "monitoring-0.log").read_text()
        )


def test_an_engine_that_is_down_stops_nothing(place: Place) -> None:
    place.environ["HONE_CONFIG"] = str(place.log.with_name("down.toml"))
    Path(place.environ["HONE_CONFIG"]).write_text(f'[engine]\nurl = "http://127.0.0.1:1"\n{QUICK}')
    with conducting(place) as (process,), store_of(place) as store:
        wait_until(lambda: looked(store), 30)
        assert process.poll() is None
