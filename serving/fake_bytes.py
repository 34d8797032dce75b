"""The JSON that vLLM writes, field by field and in its order, for one answer made of known tokens.

Pure. A test compares it with the real engine's.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import orjson

CHAT = "/v1/chat/completions"
COMPLETION = "/v1/completions"
FINGERPRINT = "vllm-fake"
DONE = b"data: [DONE]\n\n"
DEATH = (
    b'data: {"error": {"message": "EngineCore encountered an issue. See stack trace (above) for the root cause.", '
    b'"type": "InternalServerError", "param": null, "code": 500}}\n\n'
)

Fields = dict[str, Any]


def card(name: str, root: str, parent: str | None, context: int | None) -> Fields:
    """One row of the list of models."""
    permission = {
        "id": f"modelperm-{name}",
        "object": "model_permission",
        "created": int(time.time()),
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }
    head = {"id": name, "object": "model", "created": int(time.time()), "owned_by": "vllm"}
    return {**head, "root": root, "parent": parent, "max_model_len": context, "permission": [permission]}


def embeddings(model: str, vectors: Sequence[Sequence[float]]) -> bytes:
    """The body of an answer that holds vectors."""
    rows = [{"index": i, "object": "embedding", "embedding": vector} for i, vector in enumerate(vectors)]
    usage = {"prompt_tokens": len(rows), "total_tokens": len(rows)}
    return orjson.dumps({"object": "list", "model": model, "data": rows, "usage": usage})


@dataclass(frozen=True, slots=True)
class Shape:
    """What the request says about the form of its answer."""

    chat: bool
    id: str
    model: str
    prompt: str
    usage: bool = False
    created: int = field(default_factory=lambda: int(time.time()))

    @classmethod
    def of(cls, path: str, body: Mapping[str, Any], request_id: str) -> Self:
        """The shape of a call to CHAT or COMPLETION."""
        chat = path == CHAT
        prompt = _last_text(body["messages"]) if chat else str(body["prompt"])
        usage = bool((body.get("stream_options") or {}).get("include_usage"))
        return cls(chat, ("chatcmpl-" if chat else "cmpl-") + request_id, body["model"], prompt, usage)

    @property
    def preamble(self) -> int:
        """Events of a stream before its first token."""
        return 1 if self.chat else 0

    def head(self, *, chunk: bool) -> Fields:
        """The first four fields of every object."""
        kind = ("chat.completion.chunk" if chunk else "chat.completion") if self.chat else "text_completion"
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


@dataclass(frozen=True, slots=True)
class Answer:
    """The tokens of an answer and how it ended."""

    shape: Shape
    tokens: Sequence[str]
    finish: str

    def whole(self) -> bytes:
        """The body of an answer that is not streamed."""
        shape, text = self.shape, "".join(self.tokens)
        usage = {**self._usage(), "prompt_tokens_details": None, "completion_tokens_details": None}
        middle = {"service_tier": None, "system_fingerprint": FINGERPRINT, "usage": usage}
        tail: Fields = {"kv_transfer_params": None, "ec_transfer_params": None, "metrics": None}
        end = {"logprobs": None, "finish_reason": self.finish, "stop_reason": None, "token_ids": None}
        if shape.chat:
            choice = {"index": 0, "message": _message(text), **end, "routed_experts": None}
            tail = {"prompt_logprobs": None, "prompt_token_ids": None, "prompt_text": None, **tail}
        else:
            choice = {"index": 0, "text": text, **end, "prompt_logprobs": None, "prompt_token_ids": None}
            choice["routed_experts"] = None
        return orjson.dumps({**shape.head(chunk=False), "choices": [choice], **middle, **tail})

    def events(self) -> Iterator[bytes]:
        """The server-sent events of a streamed answer, one a token."""
        if self.shape.chat:
            yield self._opening()
        for number, token in enumerate(self.tokens, start=1):
            yield self._token(token, last=number == len(self.tokens))
        if self.shape.usage:
            head = self.shape.head(chunk=True)
            yield _event({**head, "choices": [], "usage": self._usage(), "system_fingerprint": FINGERPRINT})
        yield DONE

    def _opening(self) -> bytes:
        delta = {"role": "assistant", "content": ""}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        head = self.shape.head(chunk=True)
        return _event({**head, "choices": [choice], "prompt_token_ids": None, "prompt_text": None})

    def _token(self, token: str, *, last: bool) -> bytes:
        ended = {"finish_reason": self.finish if last else None}
        if self.shape.chat:
            stop = {"stop_reason": None} if last else {}
            choice = {"index": 0, "delta": {"content": token}, "logprobs": None, **ended, **stop, "token_ids": None}
        else:
            choice = {"index": 0, "text": token, "logprobs": None, **ended, "stop_reason": None}
            choice |= {"prompt_token_ids": None, "token_ids": None}
        fingerprint = {"system_fingerprint": FINGERPRINT} if last and not self.shape.usage else {}
        return _event({**self.shape.head(chunk=True), "choices": [choice], **fingerprint})

    def _usage(self) -> Fields:
        asked, given = len(self.shape.prompt.split()), len(self.tokens)
        return {"prompt_tokens": asked, "total_tokens": asked + given, "completion_tokens": given}


def _message(text: str) -> Fields:
    empty = dict.fromkeys(("refusal", "annotations", "audio", "function_call", "reasoning"))
    return {"role": "assistant", "content": text, **empty}


def _last_text(messages: Sequence[Mapping[str, Any]]) -> str:
    content = messages[-1]["content"] if messages else ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _event(content: Fields) -> bytes:
    return b"data: " + orjson.dumps(content) + b"\n\n"
