"""The audit log: who changed what, as rows that are only ever appended and that hash their predecessor.

A row's digest is the SHA-256 of the JSON array [seq, created_at, actor, action, target, body, previous], where `body`
is the stored text and `previous` the digest before it (64 zeros before the first). Bodies hold ids, digests and the
reasons that operators gave, never what people wrote to the model. The chain shows every edit; that rows were cut off
its end, or that all of it was computed anew, shows against a head that was kept elsewhere.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection, RowMapping, Text, func, select, type_coerce

from core.clock import now
from core.errors import BadRequest
from core.page import Page
from core.schema import audit
from core.store import Store
from core.types import JsonObject

GENESIS = "0" * 64
CHUNK = 1000
_LOCK = 0x484F4E45
"""The number of the advisory lock of PostgreSQL under which rows are appended."""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One change: `actor` did `action` to `target`. `seq` counts from 1 without gaps."""

    seq: int
    created_at: int
    actor: str
    action: str
    target: str
    body: JsonObject
    previous: str
    digest: str


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The newest row's place and digest: what to keep elsewhere in order to notice a cut."""

    seq: int
    digest: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What `verify` found: `rows` intact rows up to `head`, then, if not ok, the place and the reason of the break."""

    ok: bool
    rows: int
    head: str
    broken_at: int | None = None
    reason: str | None = None


def append(
    conn: Connection, actor: str, action: str, target: str, body: JsonObject, *, at: int | None = None
) -> AuditRow:
    """Add a row inside the caller's write transaction, as its last step: the chain stays locked until it commits."""
    lock(conn)
    last = head(conn)
    created_at = now() if at is None else at
    digest = _digest(last.seq + 1, created_at, actor, action, target, _text(body), last.digest)
    row = AuditRow(last.seq + 1, created_at, actor, action, target, body, last.digest, digest)
    conn.execute(
        audit.insert().values(
            seq=row.seq,
            created_at=row.created_at,
            actor=row.actor,
            action=row.action,
            target=row.target,
            body=row.body,
            previous=row.previous,
            digest=row.digest,
        )
    )
    return row


def lock(conn: Connection) -> None:
    """Wait until no other transaction appends, and keep others waiting until the caller's ends."""
    if conn.dialect.name == "postgresql":  # a writer on SQLite is alone anyway
        conn.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def head(conn: Connection) -> AuditHead:
    """The end of the chain; seq 0 and zeros while it is empty."""
    row = conn.execute(select(audit.c.seq, audit.c.digest).order_by(audit.c.seq.desc()).limit(1)).first()
    return AuditHead(row.seq, row.digest) if row else AuditHead(0, GENESIS)


def last(conn: Connection, action: str, target: str) -> AuditRow | None:
    """The newest row in which something was done to a target."""
    about = audit.c.action == action, audit.c.target == target
    row = conn.execute(select(audit).where(*about).order_by(audit.c.seq.desc()).limit(1)).mappings().one_or_none()
    return AuditRow(**row) if row else None


def page(conn: Connection, after: str | None = None, limit: int = 100) -> Page[AuditRow]:
    """Up to `limit` rows behind the cursor, oldest first. Raises BadRequest for a cursor that is not ours."""
    rows = conn.execute(
        select(audit).where(audit.c.seq > _seq(after)).order_by(audit.c.seq).limit(limit + 1)
    ).mappings()
    items = [AuditRow(**row) for row in rows]
    return Page(items[:limit], str(items[limit - 1].seq) if len(items) > limit else None)


def verify(store: Store, head: str | None = None) -> AuditReport:
    """Walk the whole chain, in constant memory, while others go on appending.

    `head` is a digest that was once this chain's head; its absence means that rows were cut off or written anew.
    """
    seq, digest, met = 0, GENESIS, head in (None, GENESIS)
    for row in _rows(store):
        if reason := _fault(row, seq, digest):
            return AuditReport(False, seq, digest, seq + 1, reason)
        seq, digest = row["seq"], row["digest"]
        met = met or digest == head
    if not met:
        reason = f"no row has the digest {head}: rows were cut off the end, or the chain was written anew"
        return AuditReport(False, seq, digest, seq + 1, reason)
    return AuditReport(True, seq, digest)


def _rows(store: Store) -> Iterator[RowMapping]:
    """All rows in order, in short reads: a long one would keep SQLite's log from being folded in."""
    columns = [audit.c[name] for name in ("seq", "created_at", "actor", "action", "target", "previous", "digest")]
    query = select(*columns, type_coerce(audit.c.body, Text).label("text")).order_by(audit.c.seq).limit(CHUNK)
    # From below every number, so that a row slipped in under the first one is met too.
    last = -(2**31)
    while True:
        with store.read() as conn:
            rows = conn.execute(query.where(audit.c.seq > last)).mappings().all()
        yield from rows
        if len(rows) < CHUNK:
            return
        last = rows[-1]["seq"]


def _fault(row: RowMapping, seq: int, previous: str) -> str | None:
    if row["seq"] != seq + 1:
        return f"row {seq + 1} is missing; row {row['seq']} follows row {seq}"
    if row["previous"] != previous:
        return f"row {row['seq']} does not follow row {seq}: one of them was replaced or moved"
    fields = (row["actor"], row["action"], row["target"], row["text"])
    if row["digest"] != _digest(row["seq"], row["created_at"], *fields, row["previous"]):
        return f"row {row['seq']} was edited: its digest does not match what it says"
    return None


def _digest(seq: int, created_at: int, actor: str, action: str, target: str, body: str, previous: str) -> str:
    # `default` gives even a value of a foreign type, as only tampering leaves it, a digest: one that does not match.
    fields = [seq, created_at, actor, action, target, body, previous]
    return hashlib.sha256(orjson.dumps(fields, default=repr)).hexdigest()


def _text(body: JsonObject) -> str:
    """The body as its column stores it."""
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS).decode()


def _seq(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 9:
        raise BadRequest(
            f"{cursor[:40]!r} is not a place in the audit log; use `next` of the page before.", param="after"
        )
    return int(cursor)
