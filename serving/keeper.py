"""Keeps one engine up: start, wait until it really answers, reconcile each second, restart after growing pauses."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

from core.errors import EngineFailed, EngineUnavailable, SetupError, Unavailable
from core.types import Plan, Version
from serving.client import EngineClient
from serving.reconcile import Reconciler

TICK = 1.0
LOOK = 0.1
SILENCE = 60.0
"""Seconds without an answer after which a running engine counts as hung."""
ATTEMPTS = 3
"""Starts that may fail by a signal or by time before a person must look; an engine that was ready always restarts."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
KILLED = 128
"""A status above this means that a signal ended the engine."""

log = logging.getLogger(__name__)


class Runnable(Protocol):
    """What the keeper needs of an engine."""

    @property
    def alive(self) -> bool: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def ended(self) -> int | None: ...
    def tail(self) -> str: ...


class Elsewhere:
    """An engine that others run: only its adapters are ours."""

    alive = True

    async def start(self) -> None:
        """It runs already."""

    async def stop(self) -> None:
        """It goes on running."""

    async def ended(self) -> None:
        await asyncio.Event().wait()

    def tail(self) -> str:
        return "(see the log of the machine that runs it)"


def pause_before(failures: int) -> float:
    """Seconds to wait before the restart after the n-th failure in a row: none, then doubling."""
    return 0.0 if failures <= 1 else min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 2, 16))


class Keeper:
    """Runs until told to stop; `beat` is called in a thread, each second while the engine is up."""

    def __init__(
        self,
        engine: Runnable,
        client: EngineClient,
        reconciler: Reconciler,
        beat: Callable[[Plan, frozenset[Version]], None],
        *,
        start_timeout: float,
    ) -> None:
        self._engine = engine
        self._client = client
        self._reconciler = reconciler
        self._beat = beat
        self._start_timeout = start_timeout
        self._stopping = asyncio.Event()
        self._was_ready = False

    def stop(self) -> None:
        """Ask `run` to come to its end."""
        self._stopping.set()

    async def run(self) -> None:
        """Keep the engine up until `stop`; raises SetupError when it never comes up."""
        failures = 0
        while not self._stopping.is_set():
            try:
                await self._engine.start()
                await self._unless_over(self._until_ready())
                failures = 0
                await self._unless_over(self._follow())
            except EngineFailed as error:
                failures += 1
                self._judge(error, failures)
            finally:
                self._reconciler.loaded = frozenset()
                await self._engine.stop()
            await self._pause(pause_before(failures))

    def _judge(self, error: EngineFailed, failures: int) -> None:
        log.error("%s", error.message, extra={"failures": failures})
        if not self._was_ready and (error.code == "engine_refused" or failures >= ATTEMPTS):
            raise SetupError(error.message) from error

    async def _unless_over(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work until it is done or a stop is wanted; raises EngineFailed as soon as the engine ends."""
        doing, ending = asyncio.ensure_future(work), asyncio.ensure_future(self._engine.ended())
        tasks = (doing, ending, asyncio.ensure_future(self._stopping.wait()))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                doing.result()
            elif not self._stopping.is_set():
                raise self._ended(ending.result() or 0)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, status: int) -> EngineFailed:
        code = "engine_killed" if status > KILLED else "engine_refused"
        return EngineFailed(f"vLLM ended with status {status}. The end of its log:\n{self._engine.tail()}", code=code)

    async def _until_ready(self) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._start_timeout):
                while not await self._is_ready():
                    await asyncio.sleep(LOOK)
        except TimeoutError:
            raise EngineFailed(
                f"vLLM was not ready after {self._start_timeout:g} s (engine.start_timeout). The end of its log:\n"
                f"{self._engine.tail()}"
            ) from None
        self._was_ready = True
        seconds = round(time.monotonic() - began, 1)
        log.info("ready", extra={"seconds": seconds, "loaded": sorted(self._reconciler.loaded)})

    async def _is_ready(self) -> bool:
        """Healthy, adapters in place, and a first token, which compiles what is left to compile."""
        try:
            if not await self._client.healthy():
                return False
            await self._reconciler.tick()
        except EngineUnavailable:
            return False
        plan = self._reconciler.plan
        return plan is not None and await self._client.answers(plan.champion)

    async def _follow(self) -> None:
        heard = time.monotonic()
        while True:
            try:
                await self._reconciler.tick()
                heard = time.monotonic()
            except EngineUnavailable as error:
                log.warning("%s", error.message)
                if time.monotonic() - heard > SILENCE:
                    raise EngineFailed(f"vLLM has not answered for {SILENCE:g} s.", code="engine_hung") from error
            if plan := self._reconciler.plan:
                with suppress(Unavailable):
                    await asyncio.to_thread(self._beat, plan, self._reconciler.loaded)
            await asyncio.sleep(TICK)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
