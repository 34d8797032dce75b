"""What was asked in a call: the words of the last message, where a person wrote it, read from their node of the tree.

The conversation before them says the same again in every turn, so it is left out, as are an operator's instructions.
What was erased or never stored is not there. Knows no statistics.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from core.schema import interactions, nodes
from core.types import JsonObject, Subject
from monitoring.shadow.questions import text_of

AT_ONCE = 500
MOST = 10_000
"""Characters of a text that count."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What a subject asked in one call, the id of which is that of the answer."""

    id: str
    subject: Subject
    text: str


def read(conn: Connection, ids: Sequence[str]) -> Sequence[Turn]:
    """The turns of these calls, in their order; those without words are left out."""
    found = {
        turn.id: turn for start in range(0, len(ids), AT_ONCE) for turn in _read(conn, ids[start : start + AT_ONCE])
    }
    return [found[each] for each in ids if each in found]


def _read(conn: Connection, ids: Sequence[str]) -> Iterable[Turn]:
    query = (
        select(interactions.c.id, interactions.c.subject, nodes.c.body)
        .join(nodes, nodes.c.id == interactions.c.prompt)
        .where(interactions.c.id.in_(ids), interactions.c.stored, nodes.c.body.is_not(None))
    )
    for row in conn.execute(query):
        if text := asked(row.body):
            yield Turn(row.id, Subject(row.subject), text)


def asked(message: JsonObject) -> str | None:
    """The words of a person's message; None for another's, or for one that is not text or blank."""
    if message.get("role") != "user":
        return None
    text = text_of(message.get("content"))
    return text[:MOST] if text and text[:MOST].strip() else None
