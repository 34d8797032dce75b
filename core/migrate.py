"""Brings a database to the schema of this code: Alembic, run in one transaction under a lock.

Several processes may call `upgrade` at once; one works and the others find it done.
"""

from pathlib import Path

from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from core.errors import SetupError
from core.store import Store

FOLDER = Path(__file__).parent / "migrations"
LOCK = 0x484F4E4D
"""The advisory lock of PostgreSQL under which one process migrates."""


def upgrade(url: str) -> None:
    """Create or bring up to date the database at `url`; a SQLite file is made if need be.

    Raises SetupError when the database is newer than this code, Unavailable when it does not answer.
    """
    store = Store.open(url, create=True)
    try:
        with store.write() as conn:
            if conn.dialect.name == "postgresql":
                conn.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            _upgrade(conn)
    finally:
        store.close()


def revision(url: str) -> str | None:
    """The database's revision; None when it was never migrated. Raises Unavailable when there is no database."""
    store = Store.open(url)
    try:
        with store.read() as conn:
            return MigrationContext.configure(conn).get_current_revision()
    finally:
        store.close()


def head() -> str:
    """The revision that this code needs."""
    return str(_scripts().get_current_head())


def check_known(current: str | None) -> None:
    """Raise SetupError for a revision that this code has never heard of."""
    known = {script.revision for script in _scripts().walk_revisions()}
    if current is not None and current not in known:
        raise SetupError(
            f"The ledger is at revision {current[:32]}, which this version of Hone does not know (newest: {head()}); "
            "install the version that wrote it, or restore a backup from before."
        )


def _upgrade(conn: Connection) -> None:
    scripts = _scripts()
    current = MigrationContext.configure(conn).get_current_revision()
    check_known(current)
    if current == scripts.get_current_head():
        return
    context = MigrationContext.configure(
        conn, opts={"fn": lambda rev, _: scripts._upgrade_revs("head", rev), "script": scripts}
    )
    with Operations.context(context):
        context.run_migrations()


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(FOLDER, version_locations=[FOLDER])
