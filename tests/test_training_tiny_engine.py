"""hone-tiny behind the real engine: the same greedy answers as here, and every shape of content that clients send."""

import json
from pathlib import Path

import pytest
from fixtures_hone import RunningHone
from openai import OpenAI

from training.tiny.__main__ import SHIPPED
from training.tiny.answers import answer_all
from training.tiny.conversation import Conversation, Turn
from training.tiny.model import load_model

pytestmark = pytest.mark.engine

TRAFFIC = Path(__file__).parents[1] / "examples" / "helpdesk.jsonl"


@pytest.fixture(scope="module")
def client(hone: RunningHone) -> OpenAI:
    return OpenAI(base_url=f"{hone.url}/v1", api_key=hone.keys["user"])


def ask(client: OpenAI, *messages: object) -> str | None:
    reply = client.chat.completions.create(model="hone", messages=messages, temperature=0, max_tokens=64)  # type: ignore[call-overload]
    return reply.choices[0].message.content


def test_the_engine_answers_as_the_weights_do(client: OpenAI) -> None:
    rows = [json.loads(line) for line in TRAFFIC.read_text(encoding="utf-8").splitlines()]
    asked = [row["prompt"] for row in rows if "prompt" in row][:24]
    expected = answer_all(*load_model(SHIPPED), [Conversation((Turn(text, ""),)) for text in asked])
    assert [ask(client, {"role": "user", "content": text}) for text in asked] == expected


def test_content_may_come_in_parts_and_a_developer_may_speak_first(client: OpenAI) -> None:
    plain = ask(client, {"role": "user", "content": "Where is the library?"})
    parts = [{"type": "text", "text": "Where is the library?"}]
    assert plain is not None
    assert plain.startswith("The library is")
    assert ask(client, {"role": "user", "content": parts}) == plain
    assert ask(client, {"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}) == plain


def test_a_follow_up_is_understood(client: OpenAI) -> None:
    first = {"role": "user", "content": "Where is the library?"}
    answer = {"role": "assistant", "content": ask(client, first)}
    follow_up = ask(client, first, answer, {"role": "user", "content": "And how much is it?"})
    assert follow_up is not None
    assert follow_up.startswith("The library charges")
