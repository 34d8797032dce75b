"""Chats and completions through the official client: what the client sees, what the engine is asked, what is kept."""

from collections.abc import Iterator
from typing import Any

import pytest
from fixtures_gateway import CHALLENGER, CHAMPION, HELLO, Gateway, eventually, gateway, model
from openai import BadRequestError, NotFoundError

from core.types import Arm, Finish, Role

PROBE = {"role": "user", "content": "Hello"}
"""What the readiness probe asks; it is not among a test's calls."""


@pytest.fixture(scope="module")
def hone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("chat")) as running:
        yield running


def asked(hone: Gateway, response_id: str) -> dict[str, Any]:
    """The body that the engine got for an answer."""
    bare = response_id.partition("-")[2]
    return next(dict(call.body) for call in hone.engine.calls if call.headers.get("x-request-id") == bare)


def test_an_answer_is_the_engines_word_for_word_under_our_name(hone: Gateway) -> None:
    with hone.openai() as client:
        answer = client.chat.completions.create(model="hone", messages=HELLO, temperature=0)
    row = hone.row(answer.id)
    assert answer.model == "hone"
    assert row.reply == {"role": "assistant", "content": answer.choices[0].message.content}
    assert (row.assigned, row.served, row.arm, row.propensity) == (CHAMPION, CHAMPION, Arm.CHAMPION, 1.0)
    assert (row.finish, row.stream, row.stored, row.kind) == (Finish.STOP, False, True, "chat")
    assert answer.usage and (row.prompt_tokens, row.completion_tokens) == (
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )
    assert list(row.messages) == HELLO
    assert row.params == {"temperature": 0}
    assert row.duration and row.duration > 0


def test_the_row_is_there_when_the_client_reads_the_answer(hone: Gateway) -> None:
    with hone.openai() as client:
        for _ in range(20):
            answer = client.chat.completions.create(model="hone", messages=HELLO)
            assert hone.parts.ledger.interaction(answer.id.partition("-")[2]) is not None


def test_a_streams_row_is_there_when_the_client_reads_its_end(hone: Gateway) -> None:
    with hone.http() as http:
        body = {"model": "hone", "messages": HELLO, "stream": True}
        with http.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = [line for line in response.iter_lines() if line]
            assert lines[-1] == "data: [DONE]"
            response_id = lines[0].partition('"id":"chatcmpl-')[2][:26]
            row = hone.parts.ledger.interaction(response_id)
    assert row is not None
    assert row.stream
    assert row.first_token is not None and row.duration is not None and row.first_token <= row.duration


def test_a_stream_and_its_row_say_the_same(hone: Gateway) -> None:
    with hone.openai() as client:
        chunks = list(client.chat.completions.create(model="hone", messages=HELLO, stream=True))
    row = hone.row(chunks[0].id)
    assert {chunk.model for chunk in chunks} == {"hone"}
    assert row.reply and row.reply["content"] == "".join(c.choices[0].delta.content or "" for c in chunks)
    assert row.finish is Finish.STOP
    assert row.completion_tokens == 8


def test_only_who_asks_for_the_count_of_tokens_gets_it(hone: Gateway) -> None:
    with hone.openai() as client:
        plain = list(client.chat.completions.create(model="hone", messages=HELLO, stream=True))
        counted = list(
            client.chat.completions.create(
                model="hone", messages=HELLO, stream=True, stream_options={"include_usage": True}
            )
        )
    assert all(chunk.choices for chunk in plain)
    assert counted[-1].usage and counted[-1].usage.completion_tokens == 8
    assert all(asked(hone, c[0].id)["stream_options"] == {"include_usage": True} for c in (plain, counted))


def test_nothing_that_is_for_hone_reaches_the_engine(hone: Gateway) -> None:
    with hone.openai() as client:
        answer = client.chat.completions.create(
            model="hone", messages=HELLO, user="ada", safety_identifier="s", metadata={"a": "b"}, store=True, seed=7
        )
    assert asked(hone, answer.id) == {"model": CHAMPION, "messages": HELLO, "seed": 7}
    assert hone.row(answer.id).tags == {"a": "b"}


def test_the_same_user_is_the_same_subject_and_another_one_is_not(hone: Gateway) -> None:
    def subject(**identity: Any) -> str:
        with hone.openai() as client:
            return hone.row(client.chat.completions.create(model="hone", messages=HELLO, **identity).id).subject

    ada = subject(user="ada")
    assert ada == subject(user="ada") == subject(safety_identifier="ada")
    assert len({ada, subject(user="bob"), subject()}) == 3
    assert "ada" not in ada


def test_what_is_not_to_be_stored_leaves_a_row_without_text(hone: Gateway) -> None:
    with hone.openai() as client:
        answer = client.chat.completions.create(
            model="hone",
            messages=[{"role": "user", "content": "heliotrope"}],
            store=False,
            stop=["heliotrope"],
            metadata={"word": "heliotrope"},
            temperature=0.5,
        )
    row = hone.row(answer.id)
    assert (row.stored, list(row.messages), row.reply, row.tags) == (False, [], None, {})
    assert row.params == {"temperature": 0.5}
    assert row.completion_tokens == 8
    hone.parts.store.close()
    files = [path for path in hone.parts.settings.data.rglob("*") if path.is_file()]
    assert files and not any(b"heliotrope" in path.read_bytes() for path in files)


