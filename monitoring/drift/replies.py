"""What an answer shows by itself: whether it says that it is none, and whether the tools that it calls can be called.

Words of refusal are looked for as they are configured, up to case, spaces and punctuation, in the language of the
deployment. Whether a refusal is right is not known here, nor what a tool would do.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import orjson

from core.text import normalise
from core.types import Interaction, Json, JsonObject

REFUSAL, TOOL_ERROR = "refusal", "tool_error"
"""Names of scores: 1 for an answer with this fault, 0 without it."""


@dataclass(frozen=True, slots=True)
class Replies:
    """A source of scores; `refusals` are words by which an answer says that it is none."""

    refusals: Sequence[str]
    name: str = "reply"

    async def of(self, answer: Interaction) -> Mapping[str, float]:
        """Of an answer in words whether it refuses, of one that calls tools whether a call must fail."""
        reply = answer.reply or {}
        calls, said = reply.get("tool_calls"), reply.get("content")
        if isinstance(calls, Sequence) and calls:
            return {TOOL_ERROR: float(is_broken(calls, answer.params.get("tools")))}
        if isinstance(said, str) and said:
            return {REFUSAL: float(refuses(said, self.refusals))}
        return {}


def refuses(text: str, refusals: Iterable[str]) -> bool:
    """Whether one of these sayings is in a text, as whole words."""
    said = _words(text)
    return any(pattern.search(said) for pattern in map(_pattern, refusals) if pattern)


@lru_cache
def _pattern(saying: str) -> re.Pattern[str] | None:
    words = _words(saying)
    if not words:
        return None
    # Scripts without case are mostly those without spaces, where a saying stands amid others.
    begin, end = (r"\b" if edge.upper() != edge.lower() else "" for edge in (words[0], words[-1]))
    return re.compile(f"{begin}{re.escape(words)}{end}")


def _words(text: str) -> str:
    return " ".join(filter(None, map(normalise, text.split())))


def is_broken(calls: Iterable[Json], tools: Json) -> bool:
    """Whether one of the calls is of a tool that was not offered, or with arguments that are no JSON object."""
    offered = frozenset(_offered(tools))
    return any(not _can_run(call, offered) for call in calls)


def _offered(tools: Json) -> Iterator[str]:
    for tool in tools if isinstance(tools, Sequence) else ():
        if isinstance(tool, Mapping) and (name := _function(tool).get("name")):
            yield str(name)


def _can_run(call: Json, offered: frozenset[str]) -> bool:
    function = _function(call) if isinstance(call, Mapping) else {}
    return function.get("name") in offered and _is_object(function.get("arguments"))


def _function(holder: JsonObject) -> JsonObject:
    found = holder.get("function")
    return found if isinstance(found, Mapping) else {}


def _is_object(arguments: Json) -> bool:
    try:
        return isinstance(arguments, str) and isinstance(orjson.loads(arguments), dict)
    except orjson.JSONDecodeError:
        return False
