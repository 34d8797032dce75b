"""The one way to speak to the engine: bytes in, bytes out, nothing parsed on the way.

Unbounded connections (the gateway bounds), TCP_NODELAY (aiohttp sets it on each connection, vLLM's server too), no
time limit on answers. Knows the engine's paths, not the meaning of a chat.
"""

from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Self

import aiohttp
import orjson
from aiohttp import hdrs
from yarl import URL

from core.errors import EngineFailed, EngineUnavailable
from core.types import Version

READ_BUFFER = 1 << 18
# vLLM's server closes an idle connection after 5 s; a call must never be sent on one that is just being closed.
KEEP_ALIVE = 4.0
CONNECT_TIMEOUT = 5.0
CONTROL_TIMEOUT = 60.0
RUNNING = "vllm:num_requests_running"


class Upstream:
    """One call to the engine, entered when its status line is there; leaving it early ends the generation."""

    __slots__ = ("_response", "_sent", "_session")

    def __init__(self, session: aiohttp.ClientSession, url: URL, body: bytes, headers: Mapping[str, str]) -> None:
        self._session = session
        self._sent = (url, body, headers)
        self._response: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> Self:
        url, body, headers = self._sent
        try:
            self._response = await self._session.post(url, data=body, headers=headers)
        except (aiohttp.ClientError, OSError) as error:
            raise EngineUnavailable(_unreachable(url, error), retry_after=1.0) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._answer.content.at_eof():
            self._answer.release()
        else:
            self.close()

    @property
    def _answer(self) -> aiohttp.ClientResponse:
        if self._response is None:
            raise RuntimeError("The call has not been entered with `async with`.")
        return self._response

    @property
    def status(self) -> int:
        return self._answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._answer.headers

    async def read(self) -> bytes:
        """The whole body; raises EngineFailed when the engine breaks it off."""
        try:
            return await self._answer.read()
        except (aiohttp.ClientError, OSError) as error:
            raise EngineFailed(f"The engine broke its answer off ({_name(error)}).") from error

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, in pieces of any size; raises EngineFailed when the engine breaks it off."""
        content = self._answer.content
        try:
            while piece := await content.readany():
                yield piece
        except (aiohttp.ClientError, OSError) as error:
            raise EngineFailed(f"The engine broke its answer off ({_name(error)}).") from error

    def close(self) -> None:
        """Drop the connection now, which makes the engine stop generating."""
        self._answer.close()


class EngineClient:
    """A pool of connections to one engine; made and closed by `async with`, inside the loop that uses it."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self._key = key
        self._open: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._open = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE),
            headers={hdrs.AUTHORIZATION: f"Bearer {self._key}", hdrs.CONTENT_TYPE: "application/json"},
            skip_auto_headers=(hdrs.USER_AGENT, hdrs.ACCEPT_ENCODING),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=READ_BUFFER,
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        self._open = None

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._open is None:
            raise RuntimeError("The engine client has not been entered with `async with`.")
        return self._open

    def post(self, path: str, body: bytes, request_id: str) -> Upstream:
        """A call to enter with `async with`; raises EngineUnavailable there when the engine gives no status line.

        The engine makes its response id from `request_id`, and answers chats with `chatcmpl-<request_id>`.
        """
        return Upstream(self._session, self._at(path), body, {"X-Request-Id": request_id})

    async def healthy(self) -> bool:
        """Whether the engine says that it is up; it may still compile at its first answer."""
        try:
            status, _ = await self._ask("GET", "/health", timeout=CONNECT_TIMEOUT)
        except EngineUnavailable:
            return False
        return status == 200

    async def answers(self, version: str) -> bool:
        """Whether one token of a chat comes out of `version`."""
        body = orjson.dumps(
            {"model": version, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1, "temperature": 0}
        )
        try:
            status, _ = await self._ask("POST", "/v1/chat/completions", body, timeout=None)
        except EngineUnavailable:
            return False
        return status == 200

    async def loaded(self) -> frozenset[Version]:
        """Names of the adapters that the engine holds; its base is not among them."""
        status, body = await self._ask("GET", "/v1/models")
        if status != 200:
            raise EngineFailed(_refusal("list its models", status, body))
        return frozenset(Version(card["id"]) for card in orjson.loads(body)["data"] if card.get("parent"))

    async def load(self, name: Version, path: str) -> None:
        """Put the adapter in `path` into the engine; loading a name again does nothing, names being immutable."""
        status, body = await self._ask("POST", "/v1/load_lora_adapter", _body(name, path))
        if status != 200 and b"already been loaded" not in body:
            raise EngineFailed(_refusal(f"load {name}", status, body))

    async def unload(self, name: Version) -> None:
        """Take an adapter out of the engine; one that is not there is as good as taken out."""
        status, body = await self._ask("POST", "/v1/unload_lora_adapter", _body(name))
        if status not in (200, 404):
            raise EngineFailed(_refusal(f"unload {name}", status, body))

    async def running(self) -> int:
        """How many calls the engine is generating for."""
        _, body = await self._ask("GET", "/metrics")
        counts = (line.rsplit(None, 1)[1] for line in body.decode().splitlines() if line.startswith(RUNNING))
        return sum(int(float(count)) for count in counts)

    async def _ask(
        self, method: str, path: str, body: bytes | None = None, timeout: float | None = CONTROL_TIMEOUT
    ) -> tuple[int, bytes]:
        url = self._at(path)
        limit = aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_TIMEOUT)
        try:
            async with self._session.request(method, url, data=body, timeout=limit) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise EngineUnavailable(_unreachable(url, error), retry_after=1.0) from error

    def _at(self, path: str) -> URL:
        return URL(self.url + path, encoded=True)


def _body(name: str, path: str | None = None) -> bytes:
    return orjson.dumps({"lora_name": name} if path is None else {"lora_name": name, "lora_path": path})


def _name(error: BaseException) -> str:
    return type(error).__name__


def _unreachable(url: URL, error: BaseException) -> str:
    return f"The engine at {url.origin()} does not answer ({_name(error)}); it may be starting, try again."


def _refusal(act: str, status: int, body: bytes) -> str:
    return f"The engine did not {act}: {status} {body[:300].decode(errors='replace')}"
