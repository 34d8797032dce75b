"""The backlog: what waits is bounded, gets out by whichever way opens first, and nothing in it is dropped unseen."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import WriterFactory
from rows import chat, lock, settled, stored, unit, wait_until
from sqlalchemy import Connection

from core import config
from core.errors import NotStored
from core.spool import Spool
from core.store import Store
from core.unit import Row, encode
from core.writer import Kept, Writer


def test_held_rows_reach_a_database_that_works_again_although_the_spool_does_not(
    sqlite_store: Store, start_writer: WriterFactory, tmp_path: Path
) -> None:
    writer, other = start_writer(sqlite_store, patience=0.2), lock(tmp_path)
    (tmp_path / "spool").rename(tmp_path / "gone")
    assert writer.submit(chat("a"), hold=True).result(10) is Kept.HELD
    other.close()
    wait_until(lambda: settled(writer))
    assert stored(sqlite_store) == ["a"]
    (tmp_path / "gone").rename(tmp_path / "spool")


def test_held_rows_are_spooled_as_soon_as_the_disk_takes_them(
    sqlite_store: Store, start_writer: WriterFactory, tmp_path: Path
) -> None:
    writer, other = start_writer(sqlite_store, patience=0.2), lock(tmp_path)
    (tmp_path / "spool").rename(tmp_path / "gone")
    assert writer.submit(chat("a"), hold=True).result(10) is Kept.HELD
    (tmp_path / "gone").rename(tmp_path / "spool")
    wait_until(lambda: writer.stats().held == 0)
    assert writer.stats().spool_bytes > 0
    assert writer.stats().degraded
    other.close()


def test_a_full_spool_refuses_instead_of_growing(sqlite_store: Store, tmp_path: Path) -> None:
    other = lock(tmp_path)
    writer = Writer(sqlite_store, Spool.open(tmp_path / "spool", 300), config.Ledger(patience=0.1))
    writer.start()
    kept = [writer.submit(unit(f"n{number}")) for number in range(10)]
    outcomes = [future.exception(10) or future.result(10) for future in kept]
    more = [writer.submit(unit(f"m{number}")).exception(10) for number in range(10)]
    assert sum(path.stat().st_size for path in (tmp_path / "spool").iterdir()) <= 300
    assert all(isinstance(outcome, NotStored) for outcome in outcomes)
    assert [type(each) for each in more].count(NotStored) >= 6
    other.close()
    wait_until(lambda: settled(writer))
    assert len(stored(sqlite_store)) == more.count(None)
    writer.close()


class BrokenStore(Store):
    """A database whose driver fails in a way that nobody foresaw."""

    @contextmanager
    def write(self) -> Iterator[Connection]:
        raise ZeroDivisionError
        yield


class BrokenSpool(Spool):
    """A spool that fails in a way that nobody foresaw."""

    def append(self, lines: Sequence[bytes]) -> None:
        raise ZeroDivisionError


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_failure_that_nobody_foresaw_costs_no_row(
    sqlite_store: Store, start_writer: WriterFactory, tmp_path: Path
) -> None:
    writer = start_writer(BrokenStore(sqlite_store.engine), patience=0.1)
    assert [writer.submit(unit(name)).result(10) for name in "ab"] == [Kept.SPOOLED] * 2
    writer.close()
    successor = start_writer(sqlite_store)
    wait_until(lambda: settled(successor))
    assert stored(sqlite_store) == ["a", "b"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_writer_that_died_leaves_nobody_waiting_and_takes_nothing(sqlite_store: Store, tmp_path: Path) -> None:
    writer = Writer(
        BrokenStore(sqlite_store.engine), BrokenSpool.open(tmp_path / "spool", 2**20), config.Ledger(patience=0.1)
    )
    writer.start()
    assert isinstance(writer.submit(unit("a")).exception(10), NotStored)
    wait_until(lambda: writer.stats().degraded)
    assert isinstance(writer.submit(unit("b")).exception(10), NotStored)
    writer.close()


def test_spooled_rows_that_cannot_be_rows_are_set_aside_and_the_rest_arrives(
    store: Store, start_writer: WriterFactory, tmp_path: Path
) -> None:
    strange = [
        encode([Row("rumours", {"id": "a"})]),
        encode([Row("retractions", {"feedback": "x", "created_at": 1, "key_id": "k", "mood": "good"})]),
        encode([Row("retractions", {"feedback": "x"})]),
        b"00000000 []\n",
        b"nonsense\n",
    ]
    left = Spool.open(tmp_path / "spool", 2**20)
    left.append([encode(unit("a")), *strange, encode(unit("b"))])
    left.close()
    writer = start_writer(store)
    wait_until(lambda: writer.stats().rejected == len(strange))
    assert stored(store) == ["a", "b"]
    aside = b"".join(path.read_bytes() for path in (tmp_path / "spool").glob("*.rejected"))
    assert sorted(aside.splitlines(keepends=True)) == sorted(strange)
