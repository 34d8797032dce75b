"""A stand-in for vLLM with the same HTTP surface and the same bytes, seeded, with knobs for trouble.

For fast tests of the gateway and for fault injection; no demo and no default ever runs on it. It has no model: an
answer is words drawn by a hash of seed, version and prompt, or what `answer` says. Knows nothing of Hone.
Command: `python -m serving.fake [PORT]`.
"""

import asyncio
import hashlib
import random
import secrets
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from serving import fake_bytes as wire

BASE = "fake-base"
CONTEXT = 2048
DIMENSIONS = 8
WORDS = ("the", "order", "was", "sent", "on", "monday", "and", "you", "may", "return", "it", "within", "thirty", "days")


class Cut(Exception):
    """Makes the server drop the connection in the middle of an answer."""


@dataclass(frozen=True, slots=True)
class Knobs:
    """How one version behaves; times in seconds, shares 0..1."""

    first_token: float = 0.0
    per_token: float = 0.0
    tokens: int = 8
    fail: float = 0.0
    """Share of calls that get 500 before the first byte."""
    cut_after: int | None = None
    """Tokens after which the connection is dropped."""
    error_after: int | None = None
    """Tokens after which a stream carries what vLLM sends when its engine dies: an error event, then `[DONE]`."""
    wrong: float = 0.0
    """Share of answers that are another text than `answer` gives."""


@dataclass(frozen=True, slots=True)
class Call:
    """A generation call as it arrived."""

    path: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]


