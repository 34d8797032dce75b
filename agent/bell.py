"""Waiting in the event loop for what another thread decides; many answers at once ring once, for a ring is dear."""

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class Bell:
    """Wakes the coroutines of one event loop."""

    def __init__(self) -> None:
        self._answered: deque[asyncio.Future[None]] = deque()
        self._rung = False

    async def wait(self, future: Future[T]) -> T:
        """The future's result, or its exception. Giving up waiting leaves the future alone."""
        if not future.done():
            loop = asyncio.get_running_loop()
            waiter = loop.create_future()
            future.add_done_callback(lambda _: self._ring(loop, waiter))
            await waiter
        return future.result()

    def _ring(self, loop: asyncio.AbstractEventLoop, waiter: "asyncio.Future[None]") -> None:
        """For any thread. Of many answers that come together, the first one rings."""
        self._answered.append(waiter)
        if not self._rung:
            self._rung = True
            loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        # Cleared first: an answer that comes while others are handed out rings again.
        self._rung = False
        while self._answered:
            waiter = self._answered.popleft()
            if not waiter.done():
                waiter.set_result(None)
