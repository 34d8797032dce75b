"""The one thread of a process that waits for the database, so that nobody else has to.

It tries one batch of units at a time. Whoever ordered the attempt may stop waiting for it and keep the rows elsewhere:
inserting a row twice is harmless, so a commit that comes through after all does no damage.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

from sqlalchemy import Connection, Table, exc

from core import conversation
from core.errors import Unavailable
from core.schema import metadata, nodes
from core.store import Store, insert_new, is_trouble
from core.unit import Unit

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.1

Refusals = Sequence[str | None]
"""For each unit None, or the reason why the database refuses it."""

log = logging.getLogger(__name__)


class Attempt:
    """The commit of some units. It is settled once: by the thread that commits, or by who gives up waiting."""

    def __init__(
        self, units: Sequence[Unit], settle: Callable[[Refusals], None] | None = None, *, patient: bool = True
    ) -> None:
        self.units = units
        self.patient = patient
        self.seconds = 0.0
        self.refusals: Refusals | None = None
        self.trouble: str | None = None
        self._settle = settle
        self._claim = threading.Lock()
        self._ended = threading.Event()
        self._given_up = threading.Event()

    def wait(self, seconds: float | None = None) -> bool:
        """Whether the attempt ended within `seconds`."""
        return self._ended.wait(seconds)

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    @property
    def committed(self) -> bool:
        return self.refusals is not None

    def give_up(self) -> bool:
        """Stop waiting; False when the commit was quicker, whose units are settled or about to be."""
        self._given_up.set()
        return self._claim.acquire(blocking=False)

    def run(self, store: Store) -> None:
        """Commit and settle; a patient attempt tries again until given up. For the committing thread alone."""
        started, pause = time.monotonic(), FIRST_PAUSE
        try:
            while True:
                try:
                    self.refusals = commit(store, self.units, self._still_wanted)
                    break
                except _GivenUp:
                    break
                except Unavailable as error:
                    self.trouble = error.message
                if not self.patient or self._given_up.wait(pause):
                    break
                pause = min(2 * pause, LONGEST_PAUSE)
            self.seconds = time.monotonic() - started
            if self.refusals is not None and self._claim.acquire(blocking=False) and self._settle:
                self._settle(self.refusals)
        finally:
            self._ended.set()

    def _still_wanted(self) -> None:
        # Whoever was told that a row is not stored should not meet it later.
        if self._given_up.is_set():
            raise _GivenUp


class _GivenUp(Exception):
    """Undoes a transaction that nobody waits for any more."""


class Committer:
    """Runs attempts in the order in which they come, in a thread that never outlives the process."""

    def __init__(self, store: Store, ended: Callable[[], None]) -> None:
        self._store = store
        self._ended = ended
        self._inbox: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ledger-committer", daemon=True)

    def begin(self, attempt: Attempt) -> None:
        """Start an attempt; the one before must have ended."""
        if not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="ledger-committer", daemon=True)
            self._thread.start()
        self._inbox.put(attempt)

    def stop(self, seconds: float) -> None:
        """End the thread; one that is stuck in the database is left behind after `seconds`."""
        if self._thread.is_alive():
            self._inbox.put(None)
            self._thread.join(seconds)

    def _run(self) -> None:
        while (attempt := self._inbox.get()) is not None:
            try:
                attempt.run(self._store)
            finally:
                self._ended()


def commit(store: Store, units: Sequence[Unit], last_check: Callable[[], None] = lambda: None) -> Refusals:
    """Insert all units in one transaction, save those that the database refuses. Raises Unavailable.

    `last_check` may raise, right before the commit, to undo it all.
    """
    try:
        with store.write() as conn:
            _insert(conn, units)
            last_check()
    except (exc.SQLAlchemyError, TypeError, ValueError, OverflowError) as error:
        if len(units) == 1:
            return [_reason(error)]
    else:
        return [None] * len(units)
    with store.write() as conn:
        refusals = [_insert_alone(conn, unit) for unit in units]
        last_check()
    return refusals


def _insert_alone(conn: Connection, unit: Unit) -> str | None:
    try:
        with conn.begin_nested():
            _insert(conn, [unit])
    except (exc.SQLAlchemyError, TypeError, ValueError, OverflowError) as error:
        if is_trouble(error):
            raise
        return _reason(error)
    return None


def _insert(conn: Connection, units: Sequence[Unit]) -> None:
    batches: dict[tuple[str, tuple[str, ...]], list[dict[str, object]]] = {}
    for unit in units:
        for row in unit:
            batches.setdefault((row.table, tuple(row.values)), []).append(dict(row.values))
    # Everyone inserts in the same order, so that two PostgreSQL transactions never wait for each other in a circle.
    for (name, columns), rows in sorted(batches.items(), key=lambda batch: batch[0]):
        table = _table(name, columns)
        key = [column.name for column in table.primary_key]
        insert = conversation.keep if table is nodes else partial(insert_new, table=table)
        insert(conn, rows=sorted(rows, key=lambda row: [str(row.get(column)) for column in key]))


@lru_cache
def _table(name: str, columns: tuple[str, ...]) -> Table:
    if name not in metadata.tables:
        raise ValueError(f"there is no table {name}")
    table = metadata.tables[name]
    # SQLAlchemy would leave an unknown column out without a word.
    if unknown := set(columns) - set(table.columns.keys()):
        raise ValueError(f"the table {name} has no column {', '.join(sorted(unknown))}")
    return table


def _reason(error: Exception) -> str:
    # The statement and its values stay out: they hold what people wrote.
    cause = error.orig if isinstance(error, exc.StatementError) and error.orig else error
    return f"{type(cause).__name__}: {str(cause).strip().partition(chr(10))[0]}"
