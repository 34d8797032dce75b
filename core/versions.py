"""The rows of versions: entered once, moved by compare-and-swap, each move written down.

All functions work inside the caller's transaction. What else changes with a move is for core/registry.py to know.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, Row, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from core.errors import BadRequest, Conflict, NotFound
from core.ids import new_id
from core.lifecycle import Mover, Stage, check_advance
from core.page import Page
from core.schema import models, moves
from core.types import Model

MAX_REASON = 2000


@dataclass(frozen=True, slots=True)
class Decision:
    """Who moves versions, on whose authority, why and when. Raises BadRequest for a reason that says nothing."""

    mover: Mover
    actor: str
    reason: str
    at: int

    def __post_init__(self) -> None:
        printable = all(char.isprintable() or char in "\n\t" for char in self.reason)
        if not self.reason.strip() or len(self.reason) > MAX_REASON or not printable:
            raise BadRequest(f"A reason is 1 to {MAX_REASON} printable characters, not only spaces.", param="reason")

    def in_turn(self) -> "Decision":
        """The reason for what changes only because the champion did."""
        return replace(self, reason=f"the champion changed: {self.reason}"[:MAX_REASON])


def find(conn: Connection, version: str) -> Model:
    """Raises NotFound."""
    row = conn.execute(select(models).where(models.c.id == version)).one_or_none()
    if row is None:
        raise NotFound(f"There is no version {version[:128]!r}; `hone models list` shows them.")
    return _model(row)


def exists(conn: Connection, version: str) -> bool:
    return conn.execute(select(models.c.id).where(models.c.id == version)).first() is not None


def at_stage(conn: Connection, *stages: Stage) -> Sequence[Model]:
    """All versions at one of the stages, newest first."""
    query = select(models).where(models.c.stage.in_(stages)).order_by(models.c.created_at.desc(), models.c.id.desc())
    return [_model(row) for row in conn.execute(query)]


def page(conn: Connection, before: str | None, limit: int) -> Page[Model]:
    """Up to `limit` versions, newest first, from behind the cursor. Raises BadRequest for a cursor that is not ours."""
    place = models.c.created_at, models.c.id
    query = select(models).order_by(*(column.desc() for column in place)).limit(limit + 1)
    if before is not None:
        query = query.where(tuple_(*place) < tuple_(*_place(before)))
    items = [_model(row) for row in conn.execute(query)]
    last = items[limit - 1] if len(items) > limit else None
    return Page(items[:limit], f"{last.created_at}:{last.id}" if last else None)


def enter(conn: Connection, model: Model) -> Model:
    """Write a new version down, as a candidate that never moved. Raises Conflict when its name is taken."""
    entered = replace(model, stage=Stage.CANDIDATE, revision=0)
    row = {name: getattr(entered, name) for name in Model.__dataclass_fields__}
    try:
        conn.execute(insert(models).values(**row))
    except IntegrityError:
        raise Conflict(f"The version {model.id} is registered already; a name is never used twice.") from None
    return entered


def move(conn: Connection, model: Model, target: Stage, decision: Decision) -> Model:
    """Take a version, as it was seen, to another stage. Raises Conflict or Forbidden, also when it moved since."""
    check_advance(model.stage, target, decision.mover)
    moved = replace(model, stage=target, revision=model.revision + 1)
    seen = models.c.id == model.id, models.c.revision == model.revision
    if conn.execute(update(models).where(*seen).values(stage=target, revision=moved.revision)).rowcount != 1:
        found = find(conn, model.id)
        raise Conflict(f"{model.id} moved on from {model.stage} to {found.stage} meanwhile. Look again, then decide.")
    conn.execute(
        insert(moves).values(
            id=new_id(decision.at // 1000),
            created_at=decision.at,
            model=model.id,
            source=model.stage,
            target=target,
            mover=decision.mover,
            actor=decision.actor,
            reason=decision.reason,
        )
    )
    return moved


def _model(row: Row[tuple[object, ...]]) -> Model:
    values = {name: getattr(row, name) for name in Model.__dataclass_fields__}
    return Model(**{**values, "stage": Stage(row.stage)})


def _place(cursor: str) -> tuple[int, str]:
    created_at, colon, version = cursor.partition(":")
    if not colon or not created_at.isascii() or not created_at.isdigit() or len(created_at) > 18:
        raise BadRequest(f"{cursor[:40]!r} is not a place in the list of versions; use `next` of the page before.")
    return int(created_at), version
