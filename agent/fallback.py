"""Chats answered by a provider while our engine is down: the same shape, the same ids, a row that says so.

Only for chats that named no version; such an answer counts for no version of ours.
"""

from collections.abc import AsyncIterable
from dataclasses import dataclass
from typing import Any

import orjson

from agent.ask import CHAT, Ask
from agent.call import Call
from agent.line import Line
from core import config
from core.types import Arm, JsonObject
from serving import providers


@dataclass(frozen=True, slots=True)
class Fallback:
    """A configured provider; one without a model answers nothing."""

    provider: config.Provider

    @property
    def there(self) -> bool:
        return bool(self.provider.model)

    def may_answer(self, call: Call) -> bool:
        """Whether this call may leave the house."""
        return self.there and call.surface is CHAT and call.arm is not Arm.NAMED

    async def ask(self, call: Call, line: Line) -> bytes | None:
        """The provider's whole answer; None when it was a stream, which has then gone out up to its end mark."""
        call.leave_house(self.provider.model)
        params = _params(call.ask)
        if call.ask.stream:
            await _relay(call, line, providers.stream(self.provider, call.ask.messages, params))
            return None
        completion = await providers.complete(self.provider, call.ask.messages, params)
        call.cost = completion.cost
        body = _document(call, completion.body)
        call.transcript.add_whole(body)
        return body


async def _relay(call: Call, line: Line, chunks: AsyncIterable[JsonObject]) -> None:
    async for chunk in chunks:
        event = b"data: " + _document(call, chunk) + b"\n\n"
        if chunk.get("choices") or call.ask.usage:
            if not line.begun:
                call.begin(None)
                await line.begin(call.headers())
            await line.piece(event)
        call.transcript.add(event)


def _document(call: Call, body: JsonObject) -> bytes:
    return orjson.dumps({**body, "id": call.surface.prefix + call.id, "model": call.ask.model})


def _params(ask: Ask) -> dict[str, Any]:
    return {name: value for name, value in ask.forward.items() if name not in ("messages", "stream")}
