"""When a version came to its stage and who brought it there, as the moves tell it."""

from dataclasses import dataclass

from sqlalchemy import Connection, select

from core.lifecycle import Mover, Stage
from core.schema import moves, runs
from core.types import Model, Version


@dataclass(frozen=True, slots=True)
class Entry:
    """The last time that a version came to a stage. Times are microseconds."""

    at: int
    mover: Mover
    reason: str


@dataclass(frozen=True, slots=True)
class Window:
    """A version in the shadow of one champion, from a time on (microseconds)."""

    version: Version
    champion: Version
    since: int


def entered(conn: Connection, version: Version, stage: Stage) -> Entry | None:
    """None for a stage that the version never came to by a move; a candidate is born at its stage."""
    query = select(moves.c.created_at, moves.c.mover, moves.c.reason).where(
        moves.c.model == version, moves.c.target == stage
    )
    row = conn.execute(query.order_by(moves.c.id.desc()).limit(1)).one_or_none()
    return Entry(row.created_at, Mover(row.mover), row.reason) if row else None


def since(conn: Connection, model: Model) -> int:
    """When a version came to its present stage."""
    entry = entered(conn, model.id, model.stage)
    return entry.at if entry else model.created_at


def window(conn: Connection, model: Model, champion: Version) -> Window:
    """The time in which a version is, or last was, in the shadow of this champion."""
    entries = entered(conn, model.id, Stage.SHADOW), entered(conn, champion, Stage.CHAMPION)
    return Window(model.id, champion, max((entry.at for entry in entries if entry), default=model.created_at))


def asked_for(conn: Connection, model: Model) -> int:
    """When the run that made a version was requested."""
    found: int | None = conn.scalar(select(runs.c.created_at).where(runs.c.id == model.run))
    return model.created_at if found is None else found
