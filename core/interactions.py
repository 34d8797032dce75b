"""Interactions as rows: written with their messages as a branch of the tree, read back whole, one or by the page."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import orjson
from sqlalchemy import ColumnElement, Connection, RowMapping, Select, func, not_, select

from core import conversation
from core.errors import BadRequest
from core.ids import encode
from core.page import Page
from core.schema import interactions
from core.types import Arm, Finish, Interaction, JsonObject, Subject, Version

MEASUREMENT = ("purpose", "measurement")
"""The tag of calls that only measure: they are never mirrored, scored, compared or learned from."""
_PLAIN = [f.name for f in fields(Interaction) if f.name not in ("messages", "reply")]


@dataclass(frozen=True, slots=True)
class InteractionFilter:
    """Which interactions to list; what is None does not matter.

    `since` (inclusive) and `until` (exclusive) are microseconds, compared with the time in the id, which counts
    milliseconds. `tag` is a name and the value it must have.
    """

    subject: Subject | None = None
    served: Version | None = None
    arm: Arm | None = None
    finish: Finish | None = None
    key_id: str | None = None
    experiment: str | None = None
    parent: str | None = None
    since: int | None = None
    until: int | None = None
    tag: tuple[str, str] | None = None

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """As SQL. Raises BadRequest for a text that cannot be searched for."""
        for name in ("subject", "served", "arm", "finish", "key_id", "experiment", "parent"):
            value = getattr(self, name)
            if value is not None:
                yield interactions.c[name] == _searchable(name, value)
        if self.since is not None:
            yield interactions.c.id >= _first_id(self.since)
        if self.until is not None:
            yield interactions.c.id < _first_id(self.until)
        if self.tag is not None:
            yield _tagged(*self.tag)


def measures(interaction: Interaction) -> bool:
    """Whether a call only measured."""
    name, value = MEASUREMENT
    return interaction.tags.get(name) == value


def not_measuring() -> ColumnElement[bool]:
    """As SQL: calls without the tag of a measurement."""
    return not_(_tagged(*MEASUREMENT))


def values(interaction: Interaction, prompt: str | None, reply: str | None) -> dict[str, object]:
    """The row of an interaction whose messages end at the node `prompt` and whose answer is the node `reply`.

    An interaction that the client asked not to store keeps no text: of its parameters only numbers and switches.
    """
    row: dict[str, object] = {name: getattr(interaction, name) for name in _PLAIN}
    row |= {"prompt": prompt, "reply": reply, "erased_at": None}
    # Others write these words, and PostgreSQL refuses this character.
    row["error"] = interaction.error and interaction.error.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if not interaction.stored:
        row["params"] = {k: v for k, v in interaction.params.items() if isinstance(v, int | float)}
        row["tags"] = {}
    return row


def find(conn: Connection, interaction_id: str) -> Interaction | None:
    """One interaction with its messages."""
    if not interaction_id.isalnum():
        return None
    rows = conn.execute(select(interactions).where(interactions.c.id == interaction_id)).mappings().all()
    return next(iter(_whole(conn, rows)), None)


def find_all(conn: Connection, interaction_ids: Collection[str]) -> Mapping[str, Interaction]:
    """Those of these interactions that there are, with their messages, by id."""
    rows = conn.execute(select(interactions).where(interactions.c.id.in_(interaction_ids))).mappings().all()
    return {interaction.id: interaction for interaction in _whole(conn, rows)}


def page(conn: Connection, wanted: InteractionFilter, before: str | None, limit: int) -> Page[Interaction]:
    """Up to `limit` interactions older than the cursor, newest first."""
    rows = conn.execute(query(wanted, before, limit + 1)).mappings().all()
    items = list(_whole(conn, rows[:limit]))
    return Page(items, items[-1].id if len(rows) > limit else None)


def stands(conn: Connection, interaction_id: str) -> bool:
    """Whether there is such an interaction and it was not erased."""
    there = interactions.c.id == interaction_id, interactions.c.erased_at.is_(None)
    return conn.execute(select(interactions.c.id).where(*there)).first() is not None


def served(conn: Connection, reply: str) -> Version | None:
    """The version that said what the node `reply` holds, to a client; the latest one, if several did."""
    said = interactions.c.reply == reply, interactions.c.arm != Arm.SHADOW
    order = interactions.c.id.desc()
    return conn.scalar(select(interactions.c.served).where(*said).order_by(order).limit(1))


def query(wanted: InteractionFilter, before: str | None, limit: int) -> Select[tuple[object, ...]]:
    """The statement behind `page`; every filter goes with an index that is in the order of the ids."""
    conditions = list(wanted.conditions())
    if before is not None:
        conditions.append(interactions.c.id < _searchable("before", before))
    return select(interactions).where(*conditions).order_by(interactions.c.id.desc()).limit(limit)


def _whole(conn: Connection, rows: Sequence[RowMapping]) -> Iterable[Interaction]:
    leaves = [leaf for row in rows for leaf in (row["prompt"], row["reply"]) if leaf]
    branches = conversation.read(conn, leaves)
    for row in rows:
        messages = branches.get(row["prompt"], ())
        with_reply = branches.get(row["reply"], ())
        yield _interaction(row, messages, with_reply[-1] if len(with_reply) > len(messages) else None)


def _interaction(row: RowMapping, messages: Sequence[JsonObject], reply: JsonObject | None) -> Interaction:
    plain = {name: row[name] for name in _PLAIN}
    plain |= {"arm": Arm(row["arm"]), "finish": Finish(row["finish"])}
    return Interaction(**plain, messages=messages, reply=reply)


def _tagged(name: str, value: str) -> ColumnElement[bool]:
    # Tags are flat JSON in one canonical spelling, in which quotes inside of texts are escaped: searching the text
    # finds exactly this pair, on both databases, case included.
    pair = orjson.dumps({_searchable("tag", name): _searchable("tag", value)}).decode()[1:-1]
    return func.replace(interactions.c.tags, pair, "") != interactions.c.tags


def _first_id(micros: int) -> str:
    millis = -(-micros // 1000)
    return encode(min(max(millis, 0), 2**48 - 1) << 80)


def _searchable(name: str, text: str) -> str:
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise BadRequest(f"{name} holds a character that no stored value can have.", param=name)
    return text
