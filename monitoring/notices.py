"""What operators are told, through an outbox: a notice is a row in the transaction of what it tells, delivered later.

Delivery is by POST to a webhook, by a command that reads JSON, or by both, at least once; what fails is tried again
after growing pauses and in the end given up, the error kept. Where nobody is to be told there are no rows.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

import aiohttp
import orjson
from sqlalchemy import Connection, RowMapping, func, insert, select, update

from core import states
from core.clock import SECOND, Clock, now
from core.ids import new_id
from core.lifecycle import Stage
from core.rules import Notify
from core.schema import audit, notices
from core.store import Store
from core.types import JsonObject

STATE = "notices"
FIRST_PAUSE, LONGEST_PAUSE = 10, 3600
PATIENCE = 20.0
"""Seconds that one delivery may take."""
AT_ONCE = 20


class Kind(StrEnum):
    """What happened."""

    DRIFT = "drift"
    RUN_FAILED = "run_failed"
    APPROVAL = "approval_waiting"
    ROLLBACK = "rollback"
    TRIGGER_DROPPED = "trigger_dropped"


class Outbox:
    """Where notices are put."""

    def __init__(self, settings: Notify) -> None:
        self.open = bool(settings.webhook or settings.command)

    def put(self, conn: Connection, kind: Kind, body: JsonObject, at: int) -> None:
        """Tell operators, if this transaction commits and if there is somebody to tell."""
        if self.open:
            row = {"id": new_id(at // 1000), "created_at": at, "kind": kind, "body": body}
            conn.execute(insert(notices).values(**row, attempts=0, next_at=at, error=None))


@dataclass(frozen=True, slots=True)
class Notice:
    """A row that is due."""

    id: str
    created_at: int
    kind: str
    body: JsonObject
    attempts: int

    def document(self) -> bytes:
        """What is sent; `at` is in microseconds since the epoch."""
        return orjson.dumps({"id": self.id, "at": self.created_at, "kind": self.kind, **self.body})


class Notices:
    """The job that turns the audit log's news into notices, and delivers what is due."""

    def __init__(self, store: Store, settings: Notify, clock: Clock = now) -> None:
        self._store = store
        self._settings = settings
        self._outbox = Outbox(settings)
        self._clock = clock

    async def tick(self) -> None:
        if not self._outbox.open:
            return
        await asyncio.to_thread(self._gather)
        for notice in await asyncio.to_thread(self._due):
            error = await self._deliver(notice)
            await asyncio.to_thread(self._settle, notice, error)

    def _gather(self) -> None:
        """Put a notice for each row of the audit log that is news, once; not for what was before the first look."""
        with self._store.read() as conn:
            state = states.read(conn, STATE)
            head = conn.scalar(select(func.max(audit.c.seq))) or 0
            seen = int(str(state.body["audit"])) if state else head
            rows = conn.execute(select(audit).where(audit.c.seq > seen).order_by(audit.c.seq)).mappings().all()
        if state and seen == head:
            return
        with self._store.write() as conn:
            for row in rows:
                if told := news(row):
                    self._outbox.put(conn, *told, row["created_at"])
            states.put(conn, STATE, {"audit": head}, self._clock())

    def _due(self) -> Sequence[Notice]:
        columns = [notices.c[name] for name in Notice.__slots__]
        query = select(*columns).where(notices.c.next_at <= self._clock()).order_by(notices.c.id).limit(AT_ONCE)
        with self._store.read() as conn:
            return [Notice(*row) for row in conn.execute(query)]

    async def _deliver(self, notice: Notice) -> str | None:
        """Why it did not arrive, if it did not."""
        webhook, command = self._settings.webhook, self._settings.command
        error = await _post(webhook, notice.document()) if webhook else None
        if error is None and command:
            error = await _run(command, notice.document())
        return error

    def _settle(self, notice: Notice, error: str | None) -> None:
        attempts = notice.attempts + 1
        again = error is not None and attempts < self._settings.attempts
        next_at = self._clock() + pause_after(attempts) if again else None
        values = {"attempts": attempts, "error": error, "next_at": next_at}
        with self._store.write() as conn:
            conn.execute(update(notices).where(notices.c.id == notice.id).values(**values))


def pause_after(attempts: int) -> int:
    """Microseconds until the next attempt: 10 s, doubling up to an hour."""
    return int(min(FIRST_PAUSE * 2.0 ** min(attempts - 1, 30), LONGEST_PAUSE) * SECOND)


def news(row: RowMapping) -> tuple[Kind, JsonObject] | None:
    """What operators are told of a row of the audit log."""
    action, body, target = row["action"], row["body"], row["target"]
    if action == "run.failed":
        return Kind.RUN_FAILED, {"run": target, "says": f"Run {target} failed: {body.get('error')}"}
    if action == "plan.rollback":
        says = f"{target} is champion again in the place of {body.get('previous')}: {body.get('reason')}"
        return Kind.ROLLBACK, {"model": target, "actor": row["actor"], "says": says}
    if action == "model.advance" and body.get("to") == Stage.AWAITING_APPROVAL:
        digest = body.get("evidence_digest")
        says = f"{target} waits for approval: {body.get('reason')}. Look at it with `hone models show {target}`."
        return Kind.APPROVAL, {"model": target, "evidence_digest": digest, "says": says}
    return None


async def _post(address: str, document: bytes) -> str | None:
    headers = {"content-type": "application/json"}
    limit = aiohttp.ClientTimeout(total=PATIENCE)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.post(address, data=document, headers=headers, allow_redirects=False) as response,
        ):
            return None if 200 <= response.status < 300 else f"the webhook answered {response.status}"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # The address may hold a secret, so only the kind of trouble is kept.
        return f"the webhook cannot be reached ({type(error).__name__})"


async def _run(command: Sequence[str], document: bytes) -> str | None:
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=null, stderr=pipe)
    except OSError as error:
        return f"the command cannot be started: {error.strerror}"
    try:
        async with asyncio.timeout(PATIENCE):
            _, errors = await process.communicate(document)
    except TimeoutError:
        return f"the command did not end in {PATIENCE:g} s"
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    last = errors.decode(errors="replace").strip()[-300:]
    return f"the command ended with {process.returncode}: {last}" if process.returncode else None
