"""The store: what each connection promises, short transactions, trouble that has one name."""

import sqlite3
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select

from core.errors import SetupError, Unavailable
from core.schema import metadata, retractions
from core.store import PRAGMAS, Store, insert_new, network_filesystem


def row(name: str, key: str = "k") -> dict[str, object]:
    return {"feedback": name, "created_at": 1, "key_id": key}


def names(store: Store) -> set[str]:
    with store.read() as conn:
        return set(conn.scalars(select(retractions.c.feedback)))


def test_a_write_is_there_for_the_next_read(store: Store) -> None:
    with store.write() as conn:
        insert_new(conn, retractions, [row("a"), row("b")])
    assert names(store) == {"a", "b"}


def test_an_error_undoes_the_whole_write(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.write() as conn:
        insert_new(conn, retractions, [row("a")])
        raise ZeroDivisionError
    assert names(store) == set()


def test_a_row_whose_key_is_there_changes_nothing(store: Store) -> None:
    for key in ("first", "second"):
        with store.write() as conn:
            insert_new(conn, retractions, [row("a", key), row("b", key)])
    with store.read() as conn:
        assert set(conn.scalars(select(retractions.c.key_id))) == {"first"}


def test_no_rows_is_no_statement(store: Store) -> None:
    with store.write() as conn:
        insert_new(conn, retractions, [])
    assert names(store) == set()


def test_a_read_cannot_write(store: Store) -> None:
    with pytest.raises(Exception, match=r"read-?only"), store.read() as conn:
        conn.execute(retractions.delete())


def test_a_connection_that_read_can_write_next(store: Store) -> None:
    for name in "ab":
        assert name not in names(store)
        with store.write() as conn:
            insert_new(conn, retractions, [row(name)])


def test_a_read_sees_one_snapshot_while_others_write(store: Store) -> None:
    count = select(func.count()).select_from(retractions)
    with store.read() as conn:
        before = conn.scalar(count)
        with store.write() as other:
            insert_new(other, retractions, [row("a")])
        assert conn.scalar(count) == before
    assert names(store) == {"a"}


def test_forty_threads_read_at_once_and_none_starves(store: Store) -> None:
    barrier, finished = threading.Barrier(40 if store.engine.dialect.name == "sqlite" else 16), []

    def read() -> None:
        with store.read() as conn:
            barrier.wait(20)
            finished.append(conn.scalar(select(func.count()).select_from(retractions)))

    threads = [threading.Thread(target=read) for _ in range(barrier.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert finished == [0] * barrier.parties


def test_every_sqlite_connection_has_full_synchronous_and_the_write_ahead_log(sqlite_url: str) -> None:
    store = Store.open(sqlite_url)
    held = [store.engine.connect() for _ in range(12)]
    for conn in held:
        answers = {name: conn.exec_driver_sql(f"PRAGMA {name}").scalar() for name in PRAGMAS}
        assert answers == dict(PRAGMAS)
        assert answers["synchronous"] == 2
        conn.close()
    store.close()


def test_a_sqlite_write_takes_the_lock_at_its_start(sqlite_url: str) -> None:
    store = Store.open(sqlite_url)
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), timeout=0, isolation_level=None)
    with store.write(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.close()
    store.close()


def test_a_locked_sqlite_file_is_unavailable_and_says_so(sqlite_url: str) -> None:
    store = Store.open(sqlite_url)
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    with pytest.raises(Unavailable, match="locked"), store.write():
        pass
    assert 4 < time.monotonic() - started < 8
    assert names(store) == set()
    other.close()
    store.close()


def test_a_missing_sqlite_file_is_not_made_anew(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    with pytest.raises(Unavailable, match="unable to open"), store.write():
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_sqlite_file_that_was_moved_away_takes_no_more_rows(sqlite_url: str, tmp_path: Path) -> None:
    store, path = Store.open(sqlite_url), tmp_path / "ledger.db"
    with store.write() as conn:
        insert_new(conn, retractions, [row("a")])
    path.rename(tmp_path / "elsewhere.db")
    for _ in range(2):
        with pytest.raises(Unavailable), store.write() as conn:
            insert_new(conn, retractions, [row("lost")])
    (tmp_path / "elsewhere.db").rename(path)
    assert names(store) == {"a"}
    store.close()


def test_a_damaged_sqlite_file_is_unavailable(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"no database" * 1000)
    with pytest.raises(Unavailable, match="not a database"), Store.open(sqlite_url).read():
        pass


@pytest.mark.postgres
def test_a_postgres_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="connection"), Store.open(f"postgresql://x@/y?host={tmp_path}").read():
        pass


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://u@h/d", "nonsense", ""])
def test_an_address_of_another_kind_is_refused_with_the_kinds_that_work(url: str) -> None:
    with pytest.raises(SetupError, match=r"postgresql\+psycopg://"):
        Store.open(url)


def test_a_refused_address_shows_no_password() -> None:
    with pytest.raises(SetupError) as caught:
        Store.open("mysql://user:hunter2@host/db")
    assert "hunter2" not in str(caught.value)


def test_a_network_disk_is_recognised_by_the_nearest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "d / ext4 rw 0 0\nhost:/x /net nfs4 rw 0 0\nd /net/local ext4 rw 0 0\nh:/y /a\\040b cifs rw 0 0\n"
    )
    kinds = {
        path: network_filesystem(Path(path), mounts) for path in ("/", "/net/x", "/net/local/x", "/a b/c", "/netx")
    }
    assert kinds == {"/": None, "/net/x": "nfs4", "/net/local/x": None, "/a b/c": "cifs", "/netx": None}


def test_every_table_of_the_schema_is_there(store: Store) -> None:
    with store.read() as conn:
        for table in metadata.sorted_tables:
            assert conn.scalar(select(func.count()).select_from(table)) == 0
