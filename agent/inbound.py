"""The body of a request on its way in: counted against the limit, and drained when it was refused.

Knows bytes, and nothing of what is in them.
"""

import asyncio
from contextlib import suppress

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from core.errors import BadRequest

DRAIN_BYTES = 64 * 2**20
DRAIN_SECONDS = 10.0


class Inbound:
    """Stands in for `receive` and raises a 413 as soon as the body is longer than `limit` bytes.

    The raised error is Starlette's, the one kind that FastAPI lets through while it reads a body.
    """

    __slots__ = ("_expected", "_limit", "_receive", "_size", "_waits_for_continue")

    def __init__(self, receive: Receive, limit: int, declared: int | None, *, waits_for_continue: bool) -> None:
        self._receive = receive
        self._limit = limit
        self._size = 0
        self._expected = declared != 0
        self._waits_for_continue = waits_for_continue

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._waits_for_continue = False
            self._size += len(message.get("body", b""))
            self._expected = message.get("more_body", False)
            if self._size > self._limit:
                raise HTTPException(413)
        else:
            self._expected = False
        return message

    @property
    def unread(self) -> bool:
        """Whether the client is still sending, or about to."""
        return self._expected

    async def drain(self) -> None:
        """Take in a bounded rest and forget it, so that a client that sends first and reads then gets its answer."""
        if self._waits_for_continue:
            return
        self._size, self._limit = 0, DRAIN_BYTES
        with suppress(TimeoutError, HTTPException):
            async with asyncio.timeout(DRAIN_SECONDS):
                while self._expected:
                    await self()


async def read_body(receive: Receive) -> bytes:
    """The whole body. Raises the receiver's 413, and BadRequest when the client hung up in the middle."""
    pieces: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise BadRequest("The request body broke off.")
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces) if len(pieces) > 1 else pieces[0]
