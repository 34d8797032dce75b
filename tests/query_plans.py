"""How SQLite goes about what is asked of it: the statements of a stretch of code, and the plan of each."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from core.store import Store

GROWING = ("interactions", "scores", "feedback", "nodes")
"""Tables that grow with the traffic."""


@contextmanager
def statements(store: Store) -> Iterator[list[tuple[str, Any]]]:
    """What is asked of the database meanwhile, with the values."""
    asked: list[tuple[str, Any]] = []

    def note(conn: object, cursor: object, statement: str, parameters: object, *rest: object) -> None:
        asked.append((statement, parameters))

    event.listen(store.engine, "before_cursor_execute", note)
    yield asked
    event.remove(store.engine, "before_cursor_execute", note)


def plans(store: Store, asked: Sequence[tuple[str, Any]]) -> Mapping[str, Sequence[str]]:
    """The steps of each statement that reads a table of GROWING."""
    reading = {text: values for text, values in asked if text.startswith(("SELECT", "WITH"))}
    with store.read() as conn:
        return {
            text: [row.detail for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)]
            for text, values in reading.items()
            if not set(GROWING).isdisjoint(text.replace(",", " ").split())
        }
