"""Whose word is asked for: whether more ratings than usual are wanted now, and the answers drawn for reviewers.

A draw keeps the probability that it had, so that what is said of the chosen can be weighed back to all. What makes an
answer worth asking about is not known here.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

from sqlalchemy import Connection, ScalarSelect, exists, func, insert, select

from core import states
from core.interactions import not_measuring
from core.schema import asks as table
from core.schema import feedback, interactions, scores
from core.store import Store
from core.types import Arm, Finish, Role, Version

STATE = "asking"
"""Where the conductor says whether more ratings are wanted, and why."""
WINDOW = 1000
"""The newest answers of the champion, among which one is drawn for a reviewer."""
LATEST = 10
"""A reviewer's last draws, among which one that was not answered is looked for."""
_ARMS = (Arm.CHAMPION, Arm.PINNED)
_WHOLE = (Finish.STOP, Finish.LENGTH)


@dataclass(frozen=True, slots=True)
class Draw:
    """An answer that a reviewer was asked about, with the probability of drawing it and what spoke for it most."""

    id: str
    created_at: int
    interaction: str
    actor: str
    propensity: float
    reason: str


@dataclass(frozen=True, slots=True)
class Unreviewed:
    """An answer that no reviewer has seen: its confidence, if it was scored, and whether its shadow twin differs."""

    id: str
    created_at: int
    score: float | None
    contradicted: bool


def wants_more(store: Store) -> bool:
    """Whether ratings are worth more than usual now. Raises Unavailable."""
    with store.read() as conn:
        state = states.read(conn, STATE)
    return state is not None and state.body.get("more") is True


def waiting(conn: Connection, actor: str, metric: str) -> Draw | None:
    """The answer that this reviewer was asked about last and has not rated by the metric; None when there is none."""
    last = select(table).where(table.c.actor == actor).order_by(table.c.id.desc()).limit(LATEST).subquery()
    said = feedback.c.interaction == last.c.interaction, feedback.c.actor == actor, feedback.c.name == metric
    there = interactions.c.id == last.c.interaction, interactions.c.erased_at.is_(None)
    query = select(last).where(~exists().where(*said), exists().where(*there)).order_by(last.c.id).limit(1)
    row = conn.execute(query).one_or_none()
    return Draw(**{field.name: getattr(row, field.name) for field in fields(Draw)}) if row else None


def unreviewed(conn: Connection, champion: Version, metric: str, confidence: str) -> Sequence[Unreviewed]:
    """The newest answers of the champion that no reviewer has rated by the metric or was asked about.

    `confidence` is the name of the score that says how sure the version was.
    """
    last = (
        select(interactions.c.id, interactions.c.created_at, interactions.c.reply)
        .where(interactions.c.served == champion, interactions.c.arm.in_(_ARMS), interactions.c.finish.in_(_WHOLE))
        .where(interactions.c.stored, interactions.c.erased_at.is_(None), interactions.c.reply.is_not(None))
        .where(not_measuring())
        .order_by(interactions.c.id.desc())
        .limit(WINDOW)
        .subquery()
    )
    reviewed = feedback.c.interaction == last.c.id, feedback.c.name == metric, feedback.c.role != Role.USER
    twin = interactions.alias("twin")
    # The same message after the same past is the same node.
    differs = twin.c.parent == last.c.id, twin.c.arm == Arm.SHADOW, twin.c.reply != last.c.reply
    score: ScalarSelect[float | None] = (
        select(func.min(scores.c.value))
        .where(scores.c.interaction == last.c.id, scores.c.name == confidence)
        .scalar_subquery()
    )
    query = select(last.c.id, last.c.created_at, score.label("score"), exists().where(*differs).label("contradicted"))
    rows = conn.execute(query.where(~exists().where(*reviewed), ~exists().where(table.c.interaction == last.c.id)))
    return [Unreviewed(row.id, row.created_at, row.score, bool(row.contradicted)) for row in rows]


def note(conn: Connection, draw: Draw) -> None:
    """Write down that a reviewer is asked about an answer."""
    conn.execute(insert(table).values(**asdict(draw)))
