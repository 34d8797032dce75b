"""Providers through LiteLLM, against a server of OpenAI's form on this machine; nothing leaves it."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.config import Provider
from core.errors import (
    BadRequest,
    DeadlineExceeded,
    EngineFailed,
    HoneError,
    SetupError,
    TooMany,
    Unavailable,
)
from serving import providers
from serving.fake import FakeEngine, Knobs, listening

KEY = "sk-very-secret"
MESSAGES = [{"role": "user", "content": "Hello"}]

# LiteLLM's own: it reads deprecated fields, and Pydantic warns of its types.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:pydantic")


@pytest.fixture(autouse=True)
def no_price_list_from_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")


@pytest.fixture
def fake() -> FakeEngine:
    return FakeEngine(key=KEY, loaded={"m": ""}, answer=lambda model, prompt: f"{model} heard {prompt}")


@pytest.fixture
def provider(fake: FakeEngine, tmp_path: Path) -> Iterator[Provider]:
    (tmp_path / "key").write_text(f"{KEY}\n")
    with listening(fake) as url:
        yield Provider(model="openai/m", api_base=f"{url}/v1", api_key_file=str(tmp_path / "key"), timeout=2)


async def failure(provider: Provider, *, stream: bool = False, **params: int | str) -> HoneError:
    with pytest.raises(HoneError) as caught:
        if stream:
            async for _ in providers.stream(provider, MESSAGES, params):
                pass
        else:
            await providers.complete(provider, MESSAGES, params)
    return caught.value


async def test_a_chat_is_completed(provider: Provider) -> None:
    answer = await providers.complete(provider, MESSAGES, {"max_tokens": 20})
    assert (answer.text, answer.finish) == ("m heard Hello", "stop")
    assert (answer.prompt_tokens, answer.completion_tokens) == (1, 3)
    assert answer.body["object"] == "chat.completion"


async def test_parameters_arrive_at_the_provider(provider: Provider, fake: FakeEngine) -> None:
    answer = await providers.complete(provider, MESSAGES, {"max_tokens": 2, "temperature": 0.5, "seed": 7})
    assert (answer.text, answer.finish) == ("m heard", "length")
    sent = fake.calls[0].body
    assert (sent["temperature"], sent["seed"], sent["messages"]) == (0.5, 7, MESSAGES)


async def test_a_chat_is_streamed_piece_by_piece(provider: Provider) -> None:
    chunks = [chunk async for chunk in providers.stream(provider, MESSAGES, {})]
    deltas = [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]]
    assert "".join(deltas) == "m heard Hello"
    assert sum(bool(delta) for delta in deltas) == 3
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


async def test_leaving_a_stream_ends_the_generation(provider: Provider, fake: FakeEngine) -> None:
    fake.answer, fake.knobs["m"] = None, Knobs(per_token=0.05, tokens=400)
    chunks = providers.stream(provider, MESSAGES, {})
    await anext(chunks)
    assert fake.running == 1
    await chunks.aclose()
    for _ in range(100):
        if fake.running == 0:
            break
        await asyncio.sleep(0.02)
    assert fake.running == 0


async def test_texts_become_vectors_in_their_order(provider: Provider, fake: FakeEngine) -> None:
    vectors = await providers.embed(provider, ["a", "b", "a"])
    assert vectors == [fake.vector("a"), fake.vector("b"), fake.vector("a")]


async def test_a_refused_key_is_not_quoted(provider: Provider, fake: FakeEngine) -> None:
    fake.key = "another"
    error = await failure(provider)
    assert isinstance(error, Unavailable)
    assert "api_key_file" in error.message
    assert KEY not in repr(error) + error.message + repr(error.__cause__)


async def test_a_wrong_request_says_what_is_wrong(provider: Provider) -> None:
    error = await failure(provider, n=3)
    assert isinstance(error, BadRequest)
    assert "the fake engine gives one choice" in error.message


async def test_an_unknown_model_is_a_matter_of_the_settings(provider: Provider) -> None:
    error = await failure(provider.model_copy(update={"model": "openai/other"}))
    assert isinstance(error, Unavailable)
    assert "check model" in error.message


async def test_a_slow_provider_meets_its_deadline(provider: Provider, fake: FakeEngine) -> None:
    fake.knobs["m"] = Knobs(first_token=30)
    assert isinstance(await failure(provider.model_copy(update={"timeout": 0.5})), DeadlineExceeded)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_provider_that_breaks_off_is_unavailable(provider: Provider, fake: FakeEngine, stream: bool) -> None:
    fake.knobs["m"] = Knobs(cut_after=1)
    assert isinstance(await failure(provider, stream=stream), Unavailable)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_provider_that_is_not_there_is_unavailable(provider: Provider, stream: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
    error = await failure(provider.model_copy(update={"api_base": address}), stream=stream)
    assert isinstance(error, Unavailable)
    assert error.retry_after is not None


@pytest.mark.parametrize("name", ["api_key", "api_base", "model", "timeout"])
async def test_a_call_cannot_redirect_the_provider(provider: Provider, fake: FakeEngine, name: str) -> None:
    assert isinstance(await failure(provider, **{name: "http://evil.example"}), BadRequest)
    assert not fake.calls


async def test_no_provider_configured_is_said_before_litellm_is_needed() -> None:
    assert isinstance(await failure(Provider()), SetupError)


async def test_a_missing_key_file_is_an_error_that_names_no_content(provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "key").unlink()
    error = await failure(provider)
    assert isinstance(error, SetupError)
    assert "cannot be read" in error.message


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequest),
        (422, BadRequest),
        (401, Unavailable),
        (403, Unavailable),
        (408, DeadlineExceeded),
        (429, TooMany),
        (500, Unavailable),
        (None, Unavailable),
        (418, EngineFailed),
    ],
)
def test_every_status_has_an_error_of_ours_without_the_key(
    provider: Provider, status: int | None, kind: type[HoneError]
) -> None:
    error = providers.translate(status, f"Incorrect API key provided: {KEY}", provider)
    assert type(error) is kind
    assert KEY not in error.message


def test_importing_the_module_does_not_import_litellm() -> None:
    code = "import serving.providers, sys; print(sorted({'litellm', 'openai'} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip() == "[]"
