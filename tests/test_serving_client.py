"""The client of the engine: bytes as they are, errors of ours, and connections that end generations."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator

import aiohttp
import orjson
import pytest
from fixtures_serving import RealEngine

from core.errors import EngineFailed, EngineUnavailable
from core.types import Version
from serving.client import EngineClient
from serving.fake import FakeEngine, Knobs, listening
from serving.fake_bytes import CHAT

VERSION = Version("m-0")


def chat(model: str = VERSION, **fields: object) -> bytes:
    return orjson.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}], **fields})


@pytest.fixture
def fake() -> FakeEngine:
    return FakeEngine(key="secret", loaded={VERSION: "/m-0"})


@pytest.fixture
def url(fake: FakeEngine) -> Iterator[str]:
    with listening(fake) as address:
        yield address


@pytest.fixture
async def client(url: str) -> AsyncIterator[EngineClient]:
    async with EngineClient(url, "secret") as opened:
        yield opened


async def until(seconds: float, fake: FakeEngine, running: int) -> float:
    """Seconds until so many calls run; fails after `seconds`."""
    began = time.monotonic()
    while fake.running != running:
        assert time.monotonic() - began < seconds, f"{fake.running} still running"
        await asyncio.sleep(0.01)
    return time.monotonic() - began


async def collect(client: EngineClient, body: bytes) -> tuple[int, bytes]:
    async with client.post(CHAT, body, "r1") as upstream:
        return upstream.status, b"".join([piece async for piece in upstream.chunks()])


async def test_an_answer_carries_the_request_id_and_the_engines_bytes(client: EngineClient, fake: FakeEngine) -> None:
    async with client.post(CHAT, chat(), "r1") as upstream:
        body = await upstream.read()
    assert (upstream.status, upstream.headers["Content-Type"]) == (200, "application/json")
    assert orjson.loads(body)["id"] == "chatcmpl-r1"
    assert fake.calls[0].headers["authorization"] == "Bearer secret"


async def test_a_stream_arrives_as_it_is_made(client: EngineClient, fake: FakeEngine) -> None:
    fake.knobs[VERSION] = Knobs(per_token=0.1, tokens=5)
    arrivals = []
    async with client.post(CHAT, chat(stream=True), "r1") as upstream:
        async for _ in upstream.chunks():
            arrivals.append(time.monotonic())
    assert len(arrivals) >= 5
    assert arrivals[-1] - arrivals[0] > 0.3


async def test_the_bytes_are_the_same_read_whole_or_in_pieces(client: EngineClient, fake: FakeEngine) -> None:
    fake.knobs[VERSION] = Knobs(tokens=2000)
    async with client.post(CHAT, chat(), "r1") as upstream:
        whole = await upstream.read()
    _, pieces = await collect(client, chat())
    assert orjson.loads(whole)["choices"] == orjson.loads(pieces)["choices"]


async def test_no_encoding_or_agent_is_announced(client: EngineClient, fake: FakeEngine) -> None:
    await collect(client, chat())
    assert not fake.calls[0].headers.keys() & {"accept-encoding", "user-agent", "cookie"}


async def test_an_error_of_the_engine_is_an_answer_like_any_other(client: EngineClient) -> None:
    status, body = await collect(client, chat("m-unknown"))
    assert status == 404
    assert orjson.loads(body)["error"]["param"] == "model"


async def test_connections_do_not_hold_small_packets_back(client: EngineClient, fake: FakeEngine) -> None:
    fake.knobs[VERSION] = Knobs(per_token=0.1)
    async with client.post(CHAT, chat(stream=True), "r1") as upstream:
        connection = upstream._answer.connection
        assert connection is not None
        assert connection.transport is not None
        peer = connection.transport.get_extra_info("socket")
        assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


async def test_two_hundred_calls_run_at_once(client: EngineClient, fake: FakeEngine) -> None:
    fake.knobs[VERSION] = Knobs(first_token=0.5)
    calls = [asyncio.create_task(collect(client, chat())) for _ in range(200)]
    await until(10, fake, 200)
    assert {status for status, _ in await asyncio.gather(*calls)} == {200}


@pytest.mark.parametrize("stream", [True, False])
async def test_leaving_a_call_ends_its_generation(client: EngineClient, fake: FakeEngine, stream: bool) -> None:
    fake.knobs[VERSION] = Knobs(first_token=0.05, per_token=0.05, tokens=400)
    call = asyncio.create_task(collect(client, chat(stream=stream)))
    await until(5, fake, 1)
    call.cancel()
    assert await until(2, fake, 0) < 2


async def test_closing_a_stream_in_the_middle_ends_its_generation(client: EngineClient, fake: FakeEngine) -> None:
    fake.knobs[VERSION] = Knobs(per_token=0.05, tokens=400)
    async with client.post(CHAT, chat(stream=True), "r1") as upstream:
        async for _ in upstream.chunks():
            upstream.close()
            break
    assert await until(2, fake, 0) < 2


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_breaks_off_is_an_error(client: EngineClient, fake: FakeEngine, stream: bool) -> None:
    fake.knobs[VERSION] = Knobs(cut_after=3, tokens=9)
    with pytest.raises(EngineFailed, match="broke its answer off"):
        await collect(client, chat(stream=stream))


async def test_an_engine_that_is_not_there_is_unavailable(client: EngineClient, fake: FakeEngine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    async with EngineClient(address, "secret") as lost:
        with pytest.raises(EngineUnavailable) as caught:
            await collect(lost, chat())
        assert caught.value.retry_after is not None
        assert "secret" not in caught.value.message
        assert not await lost.healthy()
        assert not await lost.answers(VERSION)
        with pytest.raises(EngineUnavailable):
            await lost.loaded()


async def test_an_engine_that_hangs_up_before_its_status_is_unavailable() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, EngineClient(f"http://127.0.0.1:{port}", "secret") as client:
        with pytest.raises(EngineUnavailable):
            await collect(client, chat())


async def test_adapters_are_loaded_listed_and_unloaded(client: EngineClient, fake: FakeEngine) -> None:
    other = Version("m-1")
    await client.load(other, "/m-1")
    await client.load(other, "/m-1")
    assert await client.loaded() == {VERSION, other}
    await client.unload(other)
    await client.unload(other)
    assert await client.loaded() == {VERSION}
    assert fake.base not in await client.loaded()


async def test_a_refused_key_is_said_plainly(url: str) -> None:
    async with EngineClient(url, "wrong") as client:
        with pytest.raises(EngineFailed, match="401"):
            await client.loaded()
        assert not await client.answers(VERSION)


async def test_healthy_is_not_yet_answering(client: EngineClient, fake: FakeEngine) -> None:
    assert await client.healthy()
    assert await client.answers(VERSION)
    fake.knobs[VERSION] = Knobs(fail=1.0)
    assert await client.healthy()
    assert not await client.answers(VERSION)
    fake.healthy = False
    assert not await client.healthy()


async def test_running_counts_the_calls_under_way(client: EngineClient, fake: FakeEngine) -> None:
    fake.knobs[VERSION] = Knobs(first_token=0.3)
    assert await client.running() == 0
    call = asyncio.create_task(collect(client, chat()))
    await until(5, fake, 1)
    assert await client.running() == 1
    await call
    assert await client.running() == 0


async def test_a_client_that_was_not_opened_says_so() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        EngineClient("http://127.0.0.1:9", "k").post(CHAT, b"", "r1")


async def test_an_idle_connection_is_dropped_before_the_engine_drops_it(client: EngineClient) -> None:
    await collect(client, chat())
    connector = client._session.connector
    assert isinstance(connector, aiohttp.TCPConnector)
    assert connector._keepalive_timeout < 5


@pytest.mark.engine
async def test_cut_streams_stop_the_real_engine_within_two_seconds(engine: RealEngine) -> None:
    body = chat(engine.champion, stream=True, max_tokens=1500, ignore_eos=True, temperature=1)

    async def cut(client: EngineClient, number: int) -> None:
        async with client.post(CHAT, body, f"cut-{number}") as upstream:
            pieces = upstream.chunks()
            await anext(pieces)
            await anext(pieces)

    async with engine.client() as client:
        await asyncio.gather(*(cut(client, number) for number in range(32)))
        began = time.monotonic()
        while await client.running():
            assert time.monotonic() - began < 2
            await asyncio.sleep(0.05)


@pytest.mark.engine
async def test_an_unknown_version_is_404_and_never_the_base(engine: RealEngine) -> None:
    async with engine.client() as client:
        status, body = await collect(client, chat("hone-tiny-0000000000000000", max_tokens=1))
    assert status == 404
    error = orjson.loads(body)["error"]
    assert (error["type"], error["param"]) == ("NotFoundError", "model")


@pytest.mark.engine
async def test_the_real_engine_names_its_answer_by_the_request_id(engine: RealEngine) -> None:
    async with engine.client() as client, client.post(CHAT, chat(engine.champion, max_tokens=1), "r1") as upstream:
        body = orjson.loads(await upstream.read())
    assert (body["id"], body["model"]) == ("chatcmpl-r1", engine.champion)


@pytest.mark.engine
async def test_hone_tiny_is_served_with_2048_tokens(engine: RealEngine) -> None:
    async with engine.client() as client:
        status, body = await client._ask("GET", "/v1/models")
    assert status == 200
    assert orjson.loads(body)["data"][0]["max_model_len"] == 2048


@pytest.mark.engine
async def test_a_call_may_yield_to_others_by_its_priority(engine: RealEngine) -> None:
    async with engine.client() as client:
        status, _ = await collect(client, chat(engine.champion, max_tokens=2, priority=10))
    assert status == 200
