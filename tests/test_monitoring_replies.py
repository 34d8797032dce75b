"""What an answer shows by itself: refusals as whole words in any script, and tool calls that cannot work."""

from typing import Any

import pytest
from answers import answer

from core.config import Settings
from monitoring.drift.replies import Replies

REFUSALS = (*Settings().drift.refusals, "\u6211\u4e0d\u77e5\u9053")
TOOLS = [{"type": "function", "function": {"name": "weather"}}]


def call(name: str = "weather", arguments: Any = '{"city": "Bern"}') -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}


async def of(reply: dict[str, Any] | None, **params: Any) -> dict[str, float]:
    return dict(await Replies(REFUSALS).of(answer(reply=reply, params=params)))


@pytest.mark.parametrize(
    "text",
    [
        "I do not know.",
        "Sorry, I DON'T know that one",
        "Sorry, I don\u2019t  know",
        "As an AI, I must decline.",
        "\u62b1\u6b49\uff0c\u6211\u4e0d\u77e5\u9053\u3002",
    ],
)
async def test_an_answer_that_says_it_is_none(text: str) -> None:
    assert await of({"content": text}) == {"refusal": 1.0}


@pytest.mark.parametrize(
    "text", ["Open the settings.", "It was an airy room.", "He has an aisle seat.", "?!", "Hi do not"]
)
async def test_an_answer_that_is_one(text: str) -> None:
    assert await of({"content": text}) == {"refusal": 0.0}


@pytest.mark.parametrize("reply", [None, {}, {"content": None}, {"content": ""}])
async def test_no_words_say_nothing(reply: dict[str, Any] | None) -> None:
    assert await of(reply) == {}


@pytest.mark.parametrize(
    ("calls", "broken"),
    [
        ([call()], 0.0),
        ([call(), call()], 0.0),
        ([call("search")], 1.0),
        ([call(), call("search")], 1.0),
        ([call(arguments='{"city": ')], 1.0),
        ([call(arguments='"Bern"')], 1.0),
        ([call(arguments=None)], 1.0),
        (["not a call"], 1.0),
    ],
)
async def test_a_call_must_be_of_a_tool_that_was_offered_with_a_json_object(calls: list[Any], broken: float) -> None:
    assert await of({"content": None, "tool_calls": calls}, tools=TOOLS) == {"tool_error": broken}


async def test_without_any_tool_offered_every_call_is_an_error() -> None:
    assert await of({"content": "I do not know", "tool_calls": [call()]}) == {"tool_error": 1.0}
