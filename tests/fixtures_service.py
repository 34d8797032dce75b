"""A stand-in for a whole Hone behind HTTP, for commands that speak to one, with knobs for trouble."""

import asyncio
import itertools
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

KEY = "hone_user_of_the_stand_in"


@dataclass(slots=True)
class FakeService:
    """Answers with `answer(last user text)`; the first `failing` chats get 503, `stalled` answers stop after a word."""

    answer: Callable[[str], str] = str.upper
    version: str | None = None
    ready: bool = True
    failing: int = 0
    feedback_fails: bool = False
    stalled: bool = False
    asks: Callable[[int], bool] = lambda number: True
    """Whether the answer to the chat of this number, from 1, is to be rated."""
    status: dict[str, Any] = field(default_factory=dict)
    chats: list[dict[str, Any]] = field(default_factory=list)
    ratings: list[dict[str, Any]] = field(default_factory=list)
    pages: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """By path: what a list answers with, two items a page."""

    def app(self) -> Starlette:
        routes = [
            Route("/readyz", self._readyz),
            Route("/v1/models", self._models),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/feedback", self._feedback, methods=["POST"]),
            Route("/api/status", self._status),
            Route("/api/{rest:path}", self._page),
        ]
        return Starlette(routes=routes)

    async def _readyz(self, request: Request) -> Response:
        return JSONResponse({"ready": self.ready}, 200 if self.ready else 503)

    async def _models(self, request: Request) -> Response:
        return _refused(request) or JSONResponse({"object": "list", "data": [{"id": "hone", "object": "model"}]})

    async def _status(self, request: Request) -> Response:
        return _refused(request) or JSONResponse(self.status)

    async def _page(self, request: Request) -> Response:
        items, start = self.pages[request.url.path], int(request.query_params.get("cursor", 0))
        following = str(start + 2) if start + 2 < len(items) else None
        return _refused(request) or JSONResponse({"data": items[start : start + 2], "next": following})

    async def _feedback(self, request: Request) -> Response:
        if self.feedback_fails:
            return _error(503, "not stored")
        self.ratings.append({**await request.json(), "idempotency": request.headers.get("idempotency-key")})
        return JSONResponse({"id": f"fb_{len(self.ratings)}"}, 201)

    async def _chat(self, request: Request) -> Response:
        if refusal := _refused(request):
            return refusal
        body = await request.json()
        self.chats.append(body)
        if len(self.chats) <= self.failing:
            return _error(503, "try again")
        text = self.answer(body["messages"][-1]["content"])
        if text == "TOO LONG":
            return _error(400, "The prompt is too long.", "context_length_exceeded")
        answer_id = f"chatcmpl-{len(self.chats)}"
        headers = {"x-hone-version": self.version} if self.version else {}
        headers |= {"x-hone-ask": "thumbs"} if self.asks(len(self.chats)) else {}
        if body.get("stream"):
            return StreamingResponse(self._events(answer_id, text), media_type="text/event-stream", headers=headers)
        return JSONResponse(_completion(answer_id, "chat.completion", {"message": _said(text)}), headers=headers)

    async def _events(self, answer_id: str, text: str) -> AsyncIterator[bytes]:
        words = [f"{word} " for word in text.split()]
        for word, last in zip(words, itertools.chain([False] * (len(words) - 1), [True]), strict=True):
            finish = "stop" if last else None
            choice = {"delta": {"content": word.strip() if last else word}, "finish_reason": finish}
            yield b"data: " + json.dumps(_completion(answer_id, "chat.completion.chunk", choice)).encode() + b"\n\n"
            if self.stalled:
                await asyncio.sleep(600)
        yield b"data: [DONE]\n\n"


def _said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _completion(answer_id: str, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
    choices = [{"index": 0, "finish_reason": "stop", **choice}]
    return {"id": answer_id, "object": kind, "created": 1, "model": "hone", "choices": choices}


def _refused(request: Request) -> Response | None:
    given = request.headers.get("authorization")
    return None if given == f"Bearer {KEY}" else _error(401, "This key is not one of ours.")


def _error(status: int, message: str, code: str | None = None) -> Response:
    error = {"message": message, "type": "server_error", "param": None, "code": code}
    return JSONResponse({"error": error}, status, headers={"retry-after-ms": "1"})


@contextmanager
def serving(service: FakeService) -> Iterator[str]:
    """The address of the service while it listens on a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(service.app(), log_config=None, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.force_exit = server.should_exit = True
        thread.join()
        listener.close()
