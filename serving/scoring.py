"""How sure a version is of an answer that was given, after the fact: by probability, by word, or by saying it again.

For its log-probability, in one prefill, the prompt is tokenised by the engine as at serving time and the answer's text
behind it, so the place where one ends and the other begins is known whatever the template does with finished turns.
Users go first: these calls have a low priority. Knows nothing of where answers come from or what scores are for.
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, isfinite
from typing import Any, TypeVar

import orjson

from core.errors import EngineFailed, EngineUnavailable
from core.types import Json, JsonObject, Version
from serving.client import EngineClient

TOKENS, COMPLETIONS, CHAT = "/tokenize", "/v1/completions", "/v1/chat/completions"
PRIORITY = 20
"""Larger is later: behind users (0) and mirrored calls (10)."""
PATIENCE = 60.0
"""Seconds after which an engine counts as not answering."""
REQUEST_ID = "score"
DOUBT = "Is the answer above correct? Reply with one word: True or False."
WORDS = "True", "False"
SLACK = 8
"""Tokens by which the same answer may be longer when it is said again: other pieces of the same words, and its end."""

Answered = TypeVar("Answered")


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
        return await _patiently(self._score(version, messages, answer, tools))

    async def belief(
        self, version: Version, messages: Sequence[JsonObject], answer: str, tools: Json = None
    ) -> float | None:
        """The probability, from 0 to 1, of the word True against False when `version` is asked if `answer` is correct.

        Each word counts by its first token; asking costs one prefill. S. Kadavath et al., Language models (mostly) know
        what they know, arXiv 2207.05221 (2022). None and errors as those of `score`.
        """
        return await _patiently(self._believed(version, messages, answer, tools))

    async def again(
        self, version: Version, messages: Sequence[JsonObject], answer: str, samples: int, tools: Json = None
    ) -> Sequence[str]:
        """What `version` says after `messages` at temperature 1, so many times, each cut a little behind the length of
        `answer`: what is longer is another answer. Empty where `score` is None; errors as there.
        """
        return await _patiently(self._repeated(version, messages, answer, samples, tools))

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

    async def _believed(
        self, version: Version, messages: Sequence[JsonObject], answer: str, tools: Json
    ) -> float | None:
        turns = [*messages, {"role": "assistant", "content": answer}, {"role": "user", "content": DOUBT}]
        given = {"tools": tools} if tools else {}
        prompt = await self._tokens({"model": version, "messages": turns, "add_generation_prompt": True, **given})
        words = [await self._tokens({"model": version, "prompt": word, "add_special_tokens": False}) for word in WORDS]
        if not answer or not prompt or not all(words):
            return None
        firsts = [word[0] for word in words]
        asked = {"max_tokens": 1, "temperature": 0, "priority": PRIORITY, "return_tokens_as_token_ids": True}
        wanted = {"logprobs": len(firsts), "logprob_token_ids": firsts}
        answered = await self._ask(COMPLETIONS, {"model": version, "prompt": prompt, **asked, **wanted})
        found = answered["choices"][0].get("logprobs") if answered else None
        return believed(found["top_logprobs"][0], firsts) if found else None

    async def _repeated(
        self, version: Version, messages: Sequence[JsonObject], answer: str, samples: int, tools: Json
    ) -> Sequence[str]:
        reply = await self._tokens({"model": version, "prompt": answer, "add_special_tokens": False})
        if not reply:
            return ()
        asked = {"n": samples, "temperature": 1, "max_tokens": len(reply) + SLACK, "priority": PRIORITY}
        given = {"tools": tools} if tools else {}
        answered = await self._ask(CHAT, {"model": version, "messages": messages, **asked, **given})
        choices: Sequence[Mapping[str, Any]] = answered["choices"] if answered else ()
        return [choice["message"].get("content") or "" for choice in choices]

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


async def _patiently(work: Awaitable[Answered]) -> Answered:
    try:
        async with asyncio.timeout(PATIENCE):
            return await work
    except TimeoutError:
        raise EngineUnavailable(f"The engine has not scored an answer in {PATIENCE:g} s.", retry_after=1) from None


def believed(found: Mapping[str, float | None], tokens: Sequence[int]) -> float | None:
    """The share of the first of two tokens in their probability; `found` has vLLM's log-probabilities by token.

    None where both begin alike, or a number is missing or none.
    """
    values = [found.get(f"token_id:{token}") for token in tokens]
    numbers = [value for value in values if value is not None and isfinite(value)]
    if len(numbers) < 2 or tokens[0] == tokens[1]:
        return None
    gap = numbers[1] - numbers[0]
    return 1 / (1 + exp(gap)) if gap < 0 else exp(-gap) / (1 + exp(-gap))


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
