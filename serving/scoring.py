"""How probable a version finds an answer that was given: its log-probability a token, in one prefill, after the fact.

The prompt is tokenised by the engine as at serving time and the answer's text behind it, so the place where one ends
and the other begins is known whatever the template does with finished turns. Users go first: these calls have a low
priority. Knows nothing of where answers come from or what scores are for.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import orjson

from core.errors import EngineFailed, EngineUnavailable
from core.types import Json, JsonObject, Version
from serving.client import EngineClient

TOKENS, COMPLETIONS = "/tokenize", "/v1/completions"
PRIORITY = 20
"""Larger is later: behind users (0) and mirrored calls (10)."""
PATIENCE = 60.0
"""Seconds after which an engine counts as not answering."""
REQUEST_ID = "score"


@dataclass(frozen=True, slots=True)
class Scored:
    """Mean natural log-probabilities a token, each at most 0: of the answer, and of the prompt that it followed, which
    is None where the prompt is a single token. `tokens` are those of the answer."""

    answer: float
    prompt: float | None
    tokens: int


class Scorer:
    """Scores answers through the engine behind the client."""

    def __init__(self, engine: EngineClient) -> None:
        self._engine = engine

    async def score(
        self, version: Version, messages: Sequence[JsonObject], answer: str, tools: Json = None
    ) -> Scored | None:
        """How probable `version` finds `answer` after `messages`.

        None when there is nothing to score or the engine refuses: an unknown version, a prompt that the template does
        not take, more tokens than the model's context, numbers that are none. Raises EngineUnavailable, EngineFailed.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._score(version, messages, answer, tools)
        except TimeoutError:
            raise EngineUnavailable(f"The engine has not scored an answer in {PATIENCE:g} s.", retry_after=1) from None

    async def _score(self, version: Version, messages: Sequence[JsonObject], answer: str, tools: Json) -> Scored | None:
        given = {"tools": tools} if tools else {}
        prompt = await self._tokens({"model": version, "messages": messages, "add_generation_prompt": True, **given})
        reply = await self._tokens({"model": version, "prompt": answer, "add_special_tokens": False})
        if not prompt or not reply:
            return None
        asked = {"max_tokens": 1, "temperature": 0, "prompt_logprobs": 0, "priority": PRIORITY}
        answered = await self._ask(COMPLETIONS, {"model": version, "prompt": [*prompt, *reply], **asked})
        found = answered["choices"][0].get("prompt_logprobs") if answered else None
        return scored(found, [*prompt, *reply], len(prompt)) if found else None

    async def _tokens(self, body: Mapping[str, Any]) -> Sequence[int]:
        answered = await self._ask(TOKENS, body)
        tokens: Sequence[int] = answered["tokens"] if answered else ()
        return tokens

    async def _ask(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The engine's answer; None when it refuses the request."""
        async with self._engine.post(path, orjson.dumps(body), REQUEST_ID) as upstream:
            content = await upstream.read()
        if upstream.status >= 500:
            words = content[:200].decode(errors="replace")
            raise EngineFailed(f"The engine failed to score an answer: {upstream.status} {words}")
        answered: Mapping[str, Any] | None = orjson.loads(content) if upstream.status == 200 else None
        return answered


def scored(
    found: Sequence[Mapping[str, Mapping[str, float]] | None], tokens: Sequence[int], boundary: int
) -> Scored | None:
    """The means over vLLM's entries, one a token and keyed by it, the first empty; the answer begins at `boundary`.

    None when an entry is missing or not a number.
    """
    if len(found) != len(tokens) or not 0 < boundary < len(tokens):
        return None
    entries = zip(found[1:], tokens[1:], strict=True)
    values = [(entry or {}).get(str(token), {}).get("logprob") for entry, token in entries]
    numbers = [value for value in values if value is not None and isfinite(value)]
    if len(numbers) < len(values):
        return None
    prompt, answer = numbers[: boundary - 1], numbers[boundary - 1 :]
    return Scored(_mean(answer), _mean(prompt) if prompt else None, len(answer))


def _mean(values: Sequence[float]) -> float:
    # Rounding may lift a certain token a speck above 0.
    return min(sum(values) / len(values), 0.0)
