"""The customers of the loop's walk: what they ask, and how they come."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from random import Random

import openai
from fixtures_hone import RunningHone
from loop_seen import Tally

from agent.cli.customers import Customers, Customs, Report, Row
from agent.demo.scenario import default_path, read

NEW = tuple(f"shifted/dog-salon/{what}/" for what in ("contact", "place", "price"))
WAYS, HELD_BACK = 20, 3
"""All that is new to the model: three facts, each asked for in twenty ways, three of which only measure."""
ORDINARY = 75
AT_ONCE = 8
RETRIES = 600
"""How often a customer comes again after about a second."""


@dataclass(frozen=True)
class Questions:
    """What customers ask, and what is kept back to measure with."""

    ordinary: Sequence[Row]
    shifted: Sequence[Row]
    held_back: Sequence[Row]

    @classmethod
    def read(cls) -> "Questions":
        scenario = read(default_path())
        new = [row for phase in scenario.shifted for row in (*phase.played, *phase.held_back)]
        new = sorted((row for row in new if row.id.startswith(NEW)), key=lambda row: row.id)
        kept = [row for place, row in enumerate(new) if place % WAYS < HELD_BACK]
        played = [row for row in new if row not in kept]
        single = [row for row in scenario.ordinary.played if len(row.messages) == 1]
        return cls(_apart(single[:ORDINARY]), _apart(played), kept)

    def crowd(self, name: str, ordinary: int, shifted: int) -> Iterator[Row]:
        """Customers without end, each one new: so many ordinary questions, then so many about what is new."""
        rng = Random(name)
        for number in count(1):
            drawn = (*rng.choices(self.ordinary, k=ordinary), *rng.choices(self.shifted, k=shifted))
            for place, row in enumerate(drawn):
                yield replace(row, user=f"{row.user}#{name}-{number}-{place}")


def _apart(rows: Sequence[Row]) -> list[Row]:
    return [replace(row, user=f"{row.user}#{place}") for place, row in enumerate(rows)]


@dataclass(frozen=True)
class Town:
    """Sends customers to one Hone."""

    client: openai.AsyncOpenAI
    tally: Tally

    async def play(self, rows: Sequence[Row], customers: int = AT_ONCE) -> Report:
        """Each row once."""
        report = await Customers(self.client, Customs(concurrency=customers)).play(rows)
        if report.failure:
            self.tally.given_up.append(f"{self.tally.act}: {report.failure}")
        return report

    @asynccontextmanager
    async def busy(self, rows: Iterator[Row], customers: int = AT_ONCE, pause: float = 0.0) -> AsyncIterator[None]:
        """So many at a time without end until the block ends; who is being served then is served."""
        leaving = asyncio.Event()

        async def come() -> None:
            for row in rows:
                if leaving.is_set():
                    return
                await self.play([row], customers=1)
                await asyncio.sleep(pause)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(come()) for _ in range(customers)]
            try:
                yield
            except BaseException:
                for task in tasks:
                    task.cancel()
                raise
            leaving.set()


@asynccontextmanager
async def town(hone: RunningHone) -> AsyncIterator[Town]:
    """Customers with a user's key, who come again when they are told to."""
    tally = Tally()
    hooks = {"response": [tally.note]}
    url, key = f"{hone.url}/v1", hone.keys["user"]
    async with (
        openai.DefaultAsyncHttpxClient(trust_env=False, event_hooks=hooks) as http,
        openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=RETRIES, http_client=http) as client,
    ):
        yield Town(client, tally)
