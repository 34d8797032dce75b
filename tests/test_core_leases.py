"""Leases: one owner at a time, and a former owner's writes refused."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from core import leases
from core.clock import SECOND
from core.errors import LeaseLost
from core.leases import Lease
from core.store import Store

NOW = 1_790_000_000_000_000


def acquire(store: Store, owner: str, now: int = NOW) -> Lease | None:
    with store.write() as conn:
        return leases.acquire(conn, "conductor", owner, 15 * SECOND, now)


def held_by(store: Store, owner: str, now: int = NOW) -> Lease:
    lease = acquire(store, owner, now)
    assert lease is not None
    return lease


def check(store: Store, lease: Lease) -> None:
    with store.write() as conn:
        leases.check(conn, lease)


def test_one_owner_at_a_time(store: Store) -> None:
    lease = held_by(store, "a")
    assert acquire(store, "b", NOW + 14 * SECOND) is None
    check(store, lease)


def test_of_many_that_ask_at_once_one_gets_it(store: Store) -> None:
    start = threading.Barrier(6)

    def ask(number: int) -> Lease | None:
        start.wait()
        return acquire(store, f"owner-{number}")

    with ThreadPoolExecutor(6) as pool:
        won = [lease for lease in pool.map(ask, range(6)) if lease]
    assert len(won) == 1
    check(store, won[0])


def test_a_silent_owner_is_replaced_and_what_it_writes_later_is_refused(store: Store) -> None:
    frozen = held_by(store, "a")
    heir = held_by(store, "b", NOW + 15 * SECOND)
    assert heir.token > frozen.token
    with pytest.raises(LeaseLost, match="Another process holds the lease conductor"):
        check(store, frozen)
    with pytest.raises(LeaseLost), store.write() as conn:
        leases.renew(conn, frozen, SECOND, NOW + 16 * SECOND)
    check(store, heir)


def test_an_owner_that_started_anew_takes_its_own_lease_over_under_another_token(store: Store) -> None:
    before = held_by(store, "a")
    after = held_by(store, "a", NOW + SECOND)
    assert after.token > before.token
    with pytest.raises(LeaseLost):
        check(store, before)


def test_renewing_keeps_others_out_for_longer(store: Store) -> None:
    lease = held_by(store, "a")
    with store.write() as conn:
        longer = leases.renew(conn, lease, 15 * SECOND, NOW + 10 * SECOND)
    assert longer.token == lease.token
    assert acquire(store, "b", NOW + 20 * SECOND) is None
    assert acquire(store, "b", NOW + 25 * SECOND) is not None


def test_a_released_lease_is_free_at_once_and_releasing_another_ones_changes_nothing(store: Store) -> None:
    first = held_by(store, "a")
    with store.write() as conn:
        leases.release(conn, first)
    second = held_by(store, "b")
    with store.write() as conn:
        leases.release(conn, first)
    assert acquire(store, "c") is None
    check(store, second)
