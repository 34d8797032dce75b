"""Blind pairs: an answer that was served, its shadow twin by a candidate, and who has compared the two.

A comparison is feedback under the name PREFERENCE on the better answer, whose tag OVER names the other one; where
neither is better, it has half the value and is on the served one.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from core import interactions
from core.schema import feedback
from core.schema import interactions as table
from core.types import Arm, Finish, Interaction, Version

PREFERENCE = "preference"
OVER = "over"
WINDOW = 500
"""The newest pairs of a candidate, among which the next one to judge is chosen."""
_WHOLE = (Finish.STOP, Finish.LENGTH)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to the same messages."""

    served: Interaction
    twin: Interaction


@dataclass(frozen=True, slots=True)
class Waiting:
    """The pair that an actor should judge next, and how many there are."""

    pair: Pair
    left: int


def find(conn: Connection, twin_id: str) -> Pair | None:
    """The pair of a shadow answer; None when there is none, or its text is not there any more."""
    twin = interactions.find(conn, twin_id)
    if twin is None or twin.arm is not Arm.SHADOW or twin.parent is None:
        return None
    served = interactions.find(conn, twin.parent)
    if served is None or not served.messages or served.reply is None or twin.reply is None:
        return None
    return Pair(served, twin)


def waiting(conn: Connection, candidate: Version, actor: str) -> Waiting | None:
    """A pair of the candidate that this actor has not judged: of those that fewest have judged, the newest."""
    twins = _comparable(conn, candidate)
    judged = _judged(conn, twins)
    open_to_actor = [twin for twin in twins if actor not in judged.get(twin, ())]
    voices = Counter({twin: len(actors) for twin, actors in judged.items()})
    for twin in sorted(open_to_actor, key=lambda twin: voices[twin]):
        if pair := find(conn, twin):
            return Waiting(pair, len(open_to_actor))
    return None


def _comparable(conn: Connection, candidate: Version) -> Mapping[str, str]:
    """The served answer of each twin, newest first. Where both said the same there is nothing to compare."""
    served = table.alias()
    # The same message after the same past is the same node.
    query = (
        select(table.c.id, served.c.id)
        .join(served, table.c.parent == served.c.id)
        .where(table.c.served == candidate, table.c.arm == Arm.SHADOW, table.c.finish.in_(_WHOLE))
        .where(table.c.reply != served.c.reply, table.c.erased_at.is_(None), served.c.erased_at.is_(None))
        .order_by(table.c.id.desc())
        .limit(WINDOW)
    )
    return {twin: answer for twin, answer in conn.execute(query)}


def _judged(conn: Connection, twins: Mapping[str, str]) -> Mapping[str, set[str]]:
    """Who has judged each twin; a judgement that was taken back counts, for nobody sees a pair twice."""
    pairs = {frozenset(pair): pair[0] for pair in twins.items()}
    answers = [*twins.keys(), *twins.values()]
    query = select(feedback.c.interaction, feedback.c.actor, feedback.c.body)
    found: dict[str, set[str]] = {}
    for row in conn.execute(query.where(feedback.c.interaction.in_(answers), feedback.c.name == PREFERENCE)):
        over = (row.body or {}).get("tags", {}).get(OVER)
        if isinstance(over, str) and (twin := pairs.get(frozenset((row.interaction, over)))):
            found.setdefault(twin, set()).add(row.actor)
    return found
