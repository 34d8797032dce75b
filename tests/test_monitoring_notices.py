"""Notices: put with what they tell, delivered by webhook or command at least once, tried again, given up in the end."""

import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
import uvicorn
from conftest import StoppedClock
from registry_story import Story
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from core.rules import Notify
from core.runs import Runs
from core.schema import notices
from core.store import Store
from monitoring.notices import Kind, Notices, Outbox, pause_after

COPY = "import sys; open(sys.argv[1], 'ab').write(sys.stdin.buffer.read() + b'\\n')"


@dataclass
class Webhook:
    """Somebody's address: answers with `status`, and keeps what it got."""

    status: int = 200
    got: list[dict[str, Any]] = field(default_factory=list)

    async def take(self, request: Request) -> Response:
        self.got.append(orjson.loads(await request.body()))
        return Response(status_code=self.status)


@pytest.fixture
def webhook() -> Webhook:
    return Webhook()


@pytest.fixture
def address(webhook: Webhook) -> Iterator[str]:
    app = Starlette(routes=[Route("/hook", webhook.take, methods=["POST"])])
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/hook?token=secret"
    server.force_exit = server.should_exit = True
    thread.join()
    listener.close()


def rows(store: Store) -> Sequence[Any]:
    with store.read() as conn:
        return conn.execute(select(notices).order_by(notices.c.id)).all()


def put(store: Store, settings: Notify, clock: StoppedClock, says: str = "it fell") -> None:
    with store.write() as conn:
        Outbox(settings).put(conn, Kind.DRIFT, {"says": says}, clock())
    clock.advance(0.01)


async def test_a_notice_arrives_once_at_the_webhook(
    store: Store, clock: StoppedClock, webhook: Webhook, address: str
) -> None:
    settings = Notify(webhook=address)
    put(store, settings, clock)
    job = Notices(store, settings, clock)
    await job.tick()
    await job.tick()
    (row,) = rows(store)
    assert webhook.got == [{"id": row.id, "at": row.created_at, "kind": "drift", "says": "it fell"}]
    assert (row.attempts, row.next_at, row.error) == (1, None, None)


async def test_a_notice_reaches_a_command_on_its_input(
    sqlite_store: Store, clock: StoppedClock, tmp_path: Path
) -> None:
    settings = Notify(command=(sys.executable, "-c", COPY, str(tmp_path / "told")))
    put(sqlite_store, settings, clock)
    put(sqlite_store, settings, clock, "again")
    await Notices(sqlite_store, settings, clock).tick()
    told = [orjson.loads(line) for line in (tmp_path / "told").read_bytes().splitlines()]
    assert [notice["says"] for notice in told] == ["it fell", "again"]


async def test_what_fails_is_tried_again_after_growing_pauses_and_given_up_with_its_error(
    sqlite_store: Store, clock: StoppedClock, webhook: Webhook, address: str
) -> None:
    settings = Notify(webhook=address, attempts=3)
    webhook.status = 503
    put(sqlite_store, settings, clock)
    job = Notices(sqlite_store, settings, clock)
    for seconds in (0, 9, 2, 19, 2, 10_000):
        clock.advance(seconds)
        await job.tick()
    assert len(webhook.got) == 3
    (row,) = rows(sqlite_store)
    assert (row.attempts, row.next_at, row.error) == (3, None, "the webhook answered 503")


async def test_a_webhook_that_comes_back_gets_what_it_missed(
    sqlite_store: Store, clock: StoppedClock, webhook: Webhook, address: str
) -> None:
    settings = Notify(webhook=address)
    webhook.status = 500
    put(sqlite_store, settings, clock)
    job = Notices(sqlite_store, settings, clock)
    await job.tick()
    webhook.status = 204
    clock.advance(11)
    await job.tick()
    (row,) = rows(sqlite_store)
    assert (row.attempts, row.next_at, row.error) == (2, None, None)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        (Notify(webhook="http://127.0.0.1:1/secret"), "the webhook cannot be reached (ClientConnectorError)"),
        (Notify(webhook="no address with a secret"), "the webhook cannot be reached (InvalidUrlClientError)"),
        (Notify(command=("/does/not/exist",)), "the command cannot be started: No such file or directory"),
        (Notify(command=(sys.executable, "-c", "raise SystemExit('no way')")), "the command ended with 1: no way"),
    ],
)
async def test_why_it_did_not_arrive_is_kept_without_the_address(
    sqlite_store: Store, clock: StoppedClock, settings: Notify, error: str
) -> None:
    put(sqlite_store, settings, clock)
    await Notices(sqlite_store, settings, clock).tick()
    (row,) = rows(sqlite_store)
    assert row.error == error
    assert row.next_at > clock()


async def test_a_command_that_does_not_end_is_ended(
    sqlite_store: Store, clock: StoppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitoring.notices.PATIENCE", 0.3)
    settings = Notify(command=(sys.executable, "-c", "import time; time.sleep(60)"))
    put(sqlite_store, settings, clock)
    await Notices(sqlite_store, settings, clock).tick()
    assert rows(sqlite_store)[0].error == "the command did not end in 0.3 s"


async def test_failed_runs_waiting_approvals_and_rollbacks_are_told_once_whoever_made_them(
    store: Store, clock: StoppedClock, webhook: Webhook, address: str
) -> None:
    story, settings = Story(store), Notify(webhook=address)
    await Notices(store, settings, clock).tick()  # what was before is no news
    runs = Runs(store, lambda: story.time)
    run = runs.request(method="sft", recipe={}, reason="r", requester="system:worse")
    claim = runs.claim("worker", 1)
    assert claim is not None
    runs.fail(claim, "disk full: make room")
    story.await_approval("v1")
    story.promote("v1")
    story.rollback(reason="it was worse after all")
    clock.at = story.time + 1
    job = Notices(store, settings, clock)
    await job.tick()
    await job.tick()
    await Notices(store, settings, clock).tick()
    told = {notice["kind"]: notice["says"] for notice in webhook.got}
    assert told == {
        "run_failed": f"Run {run.id} failed: disk full: make room",
        "approval_waiting": "v1 waits for approval: it is time. Look at it with `hone models show v1`.",
        "rollback": "v0 is champion again in the place of v1: it was worse after all",
    }
    assert len(webhook.got) == 3


async def test_where_nobody_is_to_be_told_nothing_is_kept(store: Store, clock: StoppedClock) -> None:
    story = Story(store)
    job = Notices(store, Notify(), clock)
    await job.tick()
    story.await_approval("v1")
    put(store, Notify(), clock)
    await job.tick()
    assert rows(store) == []


async def test_a_notice_of_what_was_undone_is_never_sent(sqlite_store: Store, clock: StoppedClock) -> None:
    with pytest.raises(RuntimeError), sqlite_store.write() as conn:
        Outbox(Notify(command=("cat",))).put(conn, Kind.DRIFT, {"says": "no"}, clock())
        raise RuntimeError
    assert rows(sqlite_store) == []


def test_pauses_double_up_to_an_hour() -> None:
    assert [pause_after(n) // 1_000_000 for n in (1, 2, 3, 9, 10, 99)] == [10, 20, 40, 2560, 3600, 3600]
