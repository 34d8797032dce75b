"""A provider that answers chats while our engine is down, stood in for by an OpenAI-shaped server on this machine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fixtures_gateway import CHAMPION, HELLO, eventually
from fixtures_process import Place, ledger, place_in, running
from openai import OpenAI

from core.types import Arm, Finish, Role
from serving.fake import FakeEngine, listening

pytestmark = pytest.mark.slow
CHAT: dict[str, Any] = {"model": "hone", "messages": HELLO, "temperature": 0}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A gateway that was ready once and whose engine has no model any more."""
    folder: Path = tmp_path_factory.mktemp("fallback")
    (folder / "key").write_text("sk-provider")
    with listening(FakeEngine(answer=lambda version, prompt: "from far away")) as url:
        lines = ('model = "openai/fake-base"', f'api_base = "{url}/v1"', f'api_key_file = "{folder / "key"}"')
        with place_in(folder, "\n".join(("[providers.fallback]", *lines))) as there, running(there):
            there.engine.loaded.clear()
            yield there


def test_while_the_engine_is_down_the_provider_answers_and_the_row_says_so(place: Place) -> None:
    with OpenAI(base_url=f"{place.url}/v1", api_key=place.keys[Role.USER], max_retries=0) as client:
        whole = client.chat.completions.create(**CHAT)
        chunks = list(client.chat.completions.create(**CHAT, stream=True))
        counted = list(client.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True}))
    assert whole.choices[0].message.content == "from far away"
    assert all(chunk.choices for chunk in chunks)
    assert counted[-1].usage is not None
    for answers in ([whole], chunks, counted):
        assert {answer.model for answer in answers} == {"hone"}
        [response_id] = {answer.id for answer in answers}
        with ledger(place) as kept:
            row = kept.interaction(response_id.removeprefix("chatcmpl-"))
        assert row is not None
        assert (row.arm, row.assigned, row.served, row.provider) == (Arm.EXTERNAL, CHAMPION, None, "openai/fake-base")
        assert (row.finish, row.reply) == (Finish.STOP, {"role": "assistant", "content": "from far away"})
        assert row.error and "model_not_loaded" in row.error


def test_the_gateway_stays_ready_and_says_that_it_is_degraded(place: Place) -> None:
    def state() -> Any:
        return httpx.get(f"{place.url}/readyz", trust_env=False).json()

    assert eventually(lambda: state()["degraded"], 15)
    assert state()["ready"]


def test_a_named_version_and_a_completion_are_never_answered_by_a_provider(place: Place) -> None:
    with httpx.Client(base_url=place.url, headers=place.authorization(Role.OPS), trust_env=False) as http:
        named = http.post("/v1/chat/completions", json={**CHAT, "model": CHAMPION})
        completion = http.post("/v1/completions", json={"model": "hone", "prompt": "x"})
    assert (named.status_code, completion.status_code) == (503, 503)


def test_when_the_engine_is_back_the_provider_is_not_asked_any_more(place: Place) -> None:
    place.engine.loaded[CHAMPION] = ""
    with httpx.Client(base_url=place.url, headers=place.authorization(Role.OPS), trust_env=False) as http:
        answer = http.post("/v1/chat/completions", json=CHAT)
    assert answer.headers["x-hone-version"] == CHAMPION
