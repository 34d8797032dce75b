"""The customers of a demo: phases played once, and a crowd that goes on coming while something else is waited for."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import islice

import openai

from agent.cli.customers import Customers, Customs, Row


@dataclass(frozen=True, slots=True)
class Pace:
    """How many ask at a time, how many questions make a batch, and the seconds between two of those."""

    customers: int
    batch: int
    pause: float = 0.0


BUSY = Pace(8, 24)
BESIDE = Pace(3, 6, 0.4)
"""While a candidate answers the same questions too."""
TRICKLE = Pace(1, 1, 2.0)
"""While the trainer needs the processors."""


@dataclass(frozen=True, slots=True)
class Served:
    """One batch, and what the first call that failed for good was told."""

    asked: int
    right: int
    failed: int
    failure: str | None


class Town:
    """Sends customers through the official client; `served` is told of each batch."""

    def __init__(self, client: openai.AsyncOpenAI, served: Callable[[Served], None]) -> None:
        self._client = client
        self._served = served

    async def play(self, rows: Sequence[Row], pace: Pace = BUSY) -> None:
        """Each row once."""
        for batch in _batches(iter(rows), pace.batch):
            await self._serve(batch, pace)

    @asynccontextmanager
    async def busy(self, rows: Iterator[Row], pace: Pace) -> AsyncIterator[None]:
        """Customers without end until the block ends; who is being served then is served to the end."""
        leaving = asyncio.Event()
        task = asyncio.create_task(self._go_on(rows, pace, leaving))
        try:
            yield
            leaving.set()
            await task
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _go_on(self, rows: Iterator[Row], pace: Pace, leaving: asyncio.Event) -> None:
        for batch in _batches(rows, pace.batch):
            if leaving.is_set():
                return
            await self._serve(batch, pace)
            await _pause(leaving, pace.pause)

    async def _serve(self, batch: Sequence[Row], pace: Pace) -> None:
        report = await Customers(self._client, Customs(concurrency=pace.customers)).play(batch)
        right = sum(outcome.right for outcome in report.outcomes)
        self._served(Served(len(report.outcomes), right, report.failed, report.failure))


def _batches(rows: Iterator[Row], size: int) -> Iterator[Sequence[Row]]:
    while batch := list(islice(rows, size)):
        yield batch


async def _pause(leaving: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(leaving.wait(), seconds)
