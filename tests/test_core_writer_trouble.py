"""The writer while the database, the disk or both fail, with the real failures."""

import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster
from conftest import WriterFactory
from rows import bodies, chat, lock, settled, stored, unit, wait_until

from core import migrate
from core.errors import NotStored
from core.store import Store
from core.writer import Kept


@pytest.fixture
def postgres_store(postgres_url: str) -> Iterator[Store]:
    store = Store.open(postgres_url)
    yield store
    store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB of our own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"mounting a small disk needs root: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take the last byte of a disk."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return filler


def test_a_locked_database_costs_a_second_once_then_rows_go_to_the_spool(
    sqlite_store: Store, start_writer: WriterFactory, tmp_path: Path
) -> None:
    writer, other = start_writer(sqlite_store), lock(tmp_path)
    started = time.monotonic()
    assert writer.submit(chat("first")).result(10) is Kept.SPOOLED
    assert 0.9 < time.monotonic() - started < 1.5
    started = time.monotonic()
    assert [writer.submit(chat(f"n{number}")).result(10) for number in range(20)] == [Kept.SPOOLED] * 20
    assert time.monotonic() - started < 1
    assert writer.stats().degraded
    other.close()
    wait_until(lambda: settled(writer))
    assert stored(sqlite_store) == sorted(["first", *(f"n{number}" for number in range(20))])
    assert bodies(sqlite_store)["first"] == {"role": "user", "content": "words of first \0 \U0001f600"}
    assert writer.submit(chat("after")).result(10) is Kept.COMMITTED


@pytest.mark.postgres
def test_a_crashed_server_costs_no_row_and_none_comes_twice(
    postgres_store: Store, cluster: Cluster, start_writer: WriterFactory
) -> None:
    writer = start_writer(postgres_store)
    assert writer.submit(chat("before")).result(10) is Kept.COMMITTED
    cluster.stop("immediate")
    try:
        started = time.monotonic()
        kept = [writer.submit(chat(f"n{number:02}")) for number in range(50)]
        assert {future.result(10) for future in kept} == {Kept.SPOOLED}
        assert time.monotonic() - started < 2
    finally:
        cluster.start()
    wait_until(lambda: settled(writer) and writer.stats().replayed == 100)
    assert stored(postgres_store) == ["before", *(f"n{number:02}" for number in range(50))]
    assert writer.submit(chat("after")).result(10) is Kept.COMMITTED


@pytest.mark.postgres
def test_a_server_that_answers_nothing_keeps_nobody_waiting(
    postgres_store: Store, cluster: Cluster, start_writer: WriterFactory
) -> None:
    writer = start_writer(postgres_store)
    assert writer.submit(chat("before")).result(10) is Kept.COMMITTED
    cluster.freeze()
    try:
        for number in range(6):
            started = time.monotonic()
            assert writer.submit(chat(f"n{number}")).result(10) is Kept.SPOOLED
            assert time.monotonic() - started < 1.5
            time.sleep(0.3)
    finally:
        cluster.thaw()
    wait_until(lambda: settled(writer))
    assert stored(postgres_store) == ["before", *(f"n{number}" for number in range(6))]


def test_closing_while_the_database_fails_leaves_the_rows_to_the_next_start(
    sqlite_store: Store, start_writer: WriterFactory, tmp_path: Path
) -> None:
    writer, other = start_writer(sqlite_store), lock(tmp_path)
    futures = [writer.submit(unit(name)) for name in "abc"]
    started = time.monotonic()
    writer.close()
    assert time.monotonic() - started < 4
    assert {future.result(0) for future in futures} == {Kept.SPOOLED}
    other.close()
    successor = start_writer(sqlite_store)
    wait_until(lambda: settled(successor))
    assert stored(sqlite_store) == ["a", "b", "c"]


def test_a_full_disk_holds_chats_and_refuses_what_may_not_be_held(
    small_disk: Path, start_writer: WriterFactory
) -> None:
    url = f"sqlite:///{small_disk / 'ledger.db'}"
    migrate.upgrade(url)
    store = Store.open(url)
    writer = start_writer(store, small_disk / "spool", hold=10, patience=0.2)
    assert writer.submit(chat("before"), hold=True).result(10) is Kept.COMMITTED
    filler = fill(small_disk)
    chats = [writer.submit(chat(f"n{number}"), hold=True) for number in range(6)]
    assert [future.result(10) for future in chats[:5]] == [Kept.HELD] * 5
    assert isinstance(chats[5].exception(10), NotStored)
    assert isinstance(writer.submit(unit("thumb")).exception(10), NotStored)
    stats = writer.stats()
    assert (stats.held, stats.unlogged, stats.refused, stats.degraded) == (10, 10, 3, True)
    filler.unlink()
    wait_until(lambda: settled(writer))
    assert stored(store) == ["before", "n0", "n1", "n2", "n3", "n4"]
    with store.read() as conn:
        assert conn.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    writer.close()
    store.close()


def test_a_full_disk_refuses_chats_too_where_that_is_wanted(small_disk: Path, start_writer: WriterFactory) -> None:
    url = f"sqlite:///{small_disk / 'ledger.db'}"
    migrate.upgrade(url)
    store = Store.open(url)
    writer = start_writer(store, small_disk / "spool", on_failure="refuse", patience=0.2)
    fill(small_disk)
    assert isinstance(writer.submit(chat("a"), hold=True).exception(10), NotStored)
    assert writer.stats().held == 0
    writer.close()
    store.close()


def test_a_folder_that_is_gone_is_trouble_and_its_return_ends_it(
    sqlite_store: Store, start_writer: WriterFactory, tmp_path: Path
) -> None:
    database, spool = tmp_path / "ledger.db", tmp_path.parent / f"{tmp_path.name}-spool"
    writer = start_writer(sqlite_store, spool, patience=0.2)
    assert writer.submit(unit("a")).result(10) is Kept.COMMITTED
    database.rename(tmp_path / "away.db")
    assert writer.submit(unit("b")).result(10) is Kept.SPOOLED
    assert not database.exists()
    (tmp_path / "away.db").rename(database)
    wait_until(lambda: settled(writer))
    assert stored(sqlite_store) == ["a", "b"]


def test_a_file_that_must_not_be_written_is_trouble(
    sqlite_url: str, tmp_path: Path, start_writer: WriterFactory
) -> None:
    code = f"""
        import os
        from pathlib import Path
        from core import config
        from core.spool import Spool
        from core.store import Store
        from core.unit import Row
        from core.writer import Writer
        spool = Spool.open(Path({str(tmp_path / "spool")!r}), 2**20)
        if os.geteuid() == 0:
            for path in (Path({str(tmp_path / "spool")!r}), *Path({str(tmp_path / "spool")!r}).iterdir()):
                os.chown(path, 65534, 65534)
            os.setuid(65534)
        writer = Writer(Store.open({sqlite_url!r}), spool, config.Ledger(patience=0.2))
        writer.start()
        print(writer.submit([Row("retractions", {{"feedback": "a", "created_at": 1, "key_id": "k"}})]).result(10))
        writer.close()
    """
    (tmp_path / "ledger.db").chmod(0o444)
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.stdout == "spooled\n", done.stderr
    (tmp_path / "ledger.db").chmod(0o644)
    store = Store.open(sqlite_url)
    writer = start_writer(store)
    wait_until(lambda: settled(writer))
    assert stored(store) == ["a"]
    writer.close()
    store.close()
