"""Brings an engine's adapters to what the plan wants, again and again: after a promotion, after an engine's restart.

Keeps the last plan it read, so that an engine comes back whole even while the ledger cannot be read.
"""

import asyncio
import logging
from collections.abc import Awaitable, Sequence

from core.clock import SECOND, Clock, now
from core.errors import EngineUnavailable, HoneError, Unavailable
from core.registry import Registry
from core.types import Plan, Version
from core.workers import Worker
from serving.adapters import changes, may_unload
from serving.artifacts import Artifacts
from serving.client import EngineClient

log = logging.getLogger(__name__)


class Reconciler:
    """One engine's adapters. `longest_call` is the number of seconds after which no call can be under way."""

    def __init__(
        self,
        client: EngineClient,
        registry: Registry,
        artifacts: Artifacts,
        *,
        longest_call: float,
        clock: Clock = now,
    ) -> None:
        self._client = client
        self._registry = registry
        self._artifacts = artifacts
        self._longest_call = int(longest_call * SECOND)
        self._clock = clock
        self._digests: dict[Version, str] = {}
        self._told: set[str] = set()
        self.plan: Plan | None = None
        self.loaded: frozenset[Version] = frozenset()

    async def tick(self) -> None:
        """Load what is missing and unload what nobody uses any more.

        An adapter that cannot be loaded is logged and does not keep the others out. Raises EngineUnavailable when the
        engine does not answer.
        """
        workers = await asyncio.to_thread(self._look)
        if self.plan is None:
            return
        loaded = set(await self._client.loaded())
        todo = changes(self.plan.live(), loaded)
        for version in todo.load:
            if await self._try("load", version, self._load(version)):
                loaded.add(version)
        for version in todo.unload:
            free = may_unload(version, self.plan, workers, self._clock() - self._longest_call)
            if free and await self._try("unload", version, self._client.unload(version)):
                loaded.discard(version)
        self.loaded = frozenset(loaded)

    def _look(self) -> Sequence[Worker] | None:
        """Read the plan, then the workers: one that says it knows a plan must be asked after that plan was made."""
        try:
            self.plan = self._registry.plan() or self.plan
            for version in self.plan.live() if self.plan else ():
                if version not in self._digests:
                    self._digests[version] = self._registry.model(version).digest
            workers = self._registry.workers(self._clock() - self._longest_call)
        except Unavailable as error:
            self._tell("ledger", f"the ledger cannot be read, the last plan stays in force: {error.message}")
            return None
        self._told.discard("ledger")
        return workers

    async def _load(self, version: Version) -> None:
        artifact = await asyncio.to_thread(self._artifacts.open, self._digests[version])
        await self._client.load(version, str(artifact.path))

    async def _try(self, act: str, version: Version, work: Awaitable[None]) -> bool:
        try:
            await work
        except EngineUnavailable:
            raise
        except HoneError as error:
            self._tell(version, f"cannot {act} {version}: {error.message}")
            return False
        self._told.discard(version)
        log.info("%sed", act, extra={"version": version})
        return True

    def _tell(self, subject: str, message: str) -> None:
        """Log a trouble once, however long it lasts."""
        if subject not in self._told:
            self._told.add(subject)
            log.error("%s", message)
