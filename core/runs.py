"""Training runs as rows: asked for, claimed under a lease with a fencing token, reported on, and ended once.

One run is open at a time. A worker that lost its lease, or whose run was cancelled, learns so from its next write.
Knows nothing of how a run is carried out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from sqlalchemy import Connection, Row, insert, or_, select, update

from core import audit
from core.clock import Clock, now
from core.errors import Conflict, LeaseLost, NotFound
from core.ids import new_id
from core.page import Page
from core.schema import models
from core.schema import runs as table
from core.store import Store
from core.types import JsonObject, Run, RunState, Version

OPEN = (RunState.REQUESTED, RunState.RUNNING)
_COLUMNS = [table.c[field.name] for field in fields(Run)]


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's right to carry out a run; what it writes is refused once another one holds a higher token."""

    run: Run
    owner: str
    token: int


class Runs:
    """Opens, claims and ends runs; each request and each end is in the audit log."""

    def __init__(self, store: Store, clock: Clock = now) -> None:
        self._store = store
        self._clock = clock

    def request(
        self, *, method: str, recipe: JsonObject, reason: str, requester: str, trigger: str | None = None
    ) -> Run:
        """Ask for a run. Raises Conflict while another one is open."""
        at = self._clock()
        run = Run(new_id(at // 1000), at, RunState.REQUESTED, method, recipe, reason, requester, trigger)
        with self._store.write() as conn:
            audit.lock(conn)  # of two requests at once, one goes first and the other sees it
            if found := _opened(conn):
                raise Conflict(f"Run {found.id} is {found.state} already; wait for it, or cancel it first.")
            row = {field.name: getattr(run, field.name) for field in fields(Run)}
            conn.execute(insert(table).values(**row, lease_owner=None, lease_token=0, lease_until=None))
            body: JsonObject = {"method": method, "reason": reason, "trigger": trigger}
            audit.append(conn, requester, "run.request", run.id, body, at=at)
        return run

    def find(self, run_id: str) -> Run:
        """Raises NotFound."""
        with self._store.read() as conn:
            return find(conn, run_id)

    def page(self, before: str | None = None, limit: int = 50) -> Page[Run]:
        """Up to `limit` runs, newest first, from behind the cursor."""
        query = select(*_COLUMNS).order_by(table.c.id.desc()).limit(limit + 1)
        if before is not None:
            query = query.where(table.c.id < before)
        with self._store.read() as conn:
            items = [_run(row) for row in conn.execute(query)]
        return Page(items[:limit], items[limit - 1].id if len(items) > limit else None)

    def open(self) -> Run | None:
        """The run that waits or is under way."""
        with self._store.read() as conn:
            return _opened(conn)

    def claim(self, owner: str, duration: int) -> Claim | None:
        """The open run, if nobody works on it; the lease lasts `duration` microseconds and is renewed by `report`."""
        at = self._clock()
        free = or_(table.c.state == RunState.REQUESTED, table.c.lease_until < at)
        with self._store.write() as conn:
            query = select(table.c.id, table.c.lease_token).where(table.c.state.in_(OPEN), free).limit(1)
            row = conn.execute(query.with_for_update()).one_or_none()
            if row is None:
                return None
            token = row.lease_token + 1
            values = {"state": RunState.RUNNING, "lease_owner": owner, "lease_token": token}
            times = {"lease_until": at + duration, "attempts": table.c.attempts + 1}
            conn.execute(update(table).where(table.c.id == row.id).values(**values, **times))
            conn.execute(update(table).where(table.c.id == row.id, table.c.started_at.is_(None)).values(started_at=at))
            return Claim(find(conn, row.id), owner, token)

    def report(self, claim: Claim, duration: int, progress: JsonObject, dataset: str | None = None) -> None:
        """Say how far the run is, and go on holding it. Raises LeaseLost when it is held or was ended by another."""
        values: dict[str, object] = {"progress": progress, "lease_until": self._clock() + duration}
        if dataset is not None:
            values["dataset"] = dataset
        with self._store.write() as conn:
            _change(conn, claim, values)

    def hand_back(self, claim: Claim) -> None:
        """Let the next worker go on with the run at once; the attempt does not count. Raises LeaseLost."""
        with self._store.write() as conn:
            _change(conn, claim, {"lease_until": 0, "attempts": table.c.attempts - 1})

    def result(self, run_id: str) -> Version | None:
        """The version that was registered for a run, even where its worker died before it could say so."""
        with self._store.read() as conn:
            found: Version | None = conn.scalar(select(models.c.id).where(models.c.run == run_id).limit(1))
        return found

    def finish(self, claim: Claim, model: Version, progress: JsonObject) -> None:
        """The run gave a candidate. Raises LeaseLost."""
        self._end(claim, RunState.DONE, {"model": model, "progress": progress}, {"model": model})

    def fail(self, claim: Claim, error: str) -> None:
        """The run failed; `error` says cause and next step. Raises LeaseLost."""
        self._end(claim, RunState.FAILED, {"error": error}, {"error": error})

    def cancel(self, run_id: str, actor: str, reason: str) -> Run:
        """End an open run by hand. Raises NotFound, or Conflict when it has ended."""
        at = self._clock()
        with self._store.write() as conn:
            opened = table.c.id == run_id, table.c.state.in_(OPEN)
            values = {"state": RunState.CANCELLED, "ended_at": at, "error": f"cancelled: {reason}"}
            if conn.execute(update(table).where(*opened).values(**values)).rowcount != 1:
                raise Conflict(f"Run {run_id} has ended already: it is {find(conn, run_id).state}.")
            audit.append(conn, actor, "run.cancel", run_id, {"reason": reason}, at=at)
            return find(conn, run_id)

    def ended(self, limit: int = 20) -> Sequence[Run]:
        """The last runs that ended, newest first."""
        query = select(*_COLUMNS).where(table.c.state.not_in(OPEN)).order_by(table.c.ended_at.desc()).limit(limit)
        with self._store.read() as conn:
            return [_run(row) for row in conn.execute(query)]

    def _end(self, claim: Claim, state: RunState, values: dict[str, object], body: JsonObject) -> None:
        at = self._clock()
        with self._store.write() as conn:
            _change(conn, claim, {**values, "state": state, "ended_at": at})
            audit.append(conn, f"system:{claim.owner}"[:64], f"run.{state}", claim.run.id, body, at=at)


def hold(conn: Connection, claim: Claim) -> None:
    """Raise LeaseLost unless the run is still the worker's; nobody ends or takes it until the transaction ends."""
    _change(conn, claim, {"lease_token": claim.token})


def find(conn: Connection, run_id: str) -> Run:
    """Raises NotFound."""
    row = conn.execute(select(*_COLUMNS).where(table.c.id == run_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no run {run_id[:40]!r}; `hone runs list` shows them.")
    return _run(row)


def _opened(conn: Connection) -> Run | None:
    row = conn.execute(select(*_COLUMNS).where(table.c.state.in_(OPEN)).limit(1)).one_or_none()
    return _run(row) if row else None


def _change(conn: Connection, claim: Claim, values: dict[str, object]) -> None:
    mine = table.c.id == claim.run.id, table.c.lease_token == claim.token, table.c.state == RunState.RUNNING
    if conn.execute(update(table).where(*mine).values(**values)).rowcount != 1:
        found = find(conn, claim.run.id)
        raise LeaseLost(f"Run {found.id} is {found.state} and no longer held by {claim.owner}.")


def _run(row: Row[tuple[object, ...]]) -> Run:
    values = {field.name: getattr(row, field.name) for field in fields(Run)}
    return Run(**{**values, "state": RunState(row.state)})
