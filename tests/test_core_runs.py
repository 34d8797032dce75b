"""Training runs as rows: one is open at a time, one worker holds it, and it ends once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from core import audit
from core.clock import SECOND
from core.errors import Conflict, HoneError, LeaseLost, NotFound
from core.runs import Claim, Runs
from core.store import Store
from core.types import Run, RunState, Version

LEASE = 15 * SECOND


class Desk:
    """Runs over a store, with a clock that stands still."""

    def __init__(self, store: Store) -> None:
        self.store, self.time = store, 1_790_000_000_000_000
        self.runs = Runs(store, clock=lambda: self.time)

    def request(self, requester: str = "system:worse") -> Run:
        return self.runs.request(method="sft", recipe={"rank": 8}, reason="answers got worse", requester=requester)

    def claim(self, owner: str = "worker-a") -> Claim:
        claim = self.runs.claim(owner, LEASE)
        assert claim is not None
        return claim

    def trail(self) -> list[tuple[str, str]]:
        with self.store.read() as conn:
            return [(row.actor, row.action) for row in audit.page(conn).items]


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(store)


def test_a_run_goes_from_request_to_candidate(desk: Desk) -> None:
    asked = desk.request()
    assert desk.runs.open() == asked and asked.state is RunState.REQUESTED
    claim = desk.claim()
    assert (claim.run.id, claim.run.state, claim.run.started_at) == (asked.id, RunState.RUNNING, desk.time)
    desk.runs.report(claim, LEASE, {"stage": "training", "step": 3}, dataset="d" * 64)
    desk.runs.finish(claim, Version("v1"), {"stage": "done"})
    done = desk.runs.find(asked.id)
    assert (done.state, done.model, done.dataset, done.progress) == (RunState.DONE, "v1", "d" * 64, {"stage": "done"})
    assert desk.runs.open() is None and desk.runs.ended()[0] == done
    assert desk.trail() == [("system:worse", "run.request"), ("system:worker-a", "run.done")]


def test_a_second_run_waits_until_the_first_has_ended(desk: Desk) -> None:
    first = desk.request()
    with pytest.raises(Conflict, match=f"Run {first.id} is requested already"):
        desk.request()
    claim = desk.claim()
    with pytest.raises(Conflict, match="is running already"):
        desk.request()
    desk.runs.fail(claim, "too little data; gather more")
    assert desk.request().id != first.id


def test_of_many_requests_at_once_one_is_taken(desk: Desk) -> None:
    start = threading.Barrier(6)

    def ask(number: int) -> Run | HoneError:
        start.wait()
        try:
            return desk.request(f"key-{number}")
        except Conflict as error:
            return error

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, range(6)))
    assert sum(isinstance(answer, Run) for answer in answers) == 1


def test_of_many_workers_one_claims(desk: Desk) -> None:
    desk.request()
    start = threading.Barrier(4)

    def claim(number: int) -> Claim | None:
        start.wait()
        return desk.runs.claim(f"worker-{number}", LEASE)

    with ThreadPoolExecutor(4) as pool:
        claims = [claim for claim in pool.map(claim, range(4)) if claim]
    assert len(claims) == 1


def test_a_silent_worker_is_replaced_and_hears_of_it_at_its_next_write(desk: Desk) -> None:
    desk.request()
    frozen = desk.claim("worker-a")
    assert desk.runs.claim("worker-b", LEASE) is None
    desk.time += LEASE + 1
    heir = desk.claim("worker-b")
    assert heir.token > frozen.token and heir.run.attempts == 2
    for write in (
        lambda: desk.runs.report(frozen, LEASE, {}),
        lambda: desk.runs.finish(frozen, Version("v1"), {}),
        lambda: desk.runs.fail(frozen, "no"),
    ):
        with pytest.raises(LeaseLost, match="no longer held by worker-a"):
            write()
    assert desk.runs.find(heir.run.id).state is RunState.RUNNING
    desk.runs.finish(heir, Version("v1"), {})


def test_a_report_renews_the_lease(desk: Desk) -> None:
    desk.request()
    claim = desk.claim()
    desk.time += LEASE - 1
    desk.runs.report(claim, LEASE, {})
    desk.time += LEASE - 1
    assert desk.runs.claim("worker-b", LEASE) is None


def test_a_cancelled_run_is_over_for_its_worker_too(desk: Desk) -> None:
    desk.request()
    claim = desk.claim()
    cancelled = desk.runs.cancel(claim.run.id, "key_ops", "wrong data")
    assert (cancelled.state, cancelled.error) == (RunState.CANCELLED, "cancelled: wrong data")
    with pytest.raises(LeaseLost, match="is cancelled"):
        desk.runs.report(claim, LEASE, {})
    with pytest.raises(Conflict, match="has ended already"):
        desk.runs.cancel(claim.run.id, "key_ops", "again")
    with pytest.raises(NotFound):
        desk.runs.cancel("nothing", "key_ops", "again")
    assert desk.runs.claim("worker-b", LEASE) is None
    assert desk.trail()[-1] == ("key_ops", "run.cancel")


def test_the_list_shows_each_run_once_newest_first(desk: Desk) -> None:
    made = []
    for _ in range(5):
        desk.time += SECOND
        made.append(desk.request().id)
        desk.runs.fail(desk.claim(), "no")
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = desk.runs.page(cursor, limit=2)
        seen += [run.id for run in page.items]
        if (cursor := page.next) is None:
            break
    assert seen == made[::-1]
