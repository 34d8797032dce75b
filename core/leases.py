"""Leases with fencing: one owner at a time by the clock, and writes of a former owner refused by the token.

An owner that was frozen past its lease may believe that it still holds it; what it writes then carries an old token.
All functions work inside the caller's write transaction.
"""

from dataclasses import dataclass, replace

from sqlalchemy import Connection, select, update

from core.errors import LeaseLost
from core.schema import leases as table
from core.store import insert_new


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of `owner` to do what `name` stands for, until a time in microseconds."""

    name: str
    owner: str
    token: int
    until: int


def acquire(conn: Connection, name: str, owner: str, duration: int, now: int) -> Lease | None:
    """The lease for `duration` microseconds, if nobody else holds it now."""
    insert_new(conn, table, [{"name": name, "owner": "", "token": 0, "until": 0}])
    held = conn.execute(select(table).where(table.c.name == name).with_for_update()).one()
    if held.until > now and held.owner != owner:
        return None
    lease = Lease(name, owner, held.token + 1, now + duration)
    _write(conn, lease)
    return lease


def renew(conn: Connection, lease: Lease, duration: int, now: int) -> Lease:
    """The same lease for longer. Raises LeaseLost."""
    check(conn, lease)
    longer = replace(lease, until=now + duration)
    _write(conn, longer)
    return longer


def release(conn: Connection, lease: Lease) -> None:
    """Let the next one in at once; nothing happens when another holds it already."""
    mine = table.c.name == lease.name, table.c.token == lease.token
    conn.execute(update(table).where(*mine).values(until=0))


def check(conn: Connection, lease: Lease) -> None:
    """Raise LeaseLost when another one has come since; hold it against others until the transaction ends."""
    held = conn.execute(select(table.c.token).where(table.c.name == lease.name).with_for_update()).scalar_one_or_none()
    if held != lease.token:
        raise LeaseLost(f"Another process holds the lease {lease.name} now; {lease.owner} must not go on.")


def _write(conn: Connection, lease: Lease) -> None:
    values = {"owner": lease.owner, "token": lease.token, "until": lease.until}
    conn.execute(update(table).where(table.c.name == lease.name).values(**values))
