"""When jobs run: on one conductor at a time, each at its own pace, never beside itself.

The others wait until the lease of the one that leads runs out. Jobs are declared in code and keep their state in the
ledger, so the scheduler remembers nothing. Knows nothing of what a job does.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from core import leases, states
from core.clock import SECOND, Clock, now
from core.errors import HoneError, LeaseLost, SetupError, Unavailable
from core.ids import new_id
from core.leases import Lease
from core.store import Store
from monitoring.fenced import Fenced

LEASE = "monitoring"
JOBS = "jobs/"
"""Under it the ledger says which jobs fail, and how."""
RENEWALS = 3
"""Renewals in the time that a lease lasts."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """Work that is due every so many seconds. A tick that fails is tried again with the next one."""

    name: str
    every: float
    tick: Callable[[], Awaitable[None]]


class Schedule:
    """Runs jobs while it holds the lease. `jobs` makes them for a new leader, with the store that they may write to;
    `lease` is in seconds."""

    def __init__(
        self, store: Store, lease: float, jobs: Callable[[Store], Sequence[Job]], owner: str = "", clock: Clock = now
    ) -> None:
        self._store = store
        self._duration = round(lease * SECOND)
        self._pause = lease / RENEWALS
        self._jobs = jobs
        self._owner = owner or new_id()
        self._clock = clock
        self._stopping = asyncio.Event()
        self._cut_off = False

    def stop(self) -> None:
        """Ask `run` to come to its end."""
        self._stopping.set()

    async def run(self) -> None:
        """Follow or lead until `stop`. Raises SetupError when a job says that a person must change something."""
        while not self._stopping.is_set():
            if lease := await asyncio.to_thread(self._acquire):
                await self._lead(lease)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._pause)

    async def _lead(self, lease: Lease) -> None:
        log.info("leading", extra={"token": lease.token})
        store = Fenced(self._store, lease)
        term = Term(store, self._jobs(store))
        stop = asyncio.create_task(self._stopping.wait())
        stop.add_done_callback(lambda _: term.over.set())
        term.begin()
        try:
            await self._hold(lease, term)
        finally:
            stop.cancel()
            await term.end()
            await asyncio.to_thread(self._release, lease)
        if term.fatal:
            raise term.fatal

    async def _hold(self, lease: Lease, term: "Term") -> None:
        """Renew the lease until the term is over or another one leads."""
        while not await term.is_over(self._pause):
            try:
                lease = await asyncio.to_thread(self._renew, lease)
            except LeaseLost as error:
                log.warning("%s", error.message)
                return
            except Unavailable as error:
                # By now another one may lead, and it would be our jobs that write beside its own.
                if self._clock() >= lease.until:
                    log.warning("the lease ran out: %s", error.message)
                    return

    def _acquire(self) -> Lease | None:
        try:
            with self._store.write() as conn:
                lease = leases.acquire(conn, LEASE, self._owner, self._duration, self._clock())
        except Unavailable as error:
            if not self._cut_off:
                log.warning("%s", error.message)
            self._cut_off = True
            return None
        self._cut_off = False
        return lease

    def _renew(self, lease: Lease) -> Lease:
        with self._store.write() as conn:
            return leases.renew(conn, lease, self._duration, self._clock())

    def _release(self, lease: Lease) -> None:
        with suppress(Unavailable), self._store.write() as conn:
            leases.release(conn, lease)


class Term:
    """The jobs under one lease. `over` is set when they must stop, with `fatal` when nobody should go on."""

    def __init__(self, store: Store, jobs: Sequence[Job], clock: Clock = now) -> None:
        self._store = store
        self._jobs = jobs
        self._clock = clock
        self._running: set[asyncio.Task[None]] = set()
        self._failing: dict[str, type[Exception] | None] = {}
        """By job: as what it fails, None when it does not; a job that has not ended yet is not in it."""
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )
        self.over = asyncio.Event()
        self.fatal: SetupError | None = None

    def begin(self) -> None:
        """Run each job now, and again whenever it is due."""
        for job in self._jobs:
            self._scheduler.add_job(
                self._tick, "interval", [job], seconds=job.every, id=job.name, next_run_time=datetime.now(UTC)
            )
        self._scheduler.start()

    async def is_over(self, seconds: float) -> bool:
        """Wait that long for the end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.over.wait(), seconds)
        return self.over.is_set()

    async def end(self) -> None:
        """Stop all jobs; what they do in threads ends by itself."""
        self._scheduler.shutdown(wait=False)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _tick(self, job: Job) -> None:
        task = asyncio.ensure_future(self._supervised(job))
        self._running.add(task)
        try:
            await asyncio.wait({task})
        finally:
            self._running.discard(task)

    async def _supervised(self, job: Job) -> None:
        try:
            await job.tick()
        except LeaseLost as error:
            log.warning("%s: %s", job.name, error.message)
            self.over.set()
        except SetupError as error:
            self.fatal = error
            self.over.set()
        except Exception as error:  # noqa: BLE001 - whatever a tick dies of, the next one gets its chance
            await self._failed(job, error)
        else:
            await self._succeeded(job)

    async def _failed(self, job: Job, error: Exception) -> None:
        if self._failing.get(job.name) is type(error):
            return
        self._failing[job.name] = type(error)
        expected = isinstance(error, HoneError)
        log.error("%s failed: %s", job.name, error, exc_info=None if expected else error)
        says = error.message if isinstance(error, HoneError) else f"{type(error).__name__}: {error}"
        with suppress(HoneError):
            await asyncio.to_thread(self._note, job.name, says)

    async def _succeeded(self, job: Job) -> None:
        if self._failing.get(job.name, Exception) is None:
            return
        if self._failing.get(job.name):
            log.info("%s works again", job.name)
        self._failing[job.name] = None
        with suppress(HoneError):
            await asyncio.to_thread(self._forget, job.name)

    def _note(self, name: str, says: str) -> None:
        with self._store.write() as conn:
            states.put(conn, JOBS + name, {"error": says}, self._clock())

    def _forget(self, name: str) -> None:
        with self._store.read() as conn:
            if states.read(conn, JOBS + name) is None:
                return
        with self._store.write() as conn:
            states.drop(conn, JOBS + name)
