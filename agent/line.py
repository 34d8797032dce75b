"""The client's end of one call: what is sent on it, and the moment it is dropped."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from starlette.types import Receive, Send

from agent.visit import Header

JSON = (b"content-type", b"application/json")
STREAM = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class Line:
    """Sends one answer. A client that reads slowly makes `piece` wait; one that hangs up ends the watched block."""

    __slots__ = ("_receive", "_send", "_watching", "begun", "gone")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._watching = False
        self.begun = False
        self.gone = False

    @contextmanager
    def watched(self, limit: asyncio.Timeout) -> Iterator[None]:
        """Let `limit` expire at once when the client hangs up; `gone` tells it from a limit that was reached."""

        def hung_up(task: asyncio.Task[object]) -> None:
            if self._watching and not task.cancelled() and not limit.expired():
                self.gone = True
                limit.reschedule(0)

        async def wait() -> object:
            return await self._receive()

        self._watching = True
        waiting = asyncio.create_task(wait())
        waiting.add_done_callback(hung_up)
        try:
            yield
        finally:
            self._watching = False
            waiting.cancel()

    async def whole(self, body: bytes, headers: Sequence[Header]) -> None:
        """A complete JSON answer."""
        self.begun = True
        length = (b"content-length", b"%d" % len(body))
        await self._send({"type": "http.response.start", "status": 200, "headers": [JSON, length, *headers]})
        await self._send({"type": "http.response.body", "body": body})

    async def begin(self, headers: Sequence[Header]) -> None:
        """The head of a stream."""
        self.begun = True
        await self._send({"type": "http.response.start", "status": 200, "headers": [*STREAM, *headers]})

    async def piece(self, events: bytes) -> None:
        """Some events of a stream; returns when the client's buffer has room again."""
        await self._send({"type": "http.response.body", "body": events, "more_body": True})

    async def end(self, event: bytes) -> None:
        """The last event of a stream."""
        await self._send({"type": "http.response.body", "body": event})
