"""The mirror: which finished calls a version in shadow answers too, the queue that they wait in, and the asking.

What waits is bounded and may be left out, counted; nobody waits for it. Knows no ledger and does not read answers.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import orjson

from core.errors import EngineFailed, EngineUnavailable
from core.interactions import measures
from core.rules import Shadow
from core.types import Arm, Finish, Interaction, Json, Subject, Version
from serving.client import EngineClient
from serving.router import bucket

PRIORITY = 10
"""Larger is later: the engine answers customers first, whose calls carry 0."""
"""The tag of calls that only measure."""
ARMS = frozenset({Arm.CHAMPION, Arm.HOLDBACK})
FINISHES = frozenset({Finish.STOP, Finish.LENGTH})
NOT_LOADED, BUSY, NOT_UP = 404, 429, 503

log = logging.getLogger(__name__)


class Result(StrEnum):
    """What became of a call that was to be mirrored."""

    MIRRORED = "mirrored"
    FAILED = "failed"
    DROPPED = "dropped"


def is_sampled(call: Interaction, shadow: Version, share: float) -> bool:
    """Whether a call, as its row tells it, belongs to those that `shadow` answers too; the same in every process."""
    return (
        call.arm in ARMS
        and call.finish in FINISHES
        and call.kind == "chat"
        and call.stored
        and not measures(call)
        and is_drawn(call.id, shadow, share)
    )


def is_drawn(call_id: str, shadow: Version, share: float) -> bool:
    """The drawing alone, by the id of the call."""
    return bucket(f"shadow:{shadow}", Subject(call_id)) < share


@dataclass(frozen=True, slots=True)
class Copy:
    """A call to be asked again, under an id of its own; `forward` is the body that the first version got."""

    id: str
    path: str
    version: Version
    forward: Mapping[str, Json]

    def body(self) -> bytes:
        """What the engine is asked: the same, in one piece and after everybody else."""
        kept = {name: value for name, value in self.forward.items() if name not in ("stream", "stream_options")}
        return orjson.dumps({**kept, "model": self.version, "priority": PRIORITY})


@dataclass(frozen=True, slots=True)
class Echo:
    """What came back: a body, or the word for why there is none, which tells against the version. `seconds` it took."""

    body: bytes
    failure: str | None
    seconds: float


async def ask(engine: EngineClient, copy: Copy, deadline: float) -> Echo | None:
    """The version's answer; None when that there is none tells nothing about the version."""
    started = time.perf_counter()
    try:
        async with asyncio.timeout(deadline), engine.post(copy.path, copy.body(), copy.id) as upstream:
            status, body = upstream.status, await upstream.read()
    except TimeoutError:
        return Echo(b"", "deadline_exceeded", time.perf_counter() - started)
    except (EngineUnavailable, EngineFailed):
        return None
    if status in (NOT_LOADED, BUSY, NOT_UP):
        return None
    if status >= 500 and not await engine.healthy():
        return None
    return Echo(body, None if status == 200 else f"engine_{status}", time.perf_counter() - started)


Work = Callable[[], Awaitable[Result]]


class ShadowQueue:
    """Work that waits, at most `settings.queue` pieces, of which `settings.concurrency` are done at a time."""

    def __init__(self, settings: Shadow, count: Callable[[Result], None]) -> None:
        self._limit = settings.concurrency
        self._count = count
        self._waiting: asyncio.Queue[Work] = asyncio.Queue(settings.queue)

    def offer(self, work: Work) -> None:
        """Take in a piece, or leave it out when the queue is full; never waits."""
        try:
            self._waiting.put_nowait(work)
        except asyncio.QueueFull:
            self._count(Result.DROPPED)

    async def run(self) -> None:
        """Do what comes, for ever; what is under way or waits when this is cancelled is left out."""
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self._limit):
                    workers.create_task(self._serve())
        finally:
            while not self._waiting.empty():
                self._waiting.get_nowait()
                self._count(Result.DROPPED)

    async def _serve(self) -> None:
        while True:
            work = await self._waiting.get()
            result = Result.DROPPED
            try:
                result = await work()
            except Exception:
                # A copy that goes wrong in a way nobody foresaw must not stop the gateway.
                log.exception("a mirrored call was lost")
            finally:
                self._count(result)
