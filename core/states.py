"""Small documents under a name that processes keep between two looks, or publish for one another. Last write wins."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update

from core.schema import states as table
from core.store import insert_new
from core.types import JsonObject

YIELD = "yield"
"""What training could make of the ledger now."""
ACKNOWLEDGED = "acknowledged"
"""When an operator dealt with the alarms."""
TRIGGERS = "triggers"
"""What is armed, and what it waits for."""


@dataclass(frozen=True, slots=True)
class State:
    """A document and when it was written, in microseconds."""

    body: JsonObject
    updated_at: int


def read(conn: Connection, name: str) -> State | None:
    """The document under a name."""
    row = conn.execute(select(table).where(table.c.name == name)).one_or_none()
    return State(row.body, row.updated_at) if row else None


def under(conn: Connection, prefix: str) -> Mapping[str, State]:
    """All documents whose names begin with `prefix`."""
    rows = conn.execute(select(table).where(table.c.name.startswith(prefix, autoescape=True)).order_by(table.c.name))
    return {row.name: State(row.body, row.updated_at) for row in rows}


def put(conn: Connection, name: str, body: JsonObject, at: int) -> None:
    """Write a document in the place of the one before."""
    values = {"body": body, "updated_at": at}
    if conn.execute(update(table).where(table.c.name == name).values(**values)).rowcount == 0:
        insert_new(conn, table, [{"name": name, **values}])


def drop(conn: Connection, prefix: str) -> None:
    """Forget all documents whose names begin with `prefix`."""
    conn.execute(delete(table).where(table.c.name.startswith(prefix, autoescape=True)))
