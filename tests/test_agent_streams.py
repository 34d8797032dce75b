"""Streams that do not end well: cut by the client, by the engine, by time, or read too slowly."""

import asyncio
import json
import random
import socket
import threading
import time
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from fixtures_gateway import CHAMPION, HELLO, Gateway, eventually, gateway, slow
from openai import APIError, InternalServerError

from core.types import Finish, Role
from serving.fake import Knobs

CUTS = 200
STREAM: dict[str, Any] = {"model": "hone", "messages": HELLO, "stream": True}


def deltas(lines: list[str]) -> str:
    """The text in the lines of a stream."""
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {") and "choices" in line]
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])


async def cut_at_random(hone: Gateway, count: int, seed: int) -> dict[str, str]:
    """Start streams, hang up on each after a random number of events; what was read, by the client's request id."""
    read: dict[str, str] = {}
    draws = random.Random(seed)
    plans = [(f"cut-{number}", draws.randint(0, 30), draws.random() * 0.02) for number in range(count)]
    limit = asyncio.Semaphore(16)

    async def one(session: aiohttp.ClientSession, name: str, events: int, pause: float) -> None:
        async with limit:
            headers = {"authorization": f"Bearer {hone.keys[Role.USER]}", "x-request-id": name}
            response = await session.post(f"{hone.url}/v1/chat/completions", json=STREAM, headers=headers)
            lines: list[str] = []
            while len(lines) < events and (line := await response.content.readline()):
                if line.strip():
                    lines.append(line.decode().strip())
            await asyncio.sleep(pause)
            response.close()
            read[name] = deltas(lines)

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(one(session, *plan) for plan in plans))
    return read


async def test_each_cut_stream_is_a_row_with_what_was_sent_and_the_engine_stops(tmp_path: Path) -> None:
    with gateway(tmp_path) as hone:
        hone.engine.knobs = slow(tokens=25, per_token=0.004)
        read = await cut_at_random(hone, CUTS, seed=1)
        started = time.monotonic()
        while hone.engine.running:
            assert time.monotonic() - started < 2, f"{hone.engine.running} calls still run"
            await asyncio.sleep(0.01)
        # Nobody waited for the last rows to be committed.
        assert eventually(lambda: len(hone.rows()) >= CUTS)
        rows = {row.request_id: row for row in hone.rows()}
        assert rows.keys() == read.keys()
        for name, text in read.items():
            row, reply = rows[name], rows[name].reply or {}
            assert str(reply.get("content", "")).startswith(text)
            assert row.finish in (Finish.CANCELLED, Finish.STOP)
            whole = len(str(reply.get("content", "")).split(" ")) == 25
            assert (row.finish is Finish.STOP) == whole
        assert sum(row.finish is Finish.CANCELLED for row in rows.values()) > CUTS / 3
        assert hone.parts.plans.running == 0


def test_a_client_that_hangs_up_on_a_whole_answer_stops_the_engine_and_leaves_a_row(tmp_path: Path) -> None:
    with gateway(tmp_path) as hone:
        hone.engine.knobs = slow(first_token=30)
        with hone.http() as http, pytest.raises(httpx.ReadTimeout):
            http.post("/v1/chat/completions", json={"model": "hone", "messages": HELLO, "user": "gone"}, timeout=0.3)
        assert eventually(lambda: hone.engine.running == 0, 2)
        row = eventually(lambda: [row for row in hone.rows() if row.finish is Finish.CANCELLED])[0]
        assert (row.reply, row.assigned) == (None, CHAMPION)


def test_an_engine_that_dies_mid_stream_ends_the_stream_with_an_error_and_no_end_mark(tmp_path: Path) -> None:
    with gateway(tmp_path) as hone:
        for knobs in (Knobs(cut_after=3), Knobs(error_after=3)):
            hone.engine.knobs = {"": knobs}
            with hone.http() as http, http.stream("POST", "/v1/chat/completions", json=STREAM) as response:
                lines = [line for line in response.iter_lines() if line]
            error = json.loads(lines[-1][6:])["error"]
            assert set(error) == {"message", "type", "param", "code"}
            assert (error["type"], error["code"]) == ("server_error", "engine_failed")
            assert not any("[DONE]" in line for line in lines)
            row = hone.row(json.loads(lines[0][6:])["id"])
            assert (row.finish, row.error, row.served) == (Finish.ERROR, "engine_failed", CHAMPION)
            assert row.reply and row.reply["content"] == deltas(lines) != ""
        with hone.openai() as client, pytest.raises(APIError):
            list(client.chat.completions.create(**STREAM))


