"""A fenced store: whoever writes through it is its lease's holder, or nothing is written."""

import pytest
from registry_story import Story
from rows import stored
from sqlalchemy import select

from core import leases
from core.errors import LeaseLost
from core.leases import Lease
from core.runs import Runs
from core.schema import retractions, runs
from core.store import Store, insert_new
from monitoring.fenced import Fenced


def take(store: Store, owner: str, now: int) -> Lease:
    with store.write() as conn:
        lease = leases.acquire(conn, "monitoring", owner, 10, now)
    assert lease is not None
    return lease


def write(store: Store, name: str) -> None:
    with store.write() as conn:
        insert_new(conn, retractions, [{"feedback": name, "created_at": 1, "key_id": "k"}])


def test_the_holder_writes_and_reads(store: Store) -> None:
    fenced = Fenced(store, take(store, "a", 0))
    write(fenced, "row")
    with fenced.read() as conn:
        assert list(conn.scalars(select(retractions.c.feedback))) == ["row"]


def test_a_renewed_lease_keeps_its_token_so_the_same_store_goes_on(store: Store) -> None:
    lease = take(store, "a", 0)
    with store.write() as conn:
        leases.renew(conn, lease, 10, 5)
    write(Fenced(store, lease), "row")
    assert stored(store) == ["row"]


def test_a_former_holder_writes_nothing_through_any_of_its_objects(store: Store) -> None:
    story = Story(store)
    fenced = Fenced(store, take(store, "frozen", 0))
    take(store, "next", 11)
    with pytest.raises(LeaseLost, match="frozen must not go on"):
        write(fenced, "row")
    with pytest.raises(LeaseLost):
        Runs(fenced).request(method="sft", recipe={}, reason="r", requester="system:worse")
    with pytest.raises(LeaseLost):
        Story(fenced, started=False).enter("v1")
    assert stored(store) == []
    with store.read() as conn:
        assert conn.execute(select(runs)).first() is None
    assert story.check()


def test_an_expired_lease_that_nobody_took_still_counts(store: Store) -> None:
    fenced = Fenced(store, take(store, "slow", 0))
    write(fenced, "late")
    assert stored(store) == ["late"]
