"""What an answer says, read after it went out: from a whole body, or from the events of a stream.

Pure. Tolerant of streams that were cut anywhere: what was sent is what is read.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

from core.types import Finish, JsonObject

FOLD = 1 << 18
"""Bytes of events that may wait before they are folded into text: few enough for memory, many enough for speed."""
COMPLETION_ROLE = "completion"
FINISHES: Mapping[str, Finish] = {
    "stop": Finish.STOP,
    "length": Finish.LENGTH,
    "tool_calls": Finish.TOOL_CALLS,
    "function_call": Finish.TOOL_CALLS,
    "content_filter": Finish.CONTENT_FILTER,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply as a message (further choices under `alternatives`), how it ended, and what it cost in tokens."""

    reply: JsonObject | None = None
    finish: Finish | None = None
    """None while some choice has not ended."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    @property
    def has_text(self) -> bool:
        """Whether there is something to read and to rate, in the first choice."""
        return bool(self.reply and self.reply.get("content"))


@dataclass(slots=True)
class _Choice:
    role: str = "assistant"
    texts: dict[str, list[str]] = field(default_factory=dict)
    """Pieces of `content`, `refusal` and `reasoning`."""
    calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    finish: str | None = None

    def add(self, piece: Mapping[str, Any]) -> None:
        """Take in a choice of an event or of a whole body."""
        said = piece.get("delta") or piece.get("message") or {}
        if "text" in piece:
            said = {"role": COMPLETION_ROLE, "content": piece["text"]}
        self.role = said.get("role") or self.role
        for name in ("content", "refusal", "reasoning"):
            if said.get(name) is not None:
                self.texts.setdefault(name, []).append(said[name])
        for number, call in enumerate(said.get("tool_calls") or ()):
            self._call(call.get("index", number), call)
        self.finish = piece.get("finish_reason") or self.finish

    def _call(self, index: int, piece: Mapping[str, Any]) -> None:
        call = self.calls.setdefault(index, {"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
        call["id"] = piece.get("id") or call["id"]
        for name, text in (piece.get("function") or {}).items():
            call["function"][name] = call["function"].get(name, "") + (text or "")

    def message(self) -> dict[str, Any]:
        texts = {name: "".join(pieces) for name, pieces in self.texts.items()}
        calls = {"tool_calls": [self.calls[index] for index in sorted(self.calls)]} if self.calls else {}
        return {"role": self.role, **texts, **calls}


@dataclass(slots=True)
class Transcript:
    """Keeps what of an answer went out, and reads it at the end."""

    _pieces: list[bytes] = field(default_factory=list)
    _waiting: int = 0
    _choices: dict[int, _Choice] = field(default_factory=dict)
    _usage: Mapping[str, Any] = field(default_factory=dict)

    def add(self, events: bytes) -> None:
        """Keep complete server-sent events."""
        self._pieces.append(events)
        self._waiting += len(events)
        if self._waiting > FOLD:
            self._fold()

    def add_whole(self, body: bytes) -> None:
        """Keep the body of an answer that is not a stream. Raises ValueError for what is not a JSON object."""
        document = orjson.loads(body)
        if not isinstance(document, dict):
            raise ValueError("not a JSON object")
        self._take(document)

    def read(self, expected: int = 1) -> Answer:
        """What was kept so far; `expected` choices must have ended for the answer to have."""
        self._fold()
        if not self._choices:
            return Answer(None, None, self._usage.get("prompt_tokens"), self._usage.get("completion_tokens"))
        first, *others = (self._choices[index] for index in sorted(self._choices))
        reply = first.message()
        if others:
            reply["alternatives"] = [choice.message() for choice in others]
        ended = len(self._choices) >= expected and all(choice.finish for choice in self._choices.values())
        finish = FINISHES.get(first.finish or "", Finish.ERROR) if ended else None
        return Answer(reply, finish, self._usage.get("prompt_tokens"), self._usage.get("completion_tokens"))

    def _fold(self) -> None:
        for event in b"".join(self._pieces).split(b"\n\n"):
            if event.startswith(b"data: {"):
                with suppress(orjson.JSONDecodeError):
                    self._take(orjson.loads(event[6:]))
        self._pieces.clear()
        self._waiting = 0

    def _take(self, document: Mapping[str, Any]) -> None:
        choices: Sequence[Mapping[str, Any]] = document.get("choices") or ()
        for piece in choices:
            self._choices.setdefault(piece.get("index", 0), _Choice()).add(piece)
        self._usage = document.get("usage") or self._usage