def test_an_engine_that_dies_in_the_middle_of_a_whole_answer_is_a_502_and_a_row(tmp_path: Path) -> None:
    with gateway(tmp_path) as hone:
        hone.engine.knobs = {"": Knobs(cut_after=3)}
        with hone.openai() as client, pytest.raises(InternalServerError) as caught:
            client.chat.completions.create(model="hone", messages=HELLO)
        assert (caught.value.status_code, caught.value.code) == (502, "engine_failed")
        assert eventually(lambda: [row for row in hone.rows() if row.error == "engine_failed"])


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_takes_too_long_is_ended_and_stops_the_engine(tmp_path: Path, stream: bool) -> None:
    with gateway(tmp_path, settings={"gateway": {"deadline": 0.5}}) as hone:
        hone.engine.knobs = slow(tokens=1000, per_token=0.05)
        with hone.http() as http:
            answer = http.post("/v1/chat/completions", json={**STREAM, "stream": stream})
        last = answer.text.strip().split("\n\n")[-1].removeprefix("data: ")
        assert answer.status_code == (200 if stream else 504)
        assert json.loads(last)["error"]["code"] == "deadline_exceeded"
        assert eventually(lambda: hone.engine.running == 0, 2)
        row = eventually(hone.rows)[-1]
        assert (row.finish, row.error) == (Finish.ERROR, "deadline_exceeded")
        assert bool(row.reply) == stream


def raw_stream(hone: Gateway, receive_buffer: int) -> socket.socket:
    """A stream on a socket that takes in little; nothing of the answer was read yet."""
    host, port = hone.url.removeprefix("http://").split(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.connect((host, int(port)))
    body = json.dumps({**STREAM, "max_tokens": 2000}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {hone.keys[Role.USER]}\r\n"
    client.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    return client


def test_a_slow_reader_holds_the_engine_up_instead_of_filling_the_memory(tmp_path: Path) -> None:
    text = " ".join("x" * 20_000 for _ in range(2000))
    with gateway(tmp_path) as hone:
        hone.engine.answer = lambda version, prompt: text
        client = raw_stream(hone, receive_buffer=4096)
        time.sleep(1.5)
        call = next(iter(hone.rows()), None)
        assert call is None, "the answer ended although nobody read it"
        assert hone.engine.running == 1
        # Others are served meanwhile.
        hone.engine.answer = lambda version, prompt: "short"
        with hone.openai() as other:
            assert other.chat.completions.create(model="hone", messages=HELLO).choices[0].message.content == "short"
        received = bytearray()
        while b"[DONE]" not in received[-200:]:
            piece = client.recv(1 << 20)
            assert piece, "the answer broke off"
            received += piece
        client.close()
        row = eventually(lambda: [row for row in hone.rows() if row.params.get("max_tokens") == 2000])[0]
        assert (row.finish, row.reply) == (Finish.STOP, {"role": "assistant", "content": text})


def test_many_streams_at_once_each_get_their_own_answer(tmp_path: Path) -> None:
    with gateway(tmp_path) as hone:
        hone.engine.answer = lambda version, prompt: f"{prompt} and {prompt} again"
        hone.engine.knobs = slow(per_token=0.002)
        wrong: list[str] = []

        def chat(number: int) -> None:
            with hone.openai() as client:
                for turn in range(5):
                    word = f"word{number}x{turn}"
                    messages: Any = [{"role": "user", "content": word}]
                    chunks = list(client.chat.completions.create(model="hone", messages=messages, stream=True))
                    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
                    kept = hone.row(chunks[0].id)
                    if said != f"{word} and {word} again" or (kept.reply or {}).get("content") != said:
                        wrong.append(word)

        threads = [threading.Thread(target=chat, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert len(hone.rows()) == 60
