"""Keys: remembered briefly, revoked within seconds, throttled when wrong, honoured while the database is away."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from agent.authenticate import FRESH, GRACE, REMEMBERED, Authenticator
from agent.throttle import FailedLogins
from core.errors import TooMany, Unauthenticated, Unavailable
from core.keys import LOCAL, Keys
from core.secret import Secret
from core.store import Store
from core.types import Principal, Role


class Seconds:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class CountedKeys(Keys):
    """Real keys that count how often the ledger was asked, and may be cut off from it."""

    def __init__(self, store: Store, secret: Secret) -> None:
        super().__init__(store, secret)
        self.asked = 0
        self.away = False
        self.gate: threading.Event | None = None

    def authenticate(self, plaintext: str) -> Principal | None:
        self.asked += 1
        if self.gate:
            self.gate.wait(10)
        if self.away:
            raise Unavailable("The database is away.")
        return super().authenticate(plaintext)


@pytest.fixture
def keys(store: Store, secret: Secret) -> CountedKeys:
    return CountedKeys(store, secret)


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def check(keys: CountedKeys, clock: Seconds) -> Callable[..., "asyncio.Future[Principal]"]:
    authenticator = Authenticator(keys, FailedLogins(3, clock), clock)

    def ask(key: str, address: str = "a") -> "asyncio.Future[Principal]":
        return asyncio.ensure_future(authenticator.principal(f"Bearer {key}".encode(), address))

    return ask


Check = Callable[..., "asyncio.Future[Principal]"]


async def test_a_key_is_looked_up_once_in_five_seconds(keys: CountedKeys, clock: Seconds, check: Check) -> None:
    principal, key = keys.create("ada", Role.USER, LOCAL)
    for _ in range(10):
        assert await check(key) == principal
    assert keys.asked == 1
    clock.now += FRESH
    await check(key)
    assert keys.asked == 2


async def test_many_requests_with_one_key_at_once_ask_once(keys: CountedKeys, check: Check) -> None:
    _, key = keys.create("ada", Role.USER, LOCAL)
    await asyncio.gather(*(check(key) for _ in range(50)))
    assert keys.asked == 1


async def test_a_revoked_key_is_refused_within_five_seconds(keys: CountedKeys, clock: Seconds, check: Check) -> None:
    principal, key = keys.create("ada", Role.USER, LOCAL)
    await check(key)
    keys.revoke(principal.id, LOCAL)
    clock.now += FRESH
    with pytest.raises(Unauthenticated):
        await check(key)


async def test_wrong_keys_are_throttled_but_known_ones_at_the_address_are_not(
    keys: CountedKeys, clock: Seconds, check: Check
) -> None:
    _, key = keys.create("ada", Role.USER, LOCAL)
    await check(key)
    for number in range(3):
        with pytest.raises(Unauthenticated):
            await check(f"wrong{number}")
    with pytest.raises(TooMany) as caught:
        await check("wrong3")
    assert caught.value.retry_after and caught.value.retry_after >= 1
    assert keys.asked == 4, "a throttled key is not looked up"
    clock.now += FRESH
    await check(key)
    with pytest.raises(Unauthenticated):
        await check("wrong4", "b")


async def test_a_burst_of_wrong_keys_does_not_outrun_the_throttle(keys: CountedKeys, check: Check) -> None:
    results = await asyncio.gather(*(check(f"wrong{n}") for n in range(60)), return_exceptions=True)
    assert sum(isinstance(result, TooMany) for result in results) > 50
    assert keys.asked < 10


async def test_a_key_stays_good_while_the_database_is_away_but_not_for_ever(
    keys: CountedKeys, clock: Seconds, check: Check
) -> None:
    principal, key = keys.create("ada", Role.USER, LOCAL)
    _, other = keys.create("bob", Role.USER, LOCAL)
    await check(key)
    keys.away = True
    clock.now += GRACE - 1
    assert await check(key) == principal
    with pytest.raises(Unavailable):
        await check(other)
    clock.now += 2
    with pytest.raises(Unavailable):
        await check(key)


async def test_a_known_key_does_not_wait_for_a_database_that_hangs(
    keys: CountedKeys, clock: Seconds, check: Check
) -> None:
    principal, key = keys.create("ada", Role.USER, LOCAL)
    await check(key)
    clock.now += FRESH
    keys.gate = threading.Event()
    try:
        assert await asyncio.wait_for(check(key), 3) == principal
    finally:
        keys.gate.set()


async def test_the_memory_of_keys_is_bounded(keys: CountedKeys, secret: Secret) -> None:
    class Everybody(CountedKeys):
        def authenticate(self, plaintext: str) -> Principal | None:
            return Principal(plaintext, plaintext, Role.USER, plaintext)

    authenticator = Authenticator(Everybody(keys._store, secret), FailedLogins(3, float), Seconds())
    for number in range(REMEMBERED + 20):
        await authenticator.principal(f"Bearer {number}".encode(), "a")
    assert len(authenticator._known) == REMEMBERED
