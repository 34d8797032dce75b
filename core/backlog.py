"""What the database did not take: lines in the spool and, when that fails as well, units in memory.

Knows when memory is allowed (`ledger.on_failure`, `ledger.hold`) and sets aside what can never become a row. Only the
writer's thread uses it.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core import config
from core.committer import Refusals
from core.spool import Chunk, Spool
from core.unit import Entry, Kept, Unit, decode, encode, size

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Replay:
    """Some units that wait: a chunk of the spool, of which some lines are damaged, or all that is in memory."""

    units: Sequence[Unit]
    chunk: Chunk | None
    damaged: Mapping[int, str]


class Backlog:
    """Keeps units until they can be replayed, the spool's in the order in which they came.

    `rows` counts them: spooled, unlogged (at some time in memory alone), refused, replayed, rejected by the database.
    """

    def __init__(self, spool: Spool, settings: config.Ledger) -> None:
        self._spool = spool
        self._settings = settings
        self._held: list[Unit] = []
        self.rows: Counter[str] = Counter()

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._held) or self._spool.waiting > 0

    @property
    def held(self) -> int:
        """Rows that are in memory alone."""
        return size(self._held)

    @property
    def spool_bytes(self) -> int:
        return self._spool.waiting

    def keep(self, entries: Sequence[Entry]) -> None:
        """Put units on the disk, else into memory, and answer for each."""
        lines = {place: line for place, entry in enumerate(entries) if (line := self._line(entry))}
        fit = [entries[place] for place in lines]
        try:
            self._spool.append(list(lines.values()))
        except OSError as error:
            self._hold(fit, f"database and spool fail: {error.strerror}")
            return
        self.rows["spooled"] += size([entry.unit for entry in fit])
        for entry in fit:
            entry.future.set_result(Kept.SPOOLED)

    def save_held(self) -> None:
        """Move what is in memory to the disk if that works by now."""
        if self._held:
            try:
                self._spool.append([encode(unit) for unit in self._held])
            except OSError:
                return
            self.rows["spooled"] += self.held
            self._held.clear()

    def oldest(self) -> Replay:
        """What to replay next; memory first, since it is the frailest."""
        if not self._held and (chunk := self._spool.peek(self._settings.batch)):
            units, damaged = _decode(chunk.lines)
            return Replay(units, chunk, damaged)
        return Replay(self._held[: self._settings.batch], None, {})

    def finish(self, replay: Replay, refusals: Refusals) -> None:
        """Forget units that are in the database. Raises OSError when those it refused cannot be set aside."""
        rejected = {place: reason for place, reason in enumerate(refusals) if reason} | dict(replay.damaged)
        if replay.chunk:
            self._spool.done(replay.chunk, rejected)
        else:
            del self._held[: len(replay.units)]
            for reason in rejected.values():
                log.error("the database refuses a row that was held in memory: %s", reason)
        lost = sum(max(1, len(replay.units[place])) for place in rejected)
        self.rows["rejected"] += lost
        self.rows["replayed"] += sum(len(u) for place, u in enumerate(replay.units) if place not in rejected)

    def close(self) -> None:
        """Last try for what is in memory, then let go of the spool."""
        self.save_held()
        if self._held:
            log.error("%d rows that were in memory alone are lost", self.held)
        self._spool.close()

    def _line(self, entry: Entry) -> bytes | None:
        try:
            return encode(entry.unit)
        except TypeError as error:
            self._refuse(entry, str(error))
            return None

    def _hold(self, entries: Sequence[Entry], cause: str) -> None:
        room = self._settings.hold - self.held if self._settings.on_failure == "serve" else 0
        for entry in entries:
            if entry.hold and len(entry.unit) <= room:
                room -= len(entry.unit)
                self._held.append(entry.unit)
                self.rows["unlogged"] += len(entry.unit)
                entry.future.set_result(Kept.HELD)
            else:
                self._refuse(entry, cause)

    def _refuse(self, entry: Entry, cause: str) -> None:
        self.rows["refused"] += len(entry.unit)
        entry.refuse(cause)


def _decode(lines: Sequence[bytes]) -> tuple[Sequence[Unit], Mapping[int, str]]:
    """The lines' units; a damaged line becomes an empty one, with the reason."""
    units: list[Unit] = []
    damaged: dict[int, str] = {}
    for place, line in enumerate(lines):
        try:
            units.append(decode(line))
        except ValueError as error:
            units.append(())
            damaged[place] = str(error)
    return units, damaged
