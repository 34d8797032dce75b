"""The fake engine: seeded, with working knobs, and of the same form as vLLM."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import aiohttp
import orjson
import pytest
from fixtures_serving import RealEngine

from serving.fake import FakeEngine, Knobs, listening

CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
MESSAGES = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def fake() -> FakeEngine:
    return FakeEngine(loaded={"m-0": "/m-0", "m-1": "/m-1"})


@pytest.fixture
def url(fake: FakeEngine) -> Iterator[str]:
    with listening(fake) as address:
        yield address


async def post(url: str, path: str, body: Mapping[str, Any], key: str = "") -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {key}", "X-Request-Id": "r1"}
    async with aiohttp.ClientSession() as http, http.post(url + path, json=body, headers=headers) as response:
        return response.status, await response.read()


async def text(url: str, model: str = "m-0", prompt: str = "Hello", **fields: object) -> str:
    messages = [{"role": "user", "content": prompt}]
    status, body = await post(url, CHAT, {"model": model, "messages": messages, **fields})
    assert status == 200, body
    return str(orjson.loads(body)["choices"][0]["message"]["content"])


def events(body: bytes) -> list[dict[str, Any]]:
    """The JSON of each server-sent event; the end mark must be the last."""
    lines = body.decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [orjson.loads(line.removeprefix("data: ")) for line in lines[:-2]]


async def test_the_same_seed_version_and_prompt_give_the_same_answer(url: str, fake: FakeEngine) -> None:
    first = await text(url)
    assert await text(url) == first
    assert await text(url, model="m-1") != first
    assert await text(url, prompt="Bye") != first
    fake.seed = 1
    assert await text(url) != first


async def test_a_stream_says_what_the_whole_answer_says(url: str) -> None:
    _, body = await post(url, CHAT, {"model": "m-0", "messages": MESSAGES, "stream": True})
    deltas = [choice["delta"].get("content", "") for event in events(body) for choice in event["choices"]]
    assert "".join(deltas) == await text(url)


async def test_max_tokens_cuts_the_answer_and_says_length(url: str) -> None:
    _, body = await post(url, CHAT, {"model": "m-0", "messages": MESSAGES, "max_tokens": 3})
    answer = orjson.loads(body)
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 3


async def test_answers_can_be_given_and_a_share_of_them_made_wrong(url: str, fake: FakeEngine) -> None:
    fake.answer = lambda version, prompt: f"{version} heard {prompt}"
    assert await text(url, prompt="a b") == "m-0 heard a b"
    fake.knobs["m-0"] = Knobs(wrong=0.5)
    wrong = [await text(url) != "m-0 heard Hello" for _ in range(60)]
    assert 10 < sum(wrong) < 50


async def test_a_share_of_calls_fails_before_the_first_byte(url: str, fake: FakeEngine) -> None:
    fake.knobs["m-1"] = Knobs(fail=1.0)
    status, body = await post(url, CHAT, {"model": "m-1", "messages": MESSAGES, "stream": True})
    assert (status, orjson.loads(body)["error"]["code"]) == (500, 500)
    assert await text(url)


async def test_a_cut_answer_ends_without_its_end(url: str, fake: FakeEngine) -> None:
    fake.knobs["m-0"] = Knobs(cut_after=2)
    for stream in (True, False):
        with pytest.raises(aiohttp.ClientPayloadError):
            await post(url, CHAT, {"model": "m-0", "messages": MESSAGES, "stream": stream})


async def test_a_dying_engine_says_so_in_the_stream(url: str, fake: FakeEngine) -> None:
    fake.knobs["m-0"] = Knobs(error_after=2)
    _, body = await post(url, CHAT, {"model": "m-0", "messages": MESSAGES, "stream": True})
    assert events(body)[-1]["error"]["code"] == 500
    assert len(events(body)) == 4


async def test_knobs_of_one_version_leave_the_others_alone(url: str, fake: FakeEngine) -> None:
    fake.knobs |= {"m-1": Knobs(tokens=1), "": Knobs(tokens=4)}
    assert len((await text(url, model="m-1")).split()) == 1
    assert len((await text(url)).split()) == 4


async def test_nobody_listens_any_more_afterwards(fake: FakeEngine) -> None:
    with listening(fake) as url:
        assert await text(url)
    with pytest.raises(aiohttp.ClientConnectorError):
        await text(url)


async def test_an_engine_can_come_back_on_its_port(fake: FakeEngine) -> None:
    with listening(fake) as url:
        pass
    with listening(fake, int(url.rpartition(":")[2])) as again:
        assert again == url
        assert await text(url)


REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": (CHAT, {"messages": MESSAGES, "max_tokens": 3}),
    "chat stream": (CHAT, {"messages": MESSAGES, "max_tokens": 3, "stream": True}),
    "chat stream usage": (
        CHAT,
        {"messages": MESSAGES, "max_tokens": 3, "stream": True, "stream_options": {"include_usage": True}},
    ),
    "completion": (COMPLETION, {"prompt": "Hello", "max_tokens": 3}),
    "completion stream": (COMPLETION, {"prompt": "Hello", "max_tokens": 3, "stream": True}),
    "completion stream usage": (
        COMPLETION,
        {"prompt": "Hello", "max_tokens": 3, "stream": True, "stream_options": {"include_usage": True}},
    ),
    "unknown model": (CHAT, {"model": "m-9", "messages": MESSAGES}),
    "too many tokens": (CHAT, {"messages": MESSAGES, "max_tokens": 99_999}),
    "unload unknown": ("/v1/unload_lora_adapter", {"lora_name": "m-9"}),
    "load again": ("/v1/load_lora_adapter", {}),
}


def shape(value: Any) -> Any:
    """Names and kinds, in order, without the values."""
    if isinstance(value, dict):
        return [(name, shape(item)) for name, item in value.items()]
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value).__name__


def form(status: int, body: bytes) -> Any:
    """The form of an answer: of a stream, that of its first, second, last but one and last event."""
    if not body.startswith(b"data:"):
        return status, shape(orjson.loads(body))
    parts = events(body)
    return status, [shape(part) for part in (parts[0], parts[1], parts[-2], parts[-1])]


@pytest.mark.engine
@pytest.mark.parametrize("name", REQUESTS)
async def test_the_fake_answers_in_the_form_of_the_real_engine(
    url: str, fake: FakeEngine, engine: RealEngine, name: str
) -> None:
    path, body = REQUESTS[name]
    steady = {"ignore_eos": True, "temperature": 0} if "tokens" in name or "max_tokens" in body else {}
    named = {"lora_name": engine.champion, "lora_path": "/tmp"} if name == "load again" else {}
    real = await post(engine.url, path, {"model": engine.champion, **steady, **body, **named}, engine.key)
    other = {"lora_name": "m-0", "lora_path": "/m-0"} if name == "load again" else {}
    ours = await post(url, path, {"model": "m-0", **body, **other})
    assert form(*ours) == form(*real)


@pytest.mark.engine
async def test_the_fakes_list_of_models_has_the_real_form(url: str, engine: RealEngine) -> None:
    async with aiohttp.ClientSession() as http:

        async def cards(address: str, key: str) -> list[Any]:
            async with http.get(f"{address}/v1/models", headers={"Authorization": f"Bearer {key}"}) as response:
                return [shape(card) for card in (await response.json())["data"][:2]]

        ours, real = await asyncio.gather(cards(url, ""), cards(engine.url, engine.key))
    assert ours == real
