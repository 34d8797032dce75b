"""A change of champion, timed from the request until every gateway worker answers with the version that it names."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count

import openai

from agent.cli.customers import VERSION_HEADER
from agent.demo.operations import Operations
from agent.loop_documents import SuccessionDocument
from agent.status_documents import StatusDocument
from core.errors import HoneError
from core.interactions import MEASUREMENT

GATEWAY = "gateway"
LIMIT = 15.0
PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Change:
    """Who is champion now, and how long it took in seconds."""

    champion: str
    seconds: float


async def timed(
    operations: Operations, client: openai.AsyncOpenAI, request: Callable[[], Awaitable[SuccessionDocument]]
) -> Change:
    """Ask for a change and wait until it is everywhere. Raises HoneError when it is not within LIMIT."""
    start = time.monotonic()
    done = await request()
    try:
        async with asyncio.timeout(LIMIT):
            while not done.acknowledged and not everywhere(await operations.status(), done.revision):
                await asyncio.sleep(PAUSE)
            await _answers(client, done.champion)
    except TimeoutError:
        raise HoneError(f"{done.champion} did not answer everywhere within {LIMIT:.0f} s.") from None
    return Change(done.champion, time.monotonic() - start)


def everywhere(status: StatusDocument, revision: int) -> bool:
    """Whether every gateway worker goes by this plan or a newer one."""
    gateways = [worker for worker in status.workers if worker.kind == GATEWAY]
    return bool(gateways) and all(worker.revision >= revision for worker in gateways)


async def _answers(client: openai.AsyncOpenAI, version: str) -> None:
    """Wait for an answer by the version under the public name; some customers are held back and get the other one."""
    name, value = MEASUREMENT
    for number in count():
        raw = await client.chat.completions.with_raw_response.create(
            model="hone",
            messages=[{"role": "user", "content": "Hello"}],
            max_tokens=1,
            temperature=0,
            metadata={name: value},
            user=f"watch {number}",
        )
        if raw.headers.get(VERSION_HEADER) == version:
            return
