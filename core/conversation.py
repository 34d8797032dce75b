"""Conversations as a tree of messages, each stored once under its subject: n turns cost n nodes, however often the
client sends the whole past again. Knows how to grow a branch, how to keep its nodes and how to read one back.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Insert, RowMapping, select
from sqlalchemy.dialects import postgresql, sqlite

from core.schema import nodes
from core.secret import Secret
from core.types import JsonObject, Subject

LEAVES_AT_ONCE = 500

Branch = Sequence[JsonObject]


def grow(
    secret: Secret, subject: Subject, parent: str | None, messages: Iterable[JsonObject]
) -> Iterator[tuple[str, str | None, JsonObject]]:
    """Each message with its node's id and its parent's, from `parent` on. Raises TypeError for what JSON lacks."""
    for message in messages:
        node = secret.node(subject, parent, message)
        yield node, parent, message
        parent = node


def keep(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write nodes down; one that is there stays as it is, one that was erased and is said again comes back."""
    if rows:
        conn.execute(_keep(conn.dialect.name), [dict(row) for row in rows])


@lru_cache
def _keep(dialect: str) -> Insert:
    insert = sqlite.insert(nodes) if dialect == "sqlite" else postgresql.insert(nodes)
    anew = {name: insert.excluded[name] for name in ("created_at", "body", "erased_at")}
    return insert.on_conflict_do_update(index_elements=[nodes.c.id], set_=anew, where=nodes.c.erased_at.is_not(None))


def read(conn: Connection, leaves: Iterable[str]) -> Mapping[str, Branch]:
    """For each leaf the messages from the first one to it; erased ones are left out."""
    wanted = sorted(set(leaves))
    found = {row["id"]: row for row in ancestry(conn, wanted)}
    return {leaf: _branch(found, leaf) for leaf in wanted}


def ancestry(conn: Connection, leaves: Sequence[str]) -> Iterator[RowMapping]:
    """The nodes from which these leaves grow, themselves included; each once for every 500 leaves."""
    for start in range(0, len(leaves), LEAVES_AT_ONCE):
        chain = (
            select(nodes.c.id, nodes.c.parent)
            .where(nodes.c.id.in_(leaves[start : start + LEAVES_AT_ONCE]))
            .cte("chain", recursive=True)
        )
        # UNION, not UNION ALL: branches that share their past walk it once.
        chain = chain.union(select(nodes.c.id, nodes.c.parent).join(chain, nodes.c.id == chain.c.parent))
        query = select(nodes.c.id, nodes.c.parent, nodes.c.body).join(chain, nodes.c.id == chain.c.id)
        yield from conn.execute(query).mappings()


def _branch(found: Mapping[str, RowMapping], leaf: str) -> Branch:
    messages: list[JsonObject] = []
    at: str | None = leaf
    while at is not None and at in found:
        if found[at]["body"] is not None:
            messages.append(found[at]["body"])
        at = found[at]["parent"]
    return messages[::-1]
