"""What one call asks, whichever way it came in: the two surfaces, and the body that goes to the engine.

Pure. Knows OpenAI's two formats; who may ask for what is decided elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from agent.messages import canonical, check
from agent.wire import ChatRequest, CompletionRequest, read
from core.errors import BadRequest
from core.ids import CHAT_PREFIX, COMPLETION_PREFIX
from core.types import JsonObject, Version

OURS = frozenset({"model", "user", "safety_identifier", "metadata", "store"})
"""Fields that are for Hone; the engine never sees them."""
ASKED = frozenset({"messages", "prompt", "stream", "stream_options"}) | OURS
"""Fields that are not parameters of the answer."""
PROMPT_ROLE = "prompt"


@dataclass(frozen=True, slots=True)
class Surface:
    """One of the two ways to ask."""

    kind: str
    path: str
    prefix: str
    request: type[ChatRequest] | type[CompletionRequest]


CHAT = Surface("chat", "/v1/chat/completions", CHAT_PREFIX, ChatRequest)
COMPLETION = Surface("completion", "/v1/completions", COMPLETION_PREFIX, CompletionRequest)


@dataclass(frozen=True, slots=True)
class Ask:
    """A checked request. `forward` is the engine's body but for the version; `params` what shaped the answer."""

    model: str
    user: str | None
    stream: bool
    usage: bool
    stored: bool
    messages: Sequence[JsonObject]
    forward: JsonObject
    params: JsonObject
    choices: int = 1
    """How many answers come back."""
    tags: JsonObject = field(default_factory=dict)

    def body(self, version: Version) -> bytes:
        """What the engine is asked."""
        return orjson.dumps({"model": version, **self.forward})


def understand(surface: Surface, body: bytes) -> Ask:
    """The request in a body. Raises BadRequest that names the field."""
    request, data = read(surface.request, body)
    stream = bool(request.stream)
    options = request.stream_options
    if options and not stream:
        raise BadRequest("stream_options is for streams; set stream to true.", param="stream_options")
    forward: dict[str, Any] = {name: value for name, value in data.items() if name not in OURS and value is not None}
    if isinstance(request, ChatRequest):
        check(request.messages)
        forward["messages"] = messages = [canonical(message) for message in data["messages"]]
    else:
        messages = [{"role": PROMPT_ROLE, "content": data["prompt"]}]
    if stream:
        # The ledger wants every stream's counts; the relay drops the event that carries them where no client asked.
        forward["stream_options"] = {"include_usage": True}
    stored = request.store is not False
    return Ask(
        model=request.model,
        user=request.user if request.user is not None else request.safety_identifier,
        stream=stream,
        usage=bool(options and options.include_usage),
        stored=stored,
        messages=messages,
        forward=forward,
        params=_params(forward, stored),
        choices=(request.n or 1) * _prompts(request),
        tags=(request.metadata or {}) if stored else {},
    )


def _prompts(request: ChatRequest | CompletionRequest) -> int:
    if isinstance(request, ChatRequest) or isinstance(request.prompt, str) or isinstance(request.prompt[0], int):
        return 1
    return len(request.prompt)


def _params(forward: Mapping[str, Any], stored: bool) -> JsonObject:
    """The parameters; of a call that must not be stored only numbers and switches, since texts may say anything."""
    params = {name: value for name, value in forward.items() if name not in ASKED}
    return params if stored else {name: value for name, value in params.items() if isinstance(value, int | float)}
