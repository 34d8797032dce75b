"""Which version a conversation stays with: the one that gave the last answer in the history that the client sends back.

An answer is found by its node in its subject's tree, so that nobody can be pinned by words that were put into the
assistant's mouth. Knows no plan.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from core import conversation
from core.errors import Unavailable
from core.ledger import Ledger
from core.recent import Recent
from core.secret import Secret
from core.types import JsonObject, Subject, Version

KNOWN = 20_000
PATIENCE = 0.5
"""Seconds for one look; a call whose conversation is not found by then is assigned like a new one."""
PAUSE = 1.0
"""Seconds without a look after one that failed."""
ANSWERER = "assistant"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Pins:
    """The conversations of one gateway; only calls with an earlier answer in them cost a look."""

    ledger: Ledger
    secret: Secret
    _known: Recent[str, Version] = field(default_factory=lambda: Recent(KNOWN))
    _not_before: float = 0.0

    async def find(self, subject: Subject, messages: Sequence[JsonObject]) -> Version | None:
        """The version that gave the latest answer; None for a new conversation and for one that cannot be looked up."""
        if all(said.get("role") != ANSWERER for said in messages):
            return None
        try:
            nodes = list(conversation.grow(self.secret, subject, None, messages))
        except TypeError:
            # What is no JSON was never stored either.
            return None
        return await self._version([node for node, _, said in nodes if said.get("role") == ANSWERER][-1])

    async def _version(self, answer: str) -> Version | None:
        if known := self._known.get(answer):
            return known
        if time.monotonic() < self._not_before:
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                found = await asyncio.to_thread(self.ledger.served, answer)
        except (TimeoutError, Unavailable):
            log.warning("a conversation could not be looked up and goes where a new one would")
            self._not_before = time.monotonic() + PAUSE
            return None
        if found:
            self._known.put(answer, found)
        return found