@dataclass(slots=True)
class FakeEngine:
    """The state of one stand-in; `knobs` and `healthy` may change, and `calls` and `running` be read, at any time."""

    key: str = ""
    seed: int = 0
    base: str = BASE
    answer: Callable[[str, str], str] | None = None
    """(version, last user text) -> reply."""
    knobs: dict[str, Knobs] = field(default_factory=dict)
    """By served name; "" is for all others."""
    healthy: bool = True
    loaded: dict[str, str] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    running: int = 0
    draws: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.draws = random.Random(self.seed)

    def knobs_of(self, model: str) -> Knobs:
        return self.knobs.get(model) or self.knobs.get("") or Knobs()

    def reply(self, model: str, prompt: str) -> list[str]:
        """The tokens of the answer: words, each but the first with its leading space."""
        knobs = self.knobs_of(model)
        wrong = self.draws.random() < knobs.wrong
        if self.answer and not wrong:
            words = self.answer(model, prompt).split(" ")
        else:
            digest = hashlib.sha256(f"{self.seed}\0{model}\0{prompt}\0{wrong}".encode()).digest()
            words = random.Random(digest).choices(WORDS, k=knobs.tokens)
        return [word if i == 0 else f" {word}" for i, word in enumerate(words)]

    def app(self) -> Starlette:
        """The ASGI application."""
        paths: dict[str, tuple[str, Callable[[Request], Awaitable[Response]]]] = {
            "/health": ("GET", self._health),
            "/metrics": ("GET", self._metrics),
            "/v1/models": ("GET", self._guard(self._models)),
            "/v1/load_lora_adapter": ("POST", self._guard(self._load)),
            "/v1/unload_lora_adapter": ("POST", self._guard(self._unload)),
            wire.CHAT: ("POST", self._guard(self._generate)),
            wire.COMPLETION: ("POST", self._guard(self._generate)),
            "/v1/embeddings": ("POST", self._guard(self._embed)),
        }
        return Starlette(routes=[Route(path, act, methods=[method]) for path, (method, act) in paths.items()])

    def _guard(self, act: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
                return _json({"error": "Unauthorized"}, 401)
            return await act(request)

        return guarded

    async def _health(self, request: Request) -> Response:
        return Response(status_code=200 if self.healthy else 503)

    async def _metrics(self, request: Request) -> Response:
        return PlainTextResponse(
            "# TYPE vllm:num_requests_running gauge\n"
            f'vllm:num_requests_running{{engine="0",model_name="{self.base}"}} {float(self.running)}\n'
        )

    async def _models(self, request: Request) -> Response:
        cards = [wire.card(self.base, self.base, None, CONTEXT)]
        cards += [wire.card(name, path, self.base, None) for name, path in self.loaded.items()]
        return _json({"object": "list", "data": cards})

    async def _load(self, request: Request) -> Response:
        body = await request.json()
        name = body["lora_name"]
        if name in self.loaded:
            again = "If you want to load the adapter in place, set 'load_inplace' to True."
            return _error(400, f"The lora adapter '{name}' has already been loaded. {again}", "InvalidUserInput")
        self.loaded[name] = body["lora_path"]
        return Response(f"Success: LoRA adapter '{name}' added successfully.")

    async def _unload(self, request: Request) -> Response:
        name = (await request.json())["lora_name"]
        if self.loaded.pop(name, None) is None:
            return _error(404, f"The lora adapter '{name}' cannot be found.", "NotFoundError")
        return Response(f"Success: LoRA adapter '{name}' removed successfully.")

    async def _generate(self, request: Request) -> Response:
        try:
            body = orjson.loads(await request.body())
        except orjson.JSONDecodeError as error:
            return _error(400, f"1 validation error:\n  {error}", "Bad Request", "body")
        self.calls.append(Call(request.url.path, body, dict(request.headers)))
        if refusal := self._refusal(body):
            return refusal
        shape = wire.Shape.of(request.url.path, body, request.headers.get("x-request-id") or secrets.token_hex(8))
        return await self._respond(request, shape, body)

    async def _embed(self, request: Request) -> Response:
        body = orjson.loads(await request.body())
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        return Response(wire.embeddings(body["model"], [self.vector(text) for text in texts]))

    def vector(self, text: str) -> list[float]:
        """A seeded embedding: equal texts, equal vectors."""
        draws = random.Random(f"{self.seed}\0{text}")
        return [draws.gauss(0, 1) for _ in range(DIMENSIONS)]

    def _refusal(self, body: Mapping[str, Any]) -> Response | None:
        model, limit = body.get("model", self.base), body.get("max_tokens") or 1
        if model != self.base and model not in self.loaded:
            message = f"The model `{model}` does not exist. Valid aliases: {self.base}."
            return _error(404, message, "NotFoundError", "model")
        if limit > CONTEXT:
            message = f"max_tokens={limit} cannot be greater than max_model_len={CONTEXT}."
            return _error(400, message, "BadRequestError", "max_tokens")
        if body.get("n", 1) != 1:
            return _error(400, "the fake engine gives one choice", "BadRequestError", "n")
        if self.draws.random() < self.knobs_of(model).fail:
            return _error(500, "Internal server error", "InternalServerError")
        return None

    async def _respond(self, request: Request, shape: wire.Shape, body: Mapping[str, Any]) -> Response:
        tokens = self.reply(shape.model, shape.prompt)
        limit = body.get("max_tokens") or body.get("max_completion_tokens") or len(tokens)
        answer = wire.Answer(shape, tokens[:limit], "length" if limit < len(tokens) else "stop")
        if body.get("stream"):
            return StreamingResponse(self._paced(answer), media_type="text/event-stream")
        whole = await _unless_gone(request, self._whole(answer))
        if self.knobs_of(shape.model).cut_after is not None:
            return StreamingResponse(_torn(whole), headers={"content-length": str(len(whole))})
        return Response(whole, media_type="application/json")

    async def _paced(self, answer: wire.Answer) -> AsyncIterator[bytes]:
        knobs = self.knobs_of(answer.shape.model)
        self.running += 1
        try:
            await asyncio.sleep(knobs.first_token)
            for number, event in enumerate(answer.events()):
                given = number - answer.shape.preamble
                if given == knobs.cut_after:
                    raise Cut
                if given == knobs.error_after:
                    yield wire.DEATH + wire.DONE
                    return
                yield event
                if knobs.per_token:
                    await asyncio.sleep(knobs.per_token)
        finally:
            self.running -= 1

    async def _whole(self, answer: wire.Answer) -> bytes:
        knobs = self.knobs_of(answer.shape.model)
        self.running += 1
        try:
            await asyncio.sleep(knobs.first_token + knobs.per_token * len(answer.tokens))
            return answer.whole()
        finally:
            self.running -= 1


async def _torn(whole: bytes) -> AsyncIterator[bytes]:
    yield whole[: len(whole) // 2]
    raise Cut


async def _unless_gone(request: Request, work: Coroutine[Any, Any, bytes]) -> bytes:
    """The result of `work`, which is cancelled, and empty, when the client hangs up first."""
    task, gone = asyncio.create_task(work), asyncio.ensure_future(request.receive())
    await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
    gone.cancel()
    if task.done():
        return task.result()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return b""


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


def _error(status: int, message: str, kind: str, param: str | None = None) -> Response:
    return _json({"error": {"message": message, "type": kind, "param": param, "code": status}}, status)


@contextmanager
def listening(engine: FakeEngine, port: int = 0) -> Iterator[str]:
    """The engine's address on this machine while it serves from a thread of its own; port 0 takes a free one."""
    listener = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(engine.app(), log_config=None, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
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


if __name__ == "__main__":
    with listening(FakeEngine(), int((sys.argv[1:] or ["0"])[0])) as url:
        sys.stderr.write(f"fake engine at {url}\n")
        threading.Event().wait()
