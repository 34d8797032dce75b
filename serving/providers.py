"""Models that others run, reached through LiteLLM: a fallback for chat, a teacher, a judge, embeddings.

LiteLLM takes seconds to import, so that happens at the first call, in a thread; the default configuration never makes
one. A provider's words on a refused key may quote the key, so they are not passed on.
"""

import asyncio
import importlib
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.config import Provider, tame_litellm
from core.errors import (
    BadRequest,
    ContextTooLong,
    DeadlineExceeded,
    EngineFailed,
    HoneError,
    SetupError,
    TooMany,
    Unavailable,
)
from core.types import Json, JsonObject

OURS = ("model", "api_key", "api_base", "base_url", "timeout", "num_retries", "stream", "messages", "input")
"""Arguments that the configuration decides, never a caller's parameters."""
RETRY = 5.0


@dataclass(frozen=True, slots=True)
class Completion:
    """A provider's answer. `body` is the OpenAI object, under the provider's own id and model name."""

    text: str | None
    finish: str
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: float | None
    """US dollars, where LiteLLM knows the price."""
    body: JsonObject


async def complete(provider: Provider, messages: Sequence[JsonObject], params: Mapping[str, Json]) -> Completion:
    """One chat answer. Raises a HoneError whose message holds nothing secret."""
    arguments = _arguments(provider, params)
    litellm = await _litellm()
    with _translated(litellm, provider):
        reply = await litellm.acompletion(messages=list(messages), **arguments)
        return _completion(reply)


async def stream(
    provider: Provider, messages: Sequence[JsonObject], params: Mapping[str, Json]
) -> AsyncGenerator[JsonObject, None]:
    """The chunks of one chat answer as OpenAI objects; leaving early ends the generation. Raises as `complete`."""
    arguments = _arguments(provider, params)
    litellm = await _litellm()
    with _translated(litellm, provider):
        chunks = await litellm.acompletion(messages=list(messages), stream=True, **arguments)
        try:
            async for chunk in chunks:
                yield chunk.model_dump(exclude_none=True)
        finally:
            await chunks.aclose()


async def embed(provider: Provider, texts: Sequence[str]) -> list[list[float]]:
    """One vector a text, in order. Raises as `complete`."""
    arguments = _arguments(provider, {})
    litellm = await _litellm()
    with _translated(litellm, provider):
        reply = await litellm.aembedding(input=list(texts), encoding_format="float", **arguments)
        return [list(row["embedding"]) for row in sorted(reply.data, key=lambda row: int(row["index"]))]


async def _litellm() -> Any:
    if "litellm" in sys.modules:
        return sys.modules["litellm"]
    tame_litellm()
    module: Any = await asyncio.to_thread(importlib.import_module, "litellm")
    module.telemetry = False
    module.suppress_debug_info = True
    return module


def _arguments(provider: Provider, params: Mapping[str, Json]) -> dict[str, Json]:
    if not provider.model:
        raise SetupError("No such provider is configured; name one under [providers] in the settings file.")
    if taken := [name for name in params if name in OURS]:
        raise BadRequest(f"{taken[0]} cannot be set for a provider by a call.", param=taken[0])
    chosen: dict[str, Json] = {"model": provider.model, "timeout": provider.timeout, "num_retries": 0, "max_retries": 0}
    if provider.api_base:
        chosen["api_base"] = provider.api_base
    if provider.api_key_file:
        chosen["api_key"] = _key(provider)
    return {**params, **chosen}


def _key(provider: Provider) -> str:
    try:
        return Path(provider.api_key_file).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"The key file of {provider.model} cannot be read ({type(error).__name__}).") from None


def _completion(reply: Any) -> Completion:
    choice, usage = reply.choices[0], getattr(reply, "usage", None)
    return Completion(
        text=choice.message.content,
        finish=choice.finish_reason,
        prompt_tokens=usage and usage.prompt_tokens,
        completion_tokens=usage and usage.completion_tokens,
        cost=reply._hidden_params.get("response_cost"),
        body=reply.model_dump(exclude_none=True),
    )


@contextmanager
def _translated(litellm: Any, provider: Provider) -> Iterator[None]:
    from openai import OpenAIError  # the root of LiteLLM's errors; it takes half a second to import

    try:
        yield
    except litellm.exceptions.ContextWindowExceededError:
        raise ContextTooLong(f"Prompt and answer do not fit {provider.model}; shorten the conversation.") from None
    except OpenAIError as error:
        raise translate(getattr(error, "status_code", None), str(error), provider) from None


def translate(status: int | None, words: str, provider: Provider) -> HoneError:
    """Our error for a provider's HTTP status; only the words on a request that it found wrong are passed on."""
    name = provider.model
    match status:
        case 400 | 422:
            return BadRequest(f"{name} finds the request wrong: {_their_words(words, provider)}")
        case 401 | 403:
            return Unavailable(f"{name} refuses Hone's key; check the provider's api_key_file.", retry_after=60.0)
        case 404:
            return Unavailable(f"{name} is not known to its provider; check model and api_base.", retry_after=60.0)
        case 408 | 504:
            return DeadlineExceeded(f"{name} did not answer within {provider.timeout:g} s.")
        case 429:
            return TooMany(f"{name} is at its provider's limit; try again later.", retry_after=RETRY)
        case 500 | 502 | 503 | None:
            return Unavailable(f"{name} does not answer just now; try again.", retry_after=RETRY)
        case _:
            return EngineFailed(f"{name} failed with status {status}.")


def _their_words(words: str, provider: Provider) -> str:
    """What the provider said, without LiteLLM's preface and without the key."""
    said = words.rpartition("Exception - ")[2]
    return (said.replace(_key(provider), "[key]") if provider.api_key_file else said)[:500]
