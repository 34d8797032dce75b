"""Erasures as a gateway carries them out, and as it learns of those that others carried out.

A gateway remembers which messages are in the database, so as not to send them again; after an erasure it must.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from agent.plans import ALIVE, KIND, REFRESH
from core import erasure
from core.clock import SECOND, Clock
from core.datasets import Datasets
from core.erasure import Erased
from core.errors import Unavailable
from core.ledger import Ledger
from core.registry import Registry
from core.store import Store
from core.types import Subject
from core.writer import Writer

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Erasures:
    """The erasures of one gateway; `spool` is the folder of rows that wait."""

    store: Store
    registry: Registry
    writer: Writer
    ledger: Ledger
    datasets: Datasets
    spool: Path
    clock: Clock
    _serial: int = 0

    def erase(self, subject: Subject, actor: str) -> Erased:
        """Erase a subject; blocks until what it says from now on is kept whole by every gateway.

        Raises NotFound, and Unavailable while rows wait for the database.
        """
        if self.writer.stats().held:
            raise Unavailable("Rows wait in memory for the database, perhaps this subject's too.", retry_after=2)
        erased = erasure.erase(self.store, self.datasets, self.spool, subject, actor, self.clock)
        self.ledger.forget_messages()
        if self._others():
            time.sleep(2 * REFRESH)
        return erased

    async def follow(self) -> None:
        """Forget what was known of messages when somebody was erased, by whomever; for ever."""
        while True:
            try:
                serial = await asyncio.to_thread(self._read)
            except Unavailable as error:
                log.debug("the count of erasures waits: %s", error.message)
            else:
                if serial != self._serial:
                    self._serial = serial
                    self.ledger.forget_messages()
            await asyncio.sleep(REFRESH)

    def _read(self) -> int:
        with self.store.read() as conn:
            return erasure.serial(conn)

    def _others(self) -> bool:
        heard = self.registry.workers(self.clock() - round(ALIVE * SECOND))
        return sum(worker.kind == KIND for worker in heard) > 1
