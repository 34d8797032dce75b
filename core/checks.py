"""Looks at streams as rows: what was found, read by page or the newest of each stream. Who looks is not known here."""

from collections.abc import Sequence
from dataclasses import fields

from sqlalchemy import Connection, Row, Select, select

from core import audit, states
from core.page import Page
from core.schema import checks as table
from core.types import Check, Verdict, Version

RECENT = 500
"""Rows among which the newest of each stream are looked for."""
_COLUMNS = [table.c[field.name] for field in fields(Check)]


def page(conn: Connection, kind: str | None = None, before: str | None = None, limit: int = 50) -> Page[Check]:
    """Up to `limit` checks, newest first, of one kind or of all, from behind the cursor."""
    query = _newest(kind).limit(limit + 1)
    if before is not None:
        query = query.where(table.c.id < before)
    items = [_check(row) for row in conn.execute(query)]
    return Page(items[:limit], items[limit - 1].id if len(items) > limit else None)


def latest(conn: Connection) -> Sequence[Check]:
    """The newest check of each stream and version that was looked at lately, newest first."""
    found: dict[tuple[str, str, Version | None], Check] = {}
    for check in map(_check, conn.execute(_newest(None).limit(RECENT))):
        found.setdefault((check.kind, check.stream, check.version), check)
    return list(found.values())


def acknowledge(conn: Connection, actor: str, reason: str, at: int) -> None:
    """Note that a person has dealt with the alarms up to now: what raised them is watched anew."""
    states.put(conn, states.ACKNOWLEDGED, {"actor": actor}, at)
    audit.append(conn, actor, "checks.acknowledge", "alarms", {"reason": reason}, at=at)


def _newest(kind: str | None) -> Select[tuple[object, ...]]:
    query = select(*_COLUMNS).order_by(table.c.id.desc())
    return query if kind is None else query.where(table.c.kind == kind)


def _check(row: Row[tuple[object, ...]]) -> Check:
    values = {field.name: getattr(row, field.name) for field in fields(Check)}
    return Check(**{**values, "verdict": Verdict(row.verdict)})
