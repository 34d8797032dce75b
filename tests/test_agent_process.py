"""`python -m agent` as a process: how it starts, drains, dies and comes back."""

import json
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from fixtures_gateway import HELLO, eventually, slow
from fixtures_process import Place, ledger, place_in, running

from agent.__main__ import listen
from core import config
from core.errors import SetupError
from core.types import Finish

BODY: dict[str, Any] = {"model": "hone", "messages": HELLO}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as there:
        yield there


def test_a_port_that_is_taken_is_said_with_what_to_do(place: Place) -> None:
    with socket.create_server(("127.0.0.1", place.settings.gateway.port)):
        said = place.refused()
    assert str(place.settings.gateway.port) in said and "HONE_PORT" in said
    assert "Traceback" not in said


def test_workers_share_a_port_and_a_single_gateway_does_not() -> None:
    with listen(config.Gateway(workers=2), 0) as first:
        port = first.getsockname()[1]
        with listen(config.Gateway(workers=2), port) as second:
            assert second.getsockname() == first.getsockname()
        first.listen()
        with pytest.raises(SetupError, match=str(port)):
            listen(config.Gateway(), port)


def test_a_ledger_of_another_time_is_said_with_what_to_do(place: Place) -> None:
    with closing(sqlite3.connect(place.settings.data / "ledger.db")) as connection:
        connection.execute("ALTER TABLE interactions DROP COLUMN cost")
    said = place.refused()
    assert "interactions.cost" in said and "hone db upgrade" in said


def test_a_gateway_that_is_told_to_stop_lets_open_answers_finish_and_takes_no_new_ones(place: Place) -> None:
    place.engine.knobs = slow(tokens=20, per_token=0.1)
    with running(place) as process, httpx.Client(base_url=place.url, headers=place.headers, trust_env=False) as http:
        place.engine.calls.clear()
        with http.stream("POST", "/v1/chat/completions", json={**BODY, "stream": True}) as response:
            lines = response.iter_lines()
            first = json.loads(next(lines)[6:])
            process.send_signal(signal.SIGTERM)
            assert eventually(lambda: not place.listens(), 3)
            assert [line for line in lines if line][-1] == "data: [DONE]"
        assert process.wait(10) == 0
        with ledger(place) as kept:
            row = kept.interaction(first["id"].removeprefix("chatcmpl-"))
    assert row is not None and row.finish is Finish.STOP


def test_an_answer_that_does_not_end_in_time_is_cut_and_kept(tmp_path: Path) -> None:
    with ExitStack() as stack:
        place = stack.enter_context(place_in(tmp_path, drain=1))
        place.engine.knobs = slow(tokens=1000, per_token=0.05)
        process = stack.enter_context(running(place))
        http = stack.enter_context(httpx.Client(base_url=place.url, headers=place.headers, trust_env=False))
        with http.stream("POST", "/v1/chat/completions", json={**BODY, "stream": True}) as response:
            lines = response.iter_lines()
            first = json.loads(next(lines)[6:])
            process.send_signal(signal.SIGTERM)
            with pytest.raises(httpx.RemoteProtocolError):
                list(lines)
        assert process.wait(15) == 0
        assert eventually(lambda: place.engine.running == 0, 2)
        with ledger(place) as kept:
            row = kept.interaction(first["id"].removeprefix("chatcmpl-"))
    assert row is not None and row.finish is Finish.CANCELLED
    assert row.reply and len(str(row.reply["content"]).split()) > 5


def test_a_killed_gateway_is_back_in_seconds_and_has_all_feedback_that_it_acknowledged_once(place: Place) -> None:
    """Posts go on, each repeated until it is acknowledged, while the gateway is killed again and again."""
    acknowledged: set[str] = set()
    stop = threading.Event()

    def post(number: int, response_id: str) -> None:
        turn = 0
        with httpx.Client(base_url=place.url, headers=place.headers, timeout=5, trust_env=False) as http:
            while not stop.is_set():
                body = {
                    "response_id": response_id,
                    "name": "thumbs",
                    "value": turn % 2 == 0,
                    "comment": f"{number}-{turn}",
                }
                try:
                    answer = http.post("/v1/feedback", json=body, headers={"idempotency-key": f"{number}-{turn}"})
                except httpx.TransportError:
                    time.sleep(0.02)
                    continue
                if answer.status_code in (200, 201):
                    acknowledged.add(answer.json()["id"])
                    turn += 1
                else:
                    assert answer.status_code == 503

    draws = random.Random(5)
    with running(place) as process:
        answer = httpx.post(f"{place.url}/v1/chat/completions", json=BODY, headers=place.headers, trust_env=False)
        response_id = answer.json()["id"]
        threads = [threading.Thread(target=post, args=(number, response_id)) for number in range(16)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            time.sleep(0.3 + draws.random())
            process.kill()
            process.wait()
            started = time.monotonic()
            process = place.start()
            assert eventually(place.ready, 20)
            assert time.monotonic() - started < 10
        time.sleep(0.5)
        stop.set()
        for thread in threads:
            thread.join()
        process.terminate()
        process.wait(20)
    with ledger(place) as kept:
        rows = kept.feedback(response_id.removeprefix("chatcmpl-"), history=True)
    assert len(acknowledged) > 50
    assert acknowledged <= {row.id for row in rows}
    assert len({row.comment for row in rows}) == len(rows)


def test_the_gateway_loads_no_torch_no_litellm_and_no_migrations() -> None:
    code = "import agent.__main__, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "litellm", "transformers", "alembic", "httpx", "openai", "typer", "numpy"} & set(loaded)
