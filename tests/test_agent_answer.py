"""Reading an answer from what went out: whole, streamed, or cut anywhere."""

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.answer import FOLD, Answer, Transcript
from core.types import Finish

USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


def event(index: int = 0, finish: str | None = None, **delta: Any) -> bytes:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    return b"data: " + orjson.dumps({"id": "chatcmpl-x", "model": "hone", "choices": [choice]}) + b"\n\n"


def usage() -> bytes:
    return b"data: " + orjson.dumps({"id": "chatcmpl-x", "choices": [], "usage": USAGE}) + b"\n\n"


def read(*events: bytes, expected: int = 1) -> Answer:
    transcript = Transcript()
    for piece in events:
        transcript.add(piece)
    return transcript.read(expected)


def test_a_stream_and_a_whole_body_of_the_same_answer_read_the_same() -> None:
    streamed = read(
        event(role="assistant", content=""), event(content="Hel"), event(content="lo"), event(finish="stop"), usage()
    )
    whole = Transcript()
    message = {"role": "assistant", "content": "Hello", "refusal": None, "tool_calls": None, "annotations": None}
    whole.add_whole(
        orjson.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": USAGE})
    )
    assert streamed == whole.read() == Answer({"role": "assistant", "content": "Hello"}, Finish.STOP, 3, 5)


def test_tool_calls_are_put_together_from_their_pieces_in_order() -> None:
    def piece(index: int, **call: Any) -> bytes:
        return event(tool_calls=[{"index": index, **call}])

    answer = read(
        event(role="assistant", content=None),
        piece(0, id="a", type="function", function={"name": "add", "arguments": ""}),
        piece(0, function={"arguments": '{"x":'}),
        piece(1, id="b", type="function", function={"name": "sub", "arguments": "{}"}),
        piece(0, function={"arguments": " 1}"}),
        event(finish="tool_calls"),
    )
    assert answer.finish is Finish.TOOL_CALLS
    assert answer.reply == {
        "role": "assistant",
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "add", "arguments": '{"x": 1}'}},
            {"id": "b", "type": "function", "function": {"name": "sub", "arguments": "{}"}},
        ],
    }


def test_further_choices_are_kept_beside_the_first_whatever_came_first() -> None:
    answer = read(event(1, "length", content="two"), event(0, "stop", content="one"), expected=2)
    assert answer.finish is Finish.STOP
    assert answer.reply == {
        "role": "assistant",
        "content": "one",
        "alternatives": [{"role": "assistant", "content": "two"}],
    }


def test_an_answer_has_not_ended_while_a_choice_is_missing_or_open() -> None:
    assert read(event(0, "stop", content="one"), expected=2).finish is None
    assert read(event(0, "stop", content="one"), event(1, content="tw"), expected=2).finish is None


def test_a_reason_that_openai_does_not_know_does_not_read_as_good() -> None:
    assert read(event(finish="abort", content="x")).finish is Finish.ERROR


def test_a_completion_keeps_its_text_and_its_role() -> None:
    pieces = [
        b"data: " + orjson.dumps({"choices": [{"index": 0, "text": t, "finish_reason": f}]}) + b"\n\n"
        for t, f in (("a", None), ("b", "length"))
    ]
    assert read(*pieces) == Answer({"role": "completion", "content": "ab"}, Finish.LENGTH)


def test_nothing_sent_is_no_reply() -> None:
    assert read() == Answer()


def test_comments_and_the_end_mark_say_nothing() -> None:
    assert read(b": keep-alive\n\n", event(finish="stop", content="x"), b"data: [DONE]\n\n").reply == {
        "role": "assistant",
        "content": "x",
    }


@settings(deadline=None)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=20), st.integers(0, 20))
def test_what_was_sent_before_a_cut_is_what_is_read(texts: list[str], cut: int) -> None:
    sent = texts[:cut]
    answer = read(*(event(content=text) for text in sent))
    assert answer.finish is None
    assert (answer.reply or {}).get("content", "") == "".join(sent)


def test_a_long_stream_is_folded_on_the_way_and_loses_nothing() -> None:
    transcript = Transcript()
    pieces = [event(content=f"{number} ") for number in range(FOLD // 50)]
    for piece in pieces:
        transcript.add(piece)
    assert transcript._waiting <= FOLD
    answer = transcript.read()
    assert answer.reply is not None
    assert answer.reply["content"] == "".join(f"{number} " for number in range(len(pieces)))
