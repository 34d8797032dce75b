"""The outermost step of every request: its id, its clock, the limits of its body, and the one place where errors end.

Pure ASGI. Knows no route and no role.
"""

import logging
import re
import secrets
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent import failures
from agent.gate import Gate
from agent.inbound import Inbound
from agent.metrics import Metrics
from agent.visit import KEY, Header, Visit
from core.errors import HoneError, TooLarge, Unavailable

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
CLOSE = (b"connection", b"close")
JSON = (b"content-type", b"application/json")

log = logging.getLogger(__name__)


class Edge:
    """Wraps the application. `limit` is the largest body in bytes."""

    def __init__(self, app: ASGIApp, metrics: Metrics, gate: Gate, limit: int) -> None:
        self._app = app
        self._metrics = metrics
        self._gate = gate
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        passage = Passage(scope, receive, send, self._limit)
        try:
            if self._gate.closed:
                raise Unavailable("Hone is shutting down; try again.", retry_after=1)
            passage.check()
            await self._app(scope, passage.inbound, passage.send)
        except HoneError as error:
            await passage.refuse(error, close=self._gate.closed)
        except Exception:
            log.exception("a request failed", extra={"request_id": passage.visit.request_id})
            await passage.refuse(HoneError(f"Hone failed; its log tells more under {passage.visit.request_id}."))
        finally:
            visit = passage.visit
            seconds = time.perf_counter() - visit.started
            self._metrics.answered(visit.route, visit.status, visit.arm, seconds)


class Passage:
    """One request going through the edge."""

    __slots__ = ("_limit", "_send", "_size", "inbound", "visit")

    def __init__(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        self._send = send
        self._limit = limit
        self._size: int | None = 0
        self.visit = Visit("", time.perf_counter())
        waits = self._read_head(scope)
        self.inbound = Inbound(receive, limit, self._size, waits_for_continue=waits)
        scope[KEY] = self.visit

    def _read_head(self, scope: Scope) -> bool:
        """Note what the headers say; whether the client waits for `100 Continue` before it sends its body."""
        waits = False
        headers: list[Header] = scope["headers"]
        for place, (name, value) in enumerate(headers):
            if name == b"authorization":
                self.visit.authorization = value
            elif name == b"content-type":
                # Every body here is JSON, whatever its label says.
                headers[place] = JSON
            elif name == b"x-request-id" and REQUEST_ID.fullmatch(value):
                self.visit.request_id = value.decode()
            elif name == b"content-length":
                self._size = int(value)
            elif name == b"transfer-encoding":
                self._size = None
            elif name == b"expect":
                waits = True
        self.visit.request_id = self.visit.request_id or f"req_{secrets.token_hex(12)}"
        return waits

    def check(self) -> None:
        """Raise TooLarge when the client announces too much."""
        if self._size and self._size > self._limit:
            raise TooLarge(f"The request body is larger than {self._limit} bytes, the most that is accepted here.")

    async def send(self, message: Message) -> None:
        """Pass an answer on, with the headers that every answer gets."""
        if message["type"] == "http.response.start":
            visit = self.visit
            visit.status = message["status"]
            millis = round(1000 * (time.perf_counter() - visit.started))
            message["headers"] = [
                *message.get("headers", ()),
                (b"x-request-id", visit.request_id.encode()),
                (b"openai-processing-ms", b"%d" % millis),
                *visit.extra,
            ]
        await self._send(message)

    async def refuse(self, error: HoneError, *, close: bool = False) -> None:
        """Answer with an error, if nothing was answered yet."""
        if self.visit.status:
            return
        document = failures.body(error)
        headers = failures.headers(error, document)
        unread = self.inbound.unread
        if unread or close:
            headers.append(CLOSE)
        await self.send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": document, "more_body": unread})
        if unread:
            await self.inbound.drain()
            await self.send({"type": "http.response.body", "body": b""})