def test_an_answer_returned_as_history_is_the_message_that_was_kept(hone: Gateway) -> None:
    with hone.openai() as client:
        first = client.chat.completions.create(model="hone", messages=HELLO)
        said = first.choices[0].message.to_dict()
        assert None in said.values(), "the engine's empty fields come along"
        second = client.chat.completions.create(model="hone", messages=[*HELLO, said, PROBE])  # type: ignore[list-item]
    row = hone.row(second.id)
    assert list(row.messages) == [*HELLO, hone.row(first.id).reply, PROBE]


def test_completions_work_streaming_and_not(hone: Gateway) -> None:
    with hone.openai() as client:
        whole = client.completions.create(model="hone", prompt="Once upon", max_tokens=4)
        chunks = list(client.completions.create(model="hone", prompt="Once upon", max_tokens=4, stream=True))
    text = "".join(chunk.choices[0].text for chunk in chunks)
    assert whole.id.startswith("cmpl-")
    assert whole.choices[0].text == text
    for response_id in (whole.id, chunks[0].id):
        row = hone.row(response_id)
        assert row.kind == "completion"
        assert row.reply == {"role": "completion", "content": text}
        assert row.finish is Finish.LENGTH
        assert list(row.messages) == [{"role": "prompt", "content": "Once upon"}]


def test_the_request_id_comes_back_or_is_made(hone: Gateway) -> None:
    body = {"model": "hone", "messages": HELLO}
    with hone.http() as http:
        echoed = http.post("/v1/chat/completions", json=body, headers={"x-request-id": "mine-1"})
        made = http.post("/v1/chat/completions", json=body)
        refused = http.post("/v1/chat/completions", json=body, headers={"x-request-id": "not\tfit for a log"})
    assert echoed.headers["x-request-id"] == "mine-1"
    assert hone.row(echoed.json()["id"]).request_id == "mine-1"
    assert made.headers["x-request-id"].startswith("req_")
    assert refused.headers["x-request-id"].startswith("req_")
    assert int(made.headers["openai-processing-ms"]) >= 0


def test_only_operators_learn_which_version_spoke(hone: Gateway) -> None:
    body = {"model": "hone", "messages": HELLO}
    for role in Role:
        with hone.http(role) as http:
            answer = http.post("/v1/chat/completions", json=body)
        told = {name: value for name, value in answer.headers.items() if name.startswith("x-hone-")}
        assert told.pop("x-hone-ask") == "thumbs"
        assert told == ({"x-hone-version": CHAMPION, "x-hone-arm": "champion"} if role is Role.OPS else {})
        assert CHAMPION not in answer.text


def test_a_version_is_there_for_operators_and_unknown_to_others(hone: Gateway) -> None:
    with hone.openai(Role.OPS) as client:
        answer = client.chat.completions.create(model=CHAMPION, messages=HELLO)
    assert answer.model == CHAMPION
    assert (hone.row(answer.id).arm, hone.row(answer.id).served) == (Arm.NAMED, CHAMPION)
    for role in (Role.USER, Role.REVIEWER):
        with hone.openai(role) as client, pytest.raises(NotFoundError) as caught:
            client.chat.completions.create(model=CHAMPION, messages=HELLO)
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_a_named_version_that_is_not_loaded_is_refused_and_answered_by_no_other(hone: Gateway) -> None:
    hone.parts.registry.register(model(CHALLENGER, "1" * 64), "test")
    before = len(hone.engine.calls)
    with hone.http(Role.OPS) as http:
        answer = http.post("/v1/chat/completions", json={"model": CHALLENGER, "messages": HELLO})
        nowhere = http.post("/v1/chat/completions", json={"model": "gpt-4", "messages": HELLO})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_not_loaded")
    assert nowhere.status_code == 404
    assert [call.body["model"] for call in hone.engine.calls[before:]] == [CHALLENGER]


def test_models_lists_what_the_key_may_name(hone: Gateway) -> None:
    with hone.openai() as user, hone.openai(Role.OPS) as ops:
        assert [entry.id for entry in user.models.list()] == ["hone"]
        assert {"hone", CHAMPION} <= {entry.id for entry in ops.models.list()}
        assert user.models.retrieve("hone").id == "hone"
        assert ops.models.retrieve(CHAMPION).id == CHAMPION
        with pytest.raises(NotFoundError):
            user.models.retrieve(CHAMPION)


def test_a_prompt_that_the_engine_finds_too_long_is_openais_error_and_a_row(hone: Gateway) -> None:
    with hone.openai() as client, pytest.raises(BadRequestError) as caught:
        client.chat.completions.create(model="hone", messages=HELLO, max_tokens=5000, user="long")
    assert caught.value.code == "context_length_exceeded"
    assert CHAMPION not in str(caught.value.body)
    row = eventually(lambda: [row for row in hone.rows() if row.params.get("max_tokens") == 5000])[0]
    assert (row.finish, row.error, row.served, row.reply) == (Finish.ERROR, "context_length_exceeded", None, None)


def test_a_word_of_ours_inside_a_text_is_left_alone(hone: Gateway) -> None:
    spoken = f'"model":"{CHAMPION}" [DONE] "choices":[] {{"error"'
    hone.engine.answer = lambda version, prompt: spoken
    try:
        with hone.openai() as client:
            whole = client.chat.completions.create(model="hone", messages=HELLO)
            chunks = list(client.chat.completions.create(model="hone", messages=HELLO, stream=True))
    finally:
        hone.engine.answer = None
    assert whole.choices[0].message.content == spoken
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == spoken
