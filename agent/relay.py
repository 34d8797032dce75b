"""An engine's stream on its way to the client: cut at event boundaries, each event sent at once, the last one held.

Parses nothing; a few unescaped byte sequences, which no text inside JSON can imitate, tell the events apart. Knows
neither the ledger nor HTTP's head.
"""

from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import dataclass, field

from agent import failures
from agent.answer import Transcript
from core.errors import EngineFailed
from core.types import Version

END = b"\n\n"
DONE = b"data: [DONE]" + END
DONE_MARK = b"[DONE]"
ERROR_MARK = b'{"error"'
USAGE_MARK = b'"choices":[]'
LARGEST_EVENT = 1 << 23


@dataclass(slots=True)
class Splitter:
    """Pieces of any size in, whole events out."""

    _rest: bytes = b""

    def feed(self, piece: bytes) -> bytes:
        """All events that are complete now, one after the other. Raises EngineFailed for one that never ends."""
        data = self._rest + piece if self._rest else piece
        if data.endswith(END):
            self._rest = b""
            return data
        whole, end, self._rest = data.rpartition(END)
        if len(self._rest) > LARGEST_EVENT:
            raise EngineFailed("The engine sent an event of more than 8 MiB.")
        return whole + end


@dataclass(frozen=True, slots=True)
class Blinding:
    """Puts the asked model's name where the engine wrote the version's."""

    version: Version
    shown: str
    _found: bytes = field(init=False)
    _put: bytes = field(init=False)

    def __post_init__(self) -> None:
        # A quotation mark inside a JSON text is escaped, so this can only be the field itself.
        object.__setattr__(self, "_found", b'"model":"%b"' % self.version.encode())
        object.__setattr__(self, "_put", b'"model":"%b"' % self.shown.encode())

    def __call__(self, document: bytes) -> bytes:
        return document.replace(self._found, self._put)


@dataclass(slots=True)
class Relay:
    """One stream. `pass_on` sends events to the client; what it took is kept in `transcript`."""

    pass_on: Callable[[bytes], Awaitable[None]]
    blind: Blinding
    usage: bool
    """Whether the client asked for the event that counts tokens."""
    transcript: Transcript
    _done: bool = False

    async def run(self, pieces: AsyncIterable[bytes]) -> None:
        """Relay everything but the end mark. Raises EngineFailed when the engine stops before it."""
        splitter = Splitter()
        async for piece in pieces:
            if events := splitter.feed(piece):
                await self._sort(self.blind(events))
        if not self._done:
            raise EngineFailed("The engine broke its answer off.")

    async def _sort(self, events: bytes) -> None:
        plain = DONE_MARK not in events and ERROR_MARK not in events and (self.usage or USAGE_MARK not in events)
        if plain:
            await self._pass(events)
            return
        for text in events.split(END)[:-1]:
            await self._one(text + END)

    async def _one(self, event: bytes) -> None:
        if event == DONE:
            self._done = True
        elif event.startswith(b"data: " + ERROR_MARK):
            raise failures.of_engine(500, event[6:], self.blind.version, self.blind.shown)
        elif USAGE_MARK in event and not self.usage:
            self.transcript.add(event)
        else:
            await self._pass(event)

    async def _pass(self, events: bytes) -> None:
        await self.pass_on(events)
        self.transcript.add(events)
