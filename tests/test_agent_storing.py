"""When the ledger is in trouble: nothing is acknowledged that is not durable, and chats go on as the settings say."""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fixtures_gateway import HELLO, Gateway, eventually, gateway, over

from core.ids import bare
from core.types import Role
from serving.fake import FakeEngine

BODY: dict[str, Any] = {"model": "hone", "messages": HELLO}


@contextmanager
def locked(hone: Gateway) -> Iterator[None]:
    """Hold the database's write lock."""
    with closing(sqlite3.connect(hone.parts.settings.data / "ledger.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield
        holder.execute("ROLLBACK")


@contextmanager
def no_spool(hone: Gateway) -> Iterator[None]:
    """Make the spool refuse, as a broken disk does: there is a file where its folder should be."""
    folder = hone.parts.settings.data / "spool"
    folder.rename(folder.with_name("away"))
    folder.touch()
    yield
    folder.unlink()
    folder.with_name("away").rename(folder)


def chat(hone: Gateway, **body: Any) -> Any:
    with hone.http() as http:
        return http.post("/v1/chat/completions", json={**BODY, **body})


def thumb(hone: Gateway, response_id: str, **headers: str) -> Any:
    rating = {"response_id": response_id, "name": "thumbs", "value": True}
    with hone.http() as http:
        return http.post("/v1/feedback", json=rating, headers=headers)


def test_a_locked_database_holds_chats_and_ratings_up_for_a_second_and_loses_none(tmp_path: Path) -> None:
    with gateway(tmp_path) as hone:
        with locked(hone):
            started = time.monotonic()
            first = chat(hone)
            assert first.status_code == 200
            assert 0.9 < time.monotonic() - started < 2.5
            started = time.monotonic()
            others = [chat(hone, stream=number % 2 == 1) for number in range(10)]
            assert all(answer.status_code == 200 for answer in others)
            assert time.monotonic() - started < 2.5, "the spool takes rows at once"
            rating = thumb(hone, first.json()["id"])
            assert rating.status_code == 201
            assert thumb(hone, first.json()["id"]).status_code == 201
            with hone.http() as http:
                assert http.get("/readyz").json() == {"ready": True, "degraded": True, "missing": []}
        assert eventually(lambda: len(hone.rows()) == 11, 5)
        assert eventually(lambda: hone.parts.ledger.feedback_by_id(rating.json()["id"]))
        assert eventually(lambda: not hone.parts.writer.stats().degraded)


def test_a_rating_of_an_answer_that_waits_in_the_spool_is_taken_and_repeated(tmp_path: Path) -> None:
    with gateway(tmp_path) as hone:
        with locked(hone):
            response_id = chat(hone).json()["id"]
            first, again = (thumb(hone, response_id, **{"idempotency-key": "k"}) for _ in range(2))
            assert (first.status_code, again.status_code) == (201, 200)
            assert first.content == again.content
        assert eventually(lambda: hone.parts.ledger.interaction(bare(response_id)))
        assert len(hone.parts.ledger.feedback(bare(response_id), history=True)) == 1


def test_with_disk_and_database_gone_chats_go_on_and_ratings_are_refused(tmp_path: Path) -> None:
    with gateway(tmp_path, settings={"ledger": {"hold": 20}}) as hone:
        before = chat(hone).json()["id"]
        with locked(hone), no_spool(hone):
            held = chat(hone)
            assert held.status_code == 200
            assert chat(hone, stream=True).text.endswith("data: [DONE]\n\n")
            refused = thumb(hone, before)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_stored")
            assert int(refused.headers["retry-after"]) >= 1
            stats = hone.parts.writer.stats()
            assert stats.unlogged > 0 and stats.held > 0
            with hone.http(Role.OPS) as http:
                assert http.get("/readyz").json()["degraded"]
                assert "hone_unlogged_total 0.0" not in http.get("/metrics").text
        assert eventually(lambda: hone.parts.ledger.interaction(bare(held.json()["id"])), 5)


@pytest.mark.parametrize("settings", [{"on_failure": "refuse"}, {"on_failure": "serve", "hold": 0}])
def test_a_chat_that_nothing_can_keep_is_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    with gateway(tmp_path, settings={"ledger": settings}) as hone:
        with locked(hone), no_spool(hone):
            whole, stream = chat(hone), chat(hone, stream=True)
            assert (whole.status_code, whole.json()["error"]["code"]) == (503, "not_stored")
            assert "not_stored" in stream.text and "[DONE]" not in stream.text
            with hone.http() as http:
                assert http.get("/readyz").json()["missing"] == ["ledger: what a chat leaves behind cannot be stored"]
        assert eventually(lambda: chat(hone).status_code == 200, 5)


def test_a_database_that_was_moved_away_is_survived_and_what_was_said_comes_back(tmp_path: Path) -> None:
    with gateway(tmp_path) as hone:
        known = chat(hone).json()["id"]
        database = hone.parts.settings.data / "ledger.db"
        away = database.with_suffix(".away")
        os.rename(database, away)
        answer = chat(hone)
        assert answer.status_code == 200
        rating = thumb(hone, answer.json()["id"])
        assert rating.status_code == 201
        with hone.http(Role.REVIEWER) as http:
            listed = http.get("/api/interactions")
        assert (listed.status_code, listed.json()["error"]["type"]) == (503, "server_error")
        os.rename(away, database)
        assert eventually(lambda: hone.parts.ledger.interaction(bare(answer.json()["id"])), 5)
        assert hone.parts.ledger.interaction(bare(known))


def test_what_a_stopped_gateway_left_in_the_spool_is_there_after_the_next_start(tmp_path: Path) -> None:
    engine = FakeEngine()
    with gateway(tmp_path, engine=engine) as hone:
        settings = hone.parts.settings
        with closing(sqlite3.connect(settings.data / "ledger.db", isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            ids = [chat(hone).json()["id"] for _ in range(5)]
            hone.stop()
            holder.execute("ROLLBACK")
        with over(settings, engine) as again:
            assert eventually(lambda: len(again.rows()) == 5, 5)
            assert {row.id for row in again.rows()} == {bare(response_id) for response_id in ids}


def test_a_burst_is_committed_in_groups_and_each_answer_has_its_row(tmp_path: Path) -> None:
    with gateway(tmp_path) as hone:
        ids: list[str] = []

        def talk() -> None:
            with hone.http() as http:
                for _ in range(20):
                    ids.append(http.post("/v1/chat/completions", json=BODY).json()["id"])

        threads = [threading.Thread(target=talk) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(ids)) == 320
        assert {row.id for row in hone.rows()} == {bare(response_id) for response_id in ids}
        assert hone.parts.writer.stats().commit_seconds_count < 320
