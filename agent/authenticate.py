"""Who holds the key that came with a request: asked of the ledger, remembered for five seconds.

While the database does not answer within a second, a key that was good in the last ten minutes stays good, so that
chats go on. Wrong keys are throttled by address; keys known to be good are not, whoever shares their address.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from agent.throttle import FailedLogins
from core.errors import TooMany, Unauthenticated, Unavailable
from core.keys import Keys
from core.types import Principal

FRESH = 5.0
GRACE = 600.0
PATIENCE = 1.0
REMEMBERED = 4096
LOOKUPS = 4
SCHEME = b"bearer "


@dataclass(frozen=True, slots=True)
class _Known:
    principal: Principal
    at: float


class Authenticator:
    """Turns the Authorization header into a principal; `clock` is in seconds and never goes back."""

    def __init__(self, keys: Keys, failures: FailedLogins, clock: Callable[[], float]) -> None:
        self._keys = keys
        self._failures = failures
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Principal | None]] = {}
        self._turns = asyncio.Semaphore(LOOKUPS)

    async def principal(self, authorization: bytes | None, address: str) -> Principal:
        """Raises Unauthenticated, TooMany for an address with too many wrong keys, Unavailable without the database."""
        if authorization is None:
            raise Unauthenticated(
                "No key was sent: add the header `Authorization: Bearer <key>`.", code="missing_api_key"
            )
        digest = hashlib.sha256(authorization).digest()
        known = self._known.get(digest)
        if known and self._clock() - known.at < FRESH:
            return known.principal
        try:
            async with asyncio.timeout(PATIENCE if known else None):
                principal = await self._ask(digest, authorization, address)
        except TimeoutError:
            return self._excused(digest)
        if principal is None:
            raise Unauthenticated("The key is not known here, or it was revoked.")
        return principal

    async def _ask(self, digest: bytes, authorization: bytes, address: str) -> Principal | None:
        """Ask the ledger, once for all who wait for the same key."""
        task = self._asking.get(digest)
        if task is None:
            task = self._asking[digest] = asyncio.create_task(self._look_up(digest, authorization, address))
            task.add_done_callback(lambda _: self._asking.pop(digest, None))
        return await asyncio.shield(task)

    async def _look_up(self, digest: bytes, authorization: bytes, address: str) -> Principal | None:
        # Few at a time, so that a burst of wrong keys is counted before it has passed.
        async with self._turns:
            if digest not in self._known and (wait := self._failures.wait(address)):
                raise TooMany("Too many wrong keys came from this address; try again later.", retry_after=wait)
            try:
                principal = await asyncio.to_thread(self._keys.authenticate, _plaintext(authorization))
            except Unavailable:
                return self._excused(digest)
        self._known.pop(digest, None)
        if principal is None:
            self._failures.note(address)
            return None
        self._known[digest] = _Known(principal, self._clock())
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return principal

    def _excused(self, digest: bytes) -> Principal:
        known = self._known.get(digest)
        if known is None or self._clock() - known.at > GRACE:
            raise Unavailable("The key cannot be checked just now; try again.", retry_after=1)
        return known.principal


def _plaintext(authorization: bytes) -> str:
    if authorization[: len(SCHEME)].lower() != SCHEME:
        return ""
    return authorization[len(SCHEME) :].strip().decode("latin-1")
