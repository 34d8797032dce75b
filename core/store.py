"""The door to the database: short read and write transactions on SQLite or PostgreSQL.

Knows the manners of both databases and no table. A read sees one snapshot and cannot write. A write on SQLite takes
the lock at its start (a transaction that reads first and writes later is refused under load) and is on the disk when it
commits. Trouble with the database, of any kind, is Unavailable; a refused row or statement keeps SQLAlchemy's error.
"""

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Insert, Table, create_engine, event, exc
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from core.errors import SetupError, Unavailable

BUSY_SECONDS = 5
POOL_SECONDS = 5
FOLD_MILLISECONDS = 100
WAL_LIMIT = 64 * 2**20
PRAGMAS: Mapping[str, str | int] = {
    "journal_mode": "wal",
    "synchronous": 2,
    "busy_timeout": BUSY_SECONDS * 1000,
    "journal_size_limit": WAL_LIMIT,
    "secure_delete": 1,
}
"""What every SQLite connection must answer; synchronous = FULL holds for one connection only, so each is asked.

What is deleted or overwritten is filled with zeros, so that erased words are not left in the file.
"""

POSTGRES_DEFAULTS: Mapping[str, str | int] = {
    "application_name": "hone",
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""A server that vanished is noticed within about ten seconds; the address in the settings may say otherwise."""

NETWORK_FILESYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "fuse.sshfs"})


class Store:
    """A database that `core.migrate.upgrade` prepared. Threads share it; each transaction has its own connection."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writer: Engine = engine
        if engine.dialect.name == "sqlite":
            self._reader = engine.execution_options(hone_begin="BEGIN")
            self._writer = engine.execution_options(hone_begin="BEGIN IMMEDIATE")
        else:
            self._reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @classmethod
    def open(cls, url: str, *, create: bool = False) -> "Store":
        """The database at a SQLAlchemy address; connects at the first transaction. `create` makes a missing file.

        Raises SetupError for an address of another kind and for a SQLite file on a network disk.
        """
        address = _address(url)
        if address.drivername == "sqlite":
            return cls(_sqlite(Path(str(address.database)).absolute(), create))
        return cls(_postgresql(address))

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one snapshot. Keep it short. Raises Unavailable."""
        with _translated(), self._reader.connect() as conn, conn.begin():
            yield conn

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits at the end of the block and is undone by an error. Raises Unavailable."""
        with _translated(), self._writer.connect() as conn, conn.begin():
            yield conn

    def fold(self) -> None:
        """Fold SQLite's log into the file and empty it: what was overwritten is in neither. Nothing on PostgreSQL.

        Raises Unavailable when others' transactions keep it from that for `BUSY_SECONDS`.
        """
        if self.engine.dialect.name == "sqlite":
            with _translated(), closing(self.engine.raw_connection()) as conn:
                _fold(conn.driver_connection)

    def close(self) -> None:
        """Close the idle connections."""
        self.engine.dispose()


def insert_new(conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all carry the same columns; a row whose key is there already changes nothing."""
    if rows:
        conn.execute(_insert(table, conn.dialect.name), [dict(row) for row in rows])


@lru_cache
def _insert(table: Table, dialect: str) -> Insert:
    if dialect == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


def is_trouble(error: Exception) -> bool:
    """Whether an error means that the database does not work, rather than that a statement or row is wrong."""
    # SQLite's bare errors come from opening a connection or a transaction.
    if isinstance(error, exc.OperationalError | exc.InternalError | exc.TimeoutError | sqlite3.Error):
        return True
    # A damaged file is a bare DatabaseError; a lost connection may come as any kind of error.
    return isinstance(error, exc.DBAPIError) and (error.connection_invalidated or type(error) is exc.DatabaseError)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (exc.SQLAlchemyError, sqlite3.Error) as error:
        if is_trouble(error):
            raise _unavailable(error) from error
        raise


def _unavailable(error: Exception) -> Unavailable:
    cause = str(error.orig if isinstance(error, exc.DBAPIError) else error).strip().partition("\n")[0]
    return Unavailable(f"The ledger's database does not work just now ({cause}); try again.", retry_after=1)


def _address(url: str) -> URL:
    try:
        address = make_url(url)
    except exc.ArgumentError:
        raise SetupError("ledger.url is not a database address such as postgresql+psycopg://user@host/hone.") from None
    kind = address.drivername.partition("+")[0]
    if kind == "sqlite" and address.database not in (None, "", ":memory:"):
        return address.set(drivername="sqlite")
    if kind in ("postgresql", "postgres"):
        return address.set(drivername="postgresql+psycopg")
    raise SetupError(
        f"ledger.url names {address.render_as_string(hide_password=True)}; Hone keeps its ledger in an SQLite file "
        "(sqlite:////folder/ledger.db) or in PostgreSQL (postgresql+psycopg://user@host/hone)."
    )


def _postgresql(address: URL) -> Engine:
    arguments = {name: value for name, value in POSTGRES_DEFAULTS.items() if name not in address.query}
    return create_engine(
        address,
        connect_args=arguments,
        pool_pre_ping=True,
        pool_size=4,
        max_overflow=12,
        pool_timeout=POOL_SECONDS,
    )


def _sqlite(path: Path, create: bool) -> Engine:
    if kind := network_filesystem(path.parent, Path("/proc/self/mounts")):
        raise SetupError(
            f"The ledger {path} lies on a network disk ({kind}), where SQLite loses rows; "
            "set HONE_DATA to a local folder, or ledger.url to a PostgreSQL database."
        )
    engine = create_engine(
        "sqlite://",
        creator=lambda: _connect(path, create),
        poolclass=QueuePool,
        # A waiting thread is worse than one file handle more: the overflow covers a full thread pool.
        pool_size=4,
        max_overflow=60,
        pool_timeout=POOL_SECONDS,
    )
    event.listen(engine, "connect", lambda dbapi, entry: _remember(path, entry))
    event.listen(engine, "begin", lambda conn: _begin(conn, path))
    return engine


def _connect(path: Path, create: bool) -> sqlite3.Connection:
    # A missing file must not come back empty, or rows would go where nobody looks.
    address = f"{path.as_uri()}?mode={'rwc' if create else 'rw'}"
    connection = sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    _use_wal(connection)
    for name, value in PRAGMAS.items():
        if name != "journal_mode":
            connection.execute(f"PRAGMA {name} = {value}")
        answer = connection.execute(f"PRAGMA {name}").fetchone()[0]
        if answer != value:
            raise SetupError(f"SQLite refuses {name} = {value} for {path} (it says {answer}); use a local disk.")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log; the file remembers it. SQLite does not wait by itself when others switch too."""
    deadline = time.monotonic() + BUSY_SECONDS
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = wal")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _fold(connection: DBAPIConnection | None) -> None:
    deadline = time.monotonic() + BUSY_SECONDS
    try:
        # While it waits nobody can write, so it waits little and tries again.
        _execute(connection, f"PRAGMA busy_timeout = {FOLD_MILLISECONDS}")
        while _execute(connection, "PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            if time.monotonic() > deadline:
                raise Unavailable("Others' reading keeps erased words in SQLite's log; try again.", retry_after=1)
            time.sleep(0.01)
    finally:
        _execute(connection, f"PRAGMA busy_timeout = {PRAGMAS['busy_timeout']}")


def _remember(path: Path, entry: ConnectionPoolEntry) -> None:
    entry.info["file"] = _identity(path)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _begin(conn: Connection, path: Path) -> None:
    """Start the transaction; refuse to go on in a file that was moved or removed, where rows would be lost."""
    driver = conn.connection.driver_connection
    mode = conn.get_execution_options().get("hone_begin", "BEGIN IMMEDIATE")
    if conn.info["file"] != _identity(path):
        conn.invalidate()
        raise Unavailable(f"The ledger {path} was moved or removed while in use; put it back.", retry_after=1)
    _execute(driver, f"PRAGMA query_only = {int(mode == 'BEGIN')}")
    _execute(driver, mode)


def _execute(connection: DBAPIConnection | None, statement: str) -> sqlite3.Cursor:
    if not isinstance(connection, sqlite3.Connection):
        raise Unavailable("The connection to the ledger is gone; try again.", retry_after=1)
    return connection.execute(statement)


def network_filesystem(folder: Path, mounts: Path) -> str | None:
    """The kind of network disk that holds `folder`, by a table like /proc/self/mounts; None for a local one."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    fields = [line.split(" ") for line in lines]
    places = [(place.replace("\\040", " "), kind) for _, place, kind, *_ in fields]
    holders = [(len(place), kind) for place, kind in places if folder.resolve().is_relative_to(place)]
    kind = max(holders, key=lambda holder: holder[0], default=(0, ""))[1]
    return kind if kind in NETWORK_FILESYSTEMS else None
