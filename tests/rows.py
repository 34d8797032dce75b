"""Small rows for tests of the way into the ledger, and what became of them."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import select

from core.schema import nodes, retractions
from core.store import Store
from core.unit import Row, Unit
from core.writer import Writer


def unit(name: str) -> Unit:
    """A row that says `name`."""
    return [Row("retractions", {"feedback": name, "created_at": 1, "key_id": "k"})]


def chat(name: str) -> Unit:
    """Two rows that belong together, the first with a text."""
    body = {"role": "user", "content": f"words of {name} \0 \U0001f600"}
    node = {"id": name, "subject": "s", "parent": None, "created_at": 1, "body": body, "erased_at": None}
    return [Row("nodes", node), *unit(name)]


def stored(store: Store) -> list[str]:
    """The names of all rows, in order."""
    with store.read() as conn:
        return list(conn.scalars(select(retractions.c.feedback).order_by(retractions.c.feedback)))


def bodies(store: Store) -> dict[str, object]:
    with store.read() as conn:
        return {row.id: row.body for row in conn.execute(select(nodes.c.id, nodes.c.body))}


def settled(writer: Writer) -> bool:
    """Whether the database works again and nothing waits any more."""
    stats = writer.stats()
    return not (stats.degraded or stats.spool_bytes or stats.held or stats.queued)


def wait_until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the condition did not come true")
        time.sleep(0.01)


def lock(folder: Path) -> sqlite3.Connection:
    """Another process's write that does not end."""
    other = sqlite3.connect(folder / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other
