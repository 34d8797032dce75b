"""Whether a chat would be answered now: known from real calls, or from a one-token chat when there were none lately.

A call that finds no engine turns it off at once; then one token is asked for each second until it comes.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from agent.gate import Gate
from agent.plans import Plans
from core.writer import Writer
from serving.client import EngineClient

EACH = 1.0
LATELY = 10.0
RECENTLY = 5.0
PATIENCE = 60.0


@dataclass(slots=True)
class Readiness:
    """The state that `/readyz` shows."""

    engine: EngineClient
    plans: Plans
    writer: Writer
    gate: Gate
    stand_in: bool = False
    """Whether a provider answers chats while the engine does not, once the engine has been there."""
    _seen: bool = False
    _answered_at: float | None = None
    _unstored_at: float = -math.inf
    _unproven: bool = True
    _doubt: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def ready(self) -> bool:
        return not self.missing()

    @property
    def degraded(self) -> bool:
        """What chats leave behind is not in the database, or the engine, having been there, does not answer."""
        stats = self.writer.stats()
        return stats.degraded or stats.held > 0 or (self._seen and self._answered_at is None)

    def missing(self) -> Sequence[str]:
        """What keeps chats from being answered."""
        if self.gate.closed:
            return ["gateway: it is shutting down"]
        if self.plans.plan is None:
            return ["plan: no model is installed yet"]
        if self._now() - self._unstored_at < RECENTLY:
            return ["ledger: what a chat leaves behind cannot be stored"]
        if self._answered_at is not None or (self.stand_in and self._seen):
            return []
        return ["engine: the model does not answer a chat yet"]

    def answered(self) -> None:
        """A call was answered."""
        self._answered_at = self._now()
        self._seen, self._unproven = True, False

    def failed(self) -> None:
        """A call found no engine."""
        self._answered_at = None
        self.doubt()

    def doubt(self) -> None:
        """A call went wrong in a way that may or may not concern others: look at once."""
        self._unproven = True
        self._doubt.set()

    def unstored(self) -> None:
        """A call was refused because nothing took its row."""
        self._unstored_at = self._now()

    async def watch(self) -> None:
        """Ask for one token whenever nothing shows that chats are answered, for ever."""
        while True:
            await self._look()
            self._doubt.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._doubt.wait(), EACH if self._unproven else LATELY)
                # A burst of failures is one reason to look, not many.
                await asyncio.sleep(EACH)

    async def _look(self) -> None:
        plan = self.plans.plan
        quiet = self._answered_at is None or self._now() - self._answered_at >= LATELY
        if plan is None or not (self._unproven or quiet):
            return
        try:
            async with asyncio.timeout(PATIENCE):
                there = await self.engine.answers(plan.champion)
        except TimeoutError:
            there = False
        if there:
            self.answered()
        else:
            self._answered_at, self._unproven = None, True

    @staticmethod
    def _now() -> float:
        return time.monotonic()
