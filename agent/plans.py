"""The plan as this gateway knows it: read every half second, told back to the ledger, and counted while calls use it.

What is told back is the revision that new calls go by, and the oldest that a call still runs under, so that no adapter
is unloaded before its calls ended. Along with the plan comes whether more ratings are wanted. Knows nothing of how
either comes about.
"""

import asyncio
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from core.clock import SECOND, Clock
from core.errors import Unavailable
from core.ids import new_id
from core.registry import Registry
from core.types import Plan
from core.workers import WorkerBeat

REFRESH = 0.5
BEAT = 2.0
LOOK = 0.05
ALIVE = 3 * BEAT
"""Seconds of silence after which nobody waits for a gateway any more."""
KIND = "gateway"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Plans:
    """The newest plan that was read, and the calls under way by the revision they were assigned under.

    `more` reads from the ledger whether more ratings are wanted than usual.
    """

    registry: Registry
    clock: Clock
    more: Callable[[], bool] = lambda: False
    _plan: Plan | None = None
    _wants_ratings: bool = False
    _open: Counter[int] = field(default_factory=Counter)
    _trouble: bool = False
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

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
    def wants_ratings(self) -> bool:
        """Whether more ratings were wanted than usual when the plan was read last."""
        return self._wants_ratings

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

    def adopt(self, plan: Plan) -> None:
        """Let new calls go by this plan from now on, unless a newer one is in force; called in the event loop."""
        if self._plan is None or plan.revision > self._plan.revision:
            self._plan = plan
            self._moved.set()

    async def refresh(self) -> None:
        """Read the plan; the last one stays in force while the database cannot be read."""
        try:
            found = await asyncio.to_thread(self.registry.plan)
            self._wants_ratings = await asyncio.to_thread(self.more)
            self._trouble = False
        except Unavailable as error:
            if not self._trouble:
                log.warning("the plan cannot be read, the last one stays in force: %s", error.message)
            self._trouble = True
        else:
            if found:
                self.adopt(found)

    async def acknowledged_by_all(self, revision: int, timeout: float) -> bool:
        """Whether within `timeout` seconds every gateway that is alive assigns by this plan or a newer one."""
        try:
            async with asyncio.timeout(timeout):
                while not await asyncio.to_thread(self._acknowledged_by_all, revision):
                    await asyncio.sleep(LOOK)
        except TimeoutError:
            return False
        return True

    def _acknowledged_by_all(self, revision: int) -> bool:
        try:
            heard = self.registry.workers(self.clock() - round(ALIVE * SECOND))
        except Unavailable:
            return False
        gateways = [worker for worker in heard if worker.kind == KIND]
        return bool(gateways) and all(worker.adopted >= revision for worker in gateways)

    async def follow(self) -> None:
        """Keep the plan fresh, for ever."""
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH)

    async def report(self) -> None:
        """Tell the ledger which plan is in use here, at each change and every two seconds, for ever."""
        first = WorkerBeat(new_id(), KIND, socket.gethostname(), os.getpid(), self.clock(), revision=-1)
        told, told_at = first, 0.0
        while True:
            self._moved.clear()
            now = asyncio.get_running_loop().time()
            beat = replace(first, revision=self.acknowledged(), adopted=self._plan.revision if self._plan else 0)
            if beat != told or now - told_at >= BEAT:
                try:
                    await asyncio.to_thread(self.registry.beat, beat)
                    told, told_at = beat, now
                except Unavailable as error:
                    log.debug("the sign of life waits: %s", error.message)
            # Not wait_for, which in Python 3.11 may swallow the cancellation that ends this.
            with suppress(TimeoutError):
                async with asyncio.timeout(REFRESH):
                    await self._moved.wait()
