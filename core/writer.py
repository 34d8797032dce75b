"""Where rows become durable: one thread that commits in groups and, when the database fails, keeps them on the disk.

`submit` hands over a unit and returns at once; its future says how the unit is kept, and only then may a client be told
that something was stored. After `patience` seconds of trouble units go to the spool, from which they are replayed with
the same ids once the database works. If the spool fails too, units that may be held wait in memory, others are refused.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from core import config
from core.backlog import Backlog, Replay
from core.committer import Attempt, Committer, Refusals
from core.spool import Spool
from core.store import Store
from core.unit import Entry
from core.unit import Kept as Kept
from core.unit import Row as Row
from core.unit import Unit as Unit

RETRY_SECONDS = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WriterStats:
    """What the writer did since its start, in rows unless it says otherwise, and how it is.

    `unlogged` rows were at some time in memory alone, `held` ones are so now; `rejected` ones were spooled or held and
    then refused by the database; `refused` ones were never accepted.
    """

    queued: int
    committed: int
    spooled: int
    replayed: int
    rejected: int
    refused: int
    unlogged: int
    held: int
    spool_bytes: int
    commit_seconds_sum: float
    commit_seconds_count: int
    degraded: bool
    trouble: str | None


class Writer:
    """Takes units from any thread. Start it before the first `submit`; closing it closes the spool, not the store."""

    def __init__(
        self,
        store: Store,
        spool: Spool,
        settings: config.Ledger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._backlog = Backlog(spool, settings)
        self._committer = Committer(store, self._notify)
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._wake = threading.Condition(threading.Lock())
        self._queue: deque[Entry] = deque()
        self._queued = self._committed = self._refused = 0
        self._asleep = self._closing = self._degraded = False
        self._trouble: str | None = None
        self._probe: tuple[Attempt, Replay | None] | None = None
        self._next_try = self._next_save = 0.0
        self._commits, self._commit_seconds = 0, 0.0

    def start(self) -> None:
        """Begin to write; what the spool holds is replayed first."""
        self._thread.start()

    def close(self) -> None:
        """Write what is queued, to the spool if the database does not work, and stop. Later units are refused."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._committer.stop(self._settings.patience)
        self._backlog.close()

    def submit(self, unit: Unit, *, hold: bool = False) -> Future[Kept]:
        """Hand over rows to keep together; with `hold` they may wait in memory when nothing else takes them.

        The future fails with NotStored when the queue is full or nothing takes the unit. It cannot be cancelled.
        """
        future: Future[Kept] = Future()
        future.set_running_or_notify_cancel()
        entry = Entry(unit, hold, future)
        with self._wake:
            if not self._closing and self._queued + len(unit) <= self._settings.queue:
                self._queue.append(entry)
                self._queued += len(unit)
                if self._asleep:
                    self._asleep = False
                    self._wake.notify()
                return future
        self._refuse(entry, "Hone is stopping" if self._closing else "too many rows wait for the ledger")
        return future

    def stats(self) -> WriterStats:
        """How the writer is, now."""
        rows = self._backlog.rows
        return WriterStats(
            queued=self._queued,
            committed=self._committed,
            spooled=rows["spooled"],
            replayed=rows["replayed"],
            rejected=rows["rejected"],
            refused=rows["refused"] + self._refused,
            unlogged=rows["unlogged"],
            held=self._backlog.held,
            spool_bytes=self._backlog.spool_bytes,
            commit_seconds_sum=self._commit_seconds,
            commit_seconds_count=self._commits,
            degraded=self._degraded or not self._thread.is_alive(),
            trouble=self._trouble,
        )

    def _run(self) -> None:
        entries: Sequence[Entry] = ()
        try:
            while entries or not self._closing:
                entries = self._take()
                self._keep(entries)
        finally:
            self._stop(entries)

    def _take(self) -> Sequence[Entry]:
        """Wait for units or for something else to do, and take what fits into one commit."""
        taken: list[Entry] = []
        rows = 0
        with self._wake:
            if not self._queue and not self._closing:
                self._asleep = True
                self._wake.wait(self._nap())
                self._asleep = False
            while self._queue and (not taken or rows + len(self._queue[0].unit) <= self._settings.batch):
                taken.append(self._queue.popleft())
                rows += len(taken[-1].unit)
            self._queued -= rows
        return taken

    def _nap(self) -> float | None:
        """Seconds until there is something to do even if nothing is submitted."""
        if self._degraded:
            return RETRY_SECONDS if self._probe else max(0.0, self._next_try - self._clock())
        return max(0.0, self._next_try - self._clock()) if self._backlog else None

    def _notify(self) -> None:
        with self._wake:
            if self._degraded and self._asleep:
                self._wake.notify()

    def _keep(self, entries: Sequence[Entry]) -> None:
        if entries and (self._degraded or not self._commit(entries)):
            self._backlog.keep(entries)
        if self._degraded:
            self._look()
        elif self._backlog and self._clock() >= self._next_try:
            self._replay()

    def _commit(self, entries: Sequence[Entry]) -> bool:
        attempt = Attempt([entry.unit for entry in entries], lambda refusals: self._settle(entries, refusals))
        self._committer.begin(attempt)
        return self._came_through(attempt)

    def _settle(self, entries: Sequence[Entry], refusals: Refusals) -> None:
        """Answer all of a commit at once; runs in the committing thread."""
        self._committed += sum(len(entry.unit) for entry, reason in zip(entries, refusals, strict=True) if not reason)
        for entry, reason in zip(entries, refusals, strict=True):
            if reason:
                log.error("the database refuses a row: %s", reason)
                self._refuse(entry, f"the database refuses it: {reason}")
            else:
                entry.future.set_result(Kept.COMMITTED)

    def _came_through(self, attempt: Attempt) -> bool:
        """Whether an attempt commits within our patience; if not, the database counts as broken from here on."""
        if not attempt.wait(self._settings.patience) or not attempt.committed:
            if attempt.give_up():
                self._degrade(attempt)
                return False
            attempt.wait()
        self._commits += 1
        self._commit_seconds += attempt.seconds
        return True

    def _degrade(self, attempt: Attempt) -> None:
        self._degraded = True
        self._trouble = attempt.trouble or "the database does not answer"
        # Its rows are replayed in any case, so that the end of this attempt only tells that the thread is free again.
        self._probe = attempt, None
        log.warning("the ledger's rows go to the spool: %s", self._trouble)

    def _replay(self) -> None:
        replay = self._backlog.oldest()
        attempt = Attempt(replay.units)
        self._committer.begin(attempt)
        if self._came_through(attempt):
            self._finish(attempt, replay)

    def _look(self) -> None:
        """While degraded: once a second try the database with the oldest of the backlog, without waiting for it."""
        if self._clock() >= self._next_save:
            self._backlog.save_held()
            self._next_save = self._clock() + RETRY_SECONDS
        if self._probe is None and self._clock() >= self._next_try:
            oldest = self._backlog.oldest()
            self._probe = Attempt(oldest.units, patient=False), oldest
            self._committer.begin(self._probe[0])
        elif self._probe and self._probe[0].ended:
            (attempt, replay), self._probe = self._probe, None
            if not attempt.committed:
                self._trouble = attempt.trouble or self._trouble
                self._next_try = self._clock() + (0 if attempt.patient else RETRY_SECONDS)
                return
            self._degraded, self._trouble = False, None
            log.warning("the ledger's database works again")
            if replay:
                self._finish(attempt, replay)

    def _finish(self, attempt: Attempt, replay: Replay) -> None:
        try:
            self._backlog.finish(replay, attempt.refusals or ())
        except OSError as error:
            log.error("rows that the database refuses cannot be set aside: %s", error.strerror)
            self._next_try = self._clock() + RETRY_SECONDS

    def _refuse(self, entry: Entry, cause: str) -> None:
        with self._wake:
            self._refused += len(entry.unit)
        entry.refuse(cause)

    def _stop(self, entries: Sequence[Entry]) -> None:
        """Leave nobody waiting, also if this thread fails for a reason that nobody foresaw."""
        with self._wake:
            self._closing = True
            left = [*entries, *self._queue]
            self._queue.clear()
        for entry in left:
            if not entry.future.done():
                self._refuse(entry, "the ledger's writer stopped")
