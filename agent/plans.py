"""The plan as this gateway knows it: read every half second, told back to the ledger, and counted while calls use it.

What is told back is the oldest revision that a call still runs under, so that no adapter is unloaded before its calls
ended. Knows nothing of how a plan comes about.
"""

import asyncio
import logging
import os
import socket
from collections import Counter
from dataclasses import dataclass, field

from core.clock import Clock
from core.errors import Unavailable
from core.ids import new_id
from core.registry import Registry
from core.types import Plan
from core.workers import WorkerBeat

REFRESH = 0.5
BEAT = 2.0
KIND = "gateway"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Plans:
    """The newest plan that was read, and the calls under way by the revision they were assigned under."""

    registry: Registry
    clock: Clock
    _plan: Plan | None = None
    _open: Counter[int] = field(default_factory=Counter)
    _trouble: bool = False

    @property
    def plan(self) -> Plan | None:
        """None until the serving process has installed a first version."""
        return self._plan

    def current(self) -> Plan:
        """The plan to assign by; raises Unavailable while there is none."""
        if self._plan is None:
            raise Unavailable("No model is installed yet; the serving process does that at its start.", retry_after=1)
        return self._plan

    @property
    def running(self) -> int:
        """Calls under way."""
        return self._open.total()

    def enter(self, revision: int) -> None:
        """A call begins under this revision."""
        self._open[revision] += 1

    def leave(self, revision: int) -> None:
        self._open[revision] -= 1
        if not self._open[revision]:
            del self._open[revision]

    def acknowledged(self) -> int:
        """The oldest revision still in use here; 0 before the first plan."""
        return min((*self._open, self._plan.revision if self._plan else 0))

    async def refresh(self) -> None:
        """Read the plan; the last one stays in force while the database cannot be read."""
        try:
            self._plan = await asyncio.to_thread(self.registry.plan) or self._plan
            self._trouble = False
        except Unavailable as error:
            if not self._trouble:
                log.warning("the plan cannot be read, the last one stays in force: %s", error.message)
            self._trouble = True

    async def follow(self) -> None:
        """Keep the plan fresh, for ever."""
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH)

    async def report(self) -> None:
        """Tell the ledger which plan is in use here, at each change and every two seconds, for ever."""
        born, told, told_at = self.clock(), -1, 0.0
        identity = new_id()
        while True:
            now = asyncio.get_running_loop().time()
            revision = self.acknowledged()
            if revision != told or now - told_at >= BEAT:
                beat = WorkerBeat(identity, KIND, socket.gethostname(), os.getpid(), born, revision)
                try:
                    await asyncio.to_thread(self.registry.beat, beat)
                    told, told_at = revision, now
                except Unavailable as error:
                    log.debug("the sign of life waits: %s", error.message)
            await asyncio.sleep(REFRESH)
