"""A small client of Hone's own HTTP API for commands: JSON in, JSON out, the error tree instead of status codes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from core.config import Caller
from core.errors import (
    BadRequest,
    HoneError,
    Unauthenticated,
    Unavailable,
    of_status,
)
from core.types import Json, JsonObject, Role

LARGEST_PAGE = 100
UNREACHABLE = "unreachable"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class ApiClient:
    """Speaks to the Hone at `url` with `key`; each call may take `timeout` seconds.

    Raises BadRequest or Unauthenticated for an address or a key that cannot be one.
    """

    url: str
    key: str | None
    timeout: float = 30.0

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise BadRequest(f"HONE_URL is {self.url!r}; it must begin with http:// or https://.")
        if self.key and not (self.key.isascii() and self.key.isprintable()):
            raise Unauthenticated("HONE_KEY holds characters that no key has; copy it again.")

    def get(self, path: str, **query: object) -> JsonObject:
        """The answer to GET; parameters that are None are left out. Raises the error that the status stands for."""
        present = {name: value for name, value in query.items() if value is not None}
        return self._call("GET", f"{path}?{urlencode(present)}" if present else path)

    def post(self, path: str, body: JsonObject) -> JsonObject:
        return self._call("POST", path, body)

    def delete(self, path: str) -> JsonObject:
        return self._call("DELETE", path)

    def items(self, path: str, limit: int, **query: object) -> Iterator[JsonObject]:
        """Up to `limit` items of a list, over as many pages as it takes."""
        cursor: Json = None
        while limit > 0:
            page = self.get(path, **query, limit=min(limit, LARGEST_PAGE), cursor=cursor)
            data = page["data"]
            if not isinstance(data, list):
                raise HoneError(f"{self.url}{path} did not answer with a list; is it a Hone of another version?")
            yield from data[:limit]
            limit -= len(data)
            cursor = page.get("next")
            if cursor is None or not data:
                return

    def is_ready(self) -> bool:
        """Whether a chat would be answered now; raises Unavailable when nobody listens there."""
        try:
            self._call("GET", "/readyz")
        except Unavailable as error:
            if error.code == UNREACHABLE:
                raise
            return False
        return True

    def _call(self, method: str, path: str, body: JsonObject | None = None) -> JsonObject:
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, data, self._headers(), method=method)
        # A proxy of the environment must not get in between where the address is this machine.
        opener = build_opener(ProxyHandler({})) if is_loopback(self.url) else build_opener()
        try:
            with opener.open(request, timeout=self.timeout) as response:
                return _object(response.read(), self.url)
        except HTTPError as error:
            with error:
                raise error_of(error.code, error.read()) from None
        except URLError as error:
            raise unreachable(self.url, error.reason) from None
        except (OSError, HTTPException) as error:
            raise unreachable(self.url, error) from None

    def _headers(self) -> dict[str, str]:
        headers = {"content-type": "application/json", "accept": "application/json"}
        return headers | ({"authorization": f"Bearer {self.key}"} if self.key else {})


def connect(caller: Caller, role: Role) -> ApiClient:
    """A client with the caller's key; without one it raises Unauthenticated, saying how to come by one."""
    if caller.key is None:
        raise Unauthenticated(
            f"HONE_KEY is not set; this needs a key of role {role}. Make one where Hone runs with "
            f"`hone keys create --role {role} --name NAME`, then export HONE_KEY."
        )
    return ApiClient(caller.url, caller.key)


def unreachable(url: str, reason: object) -> Unavailable:
    """Nobody answers at `url`: what that means and what to do."""
    cause = str(reason.strerror if isinstance(reason, OSError) and reason.strerror else reason).lower()
    return Unavailable(
        f"Hone does not answer at {url} ({cause}); start it with `hone up`, or set HONE_URL to where it runs.",
        code=UNREACHABLE,
    )


def is_loopback(url: str) -> bool:
    """Whether an address is this machine itself."""
    return urlsplit(url).hostname in LOOPBACK


def segment(text: str) -> str:
    """A name as one segment of a path."""
    return quote(text, safe="")


def _object(body: bytes, url: str) -> JsonObject:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise HoneError(f"{url} did not answer with JSON; is another program listening there? Check HONE_URL.")
    return value


def error_of(status: int, body: bytes) -> HoneError:
    """The error that an answer stands for, in the server's own words where it has some."""
    kind = of_status(status)
    try:
        error = json.loads(body)["error"]
        return kind(str(error["message"]), param=error.get("param"), code=error.get("code"))
    except (ValueError, KeyError, TypeError):
        return kind(f"The server answered {status} without saying why; see `hone logs gateway`.")
