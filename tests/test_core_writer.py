"""The writer while all is well: what it promises of units, queue, futures and stopping."""

import asyncio
import threading
import time
from concurrent.futures import wait
from pathlib import Path

import pytest
from conftest import WriterFactory
from rows import bodies, chat, stored, unit, wait_until

from core import config
from core.errors import NotStored
from core.spool import Spool
from core.store import Store
from core.unit import Row, encode
from core.writer import Kept, Writer


def test_committed_means_in_the_database(store: Store, start_writer: WriterFactory) -> None:
    writer = start_writer(store)
    assert writer.submit(chat("a")).result(10) is Kept.COMMITTED
    assert stored(store) == ["a"]
    assert bodies(store)["a"] == {"role": "user", "content": "words of a \0 \U0001f600"}


def test_units_from_many_threads_share_commits(store: Store, start_writer: WriterFactory) -> None:
    writer = start_writer(store)

    def work(number: int) -> None:
        wait([writer.submit(unit(f"{number}-{turn}")) for turn in range(100)])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stored(store)) == 800
    assert writer.stats().committed == 800
    assert writer.stats().commit_seconds_count < 400


def test_a_unit_is_kept_whole_or_not_at_all(store: Store, start_writer: WriterFactory) -> None:
    writer = start_writer(store)
    broken = [*unit("a"), Row("retractions", {"feedback": "b"})]
    with pytest.raises(NotStored):
        writer.submit(broken).result(10)
    assert stored(store) == []


BAD_ROWS = {
    "a missing value": Row("retractions", {"feedback": "bad", "created_at": None, "key_id": "k"}),
    "no such table": Row("rumours", {"feedback": "bad"}),
    "no such column": Row("retractions", {"feedback": "bad", "created_at": 1, "key_id": "k", "mood": 1}),
    "an integer too large": Row("retractions", {"feedback": "bad", "created_at": 2**70, "key_id": "k"}),
    "half a character": Row("retractions", {"feedback": "bad\ud800", "created_at": 1, "key_id": "k"}),
    "not JSON": Row("nodes", {"id": "bad", "subject": "s", "created_at": 1, "body": {"a": object()}}),
    "an unknown type": Row("retractions", {"feedback": object(), "created_at": 1, "key_id": "k"}),
}


@pytest.mark.parametrize("bad", BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_row_that_the_database_refuses_fails_alone(store: Store, start_writer: WriterFactory, bad: Row) -> None:
    writer = start_writer(store)
    with store.write():
        futures = [writer.submit(unit(name)) for name in "abc"] + [writer.submit([bad])] + [writer.submit(unit("d"))]
    assert isinstance(futures[3].exception(10), NotStored)
    assert {future.result(10) for future in futures if future is not futures[3]} == {Kept.COMMITTED}
    assert stored(store) == ["a", "b", "c", "d"]
    assert writer.stats().refused == 1


def test_what_is_refused_does_not_show_what_was_said(store: Store, start_writer: WriterFactory) -> None:
    words = {"role": "user", "content": "my secret"}
    row = Row("nodes", {"id": "x", "subject": None, "created_at": 1, "body": words})
    failure = start_writer(store).submit([row]).exception(10)
    assert "my secret" not in str(failure)


def test_a_repeated_unit_changes_nothing(store: Store, start_writer: WriterFactory) -> None:
    writer = start_writer(store)
    for key in ("first", "second"):
        row = Row("retractions", {"feedback": "a", "created_at": 1, "key_id": key})
        assert writer.submit([row]).result(10) is Kept.COMMITTED
    assert stored(store) == ["a"]


def test_a_full_queue_refuses_at_once(store: Store, tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool", 2**20)
    writer = Writer(store, spool, config.Ledger(queue=3))
    accepted = [writer.submit(unit(name)) for name in "abc"]
    refused = writer.submit(unit("d"))
    failure = refused.exception(0)
    assert isinstance(failure, NotStored)
    assert failure.retry_after == 1
    writer.start()
    assert [future.result(10) for future in accepted] == [Kept.COMMITTED] * 3
    assert writer.submit(unit("e")).result(10) is Kept.COMMITTED
    writer.close()
    assert writer.stats().refused == 1


def test_closing_writes_what_is_queued_and_refuses_what_comes_later(store: Store, start_writer: WriterFactory) -> None:
    writer = start_writer(store)
    futures = [writer.submit(unit(f"{number:03}")) for number in range(500)]
    writer.close()
    assert {future.result(0) for future in futures} == {Kept.COMMITTED}
    assert len(stored(store)) == 500
    assert isinstance(writer.submit(unit("late")).exception(0), NotStored)


def test_what_a_dead_process_spooled_is_replayed_at_the_start(
    store: Store, start_writer: WriterFactory, tmp_path: Path
) -> None:
    left = Spool.open(tmp_path / "spool", 2**20)
    left.append([encode(chat("left"))])
    left.close()
    writer = start_writer(store)
    wait_until(lambda: writer.stats().replayed == 2)
    assert stored(store) == ["left"]
    assert bodies(store)["left"] == {"role": "user", "content": "words of left \0 \U0001f600"}


async def test_a_client_that_goes_away_does_not_take_the_row_along(store: Store, start_writer: WriterFactory) -> None:
    writer = start_writer(store)
    with store.write():
        future = asyncio.wrap_future(writer.submit(unit("a")))
        future.cancel()
        await asyncio.sleep(0.01)
    assert writer.submit(unit("b")).result(10) is Kept.COMMITTED
    assert stored(store) == ["a", "b"]


async def test_an_event_loop_waits_for_many_units_at_once(store: Store, start_writer: WriterFactory) -> None:
    writer = start_writer(store)
    units = [asyncio.wrap_future(writer.submit(unit(f"{number:03}"))) for number in range(300)]
    assert set(await asyncio.gather(*units)) == {Kept.COMMITTED}
    assert len(stored(store)) == 300


def test_handing_over_costs_microseconds(store: Store, tmp_path: Path) -> None:
    writer = Writer(store, Spool.open(tmp_path / "spool", 2**20), config.Ledger())
    seconds = []
    for turn in range(10):
        units = [unit(f"{turn}-{number}") for number in range(100)]
        started = time.thread_time()
        for each in units:
            writer.submit(each)
        seconds.append((time.thread_time() - started) / len(units))
    assert min(seconds) < 10e-6
    writer.close()
