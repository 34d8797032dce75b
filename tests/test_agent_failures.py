"""Bad requests and broken engines: OpenAI's error shape everywhere, and a row of every call that was assigned."""

import dataclasses
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fixtures_gateway import CHALLENGER, CHAMPION, HELLO, Gateway, eventually, gateway, model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai import InternalServerError

from agent import failures
from agent.app import create_app
from core.errors import HoneError, NotFound, TooMany
from core.experiments import Experiments
from core.lifecycle import Mover, Stage
from core.registry import Registry
from core.types import Arm, Finish, Role, Version
from serving.fake import Knobs

CHAT = "/v1/chat/completions"
BODY: dict[str, Any] = {"model": "hone", "messages": HELLO}
COMPLETION_BODY: dict[str, Any] = {"model": "hone", "prompt": "Once"}
COMMON = {"model", "stream", "stream_options", "temperature", "top_p", "n", "stop", "seed", "max_tokens", "logprobs"}
COMMON |= {"presence_penalty", "frequency_penalty", "logit_bias"}
ONLY_CHAT = {"messages", "max_completion_tokens", "top_logprobs", "response_format", "tools", "tool_choice"}
ALLOWED = {
    "/v1/chat/completions": COMMON | ONLY_CHAT | {"parallel_tool_calls"},
    "/v1/completions": COMMON | {"prompt", "echo"},
}
OURS = {"user", "safety_identifier", "metadata", "store"}


@pytest.fixture(scope="module")
def hone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("failures"), settings={"gateway": {"max_body_mib": 1}}) as running:
        yield running


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """The error of an answer, whose shape is checked."""
    error: dict[str, Any] = answer.json()["error"]
    assert answer.json().keys() == {"error"}
    assert error.keys() == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str) and error["message"]
    assert isinstance(error["type"], str)
    assert all(error[name] is None or isinstance(error[name], str) for name in ("param", "code"))
    assert answer.headers["x-request-id"]
    assert answer.headers["content-type"] == "application/json"
    return error


@pytest.mark.parametrize(
    ("body", "param", "word"),
    [
        (b"", None, "JSON"),
        (b"{", None, "JSON"),
        (b"\xff\xfe", None, "JSON"),
        (b"[]", None, "object"),
        (b"null", None, "object"),
        (b'{"model": NaN}', None, "JSON"),
        (b"[" * 100_000, None, "JSON"),
        (b'{"model":' + b"[" * 500_000, None, "JSON"),
        (b'{"messages": [{"role": "user", "content": "x"}]}', "model", "missing"),
        (b'{"model": "hone"}', "messages", "missing"),
        (b'{"model": "hone", "messages": []}', "messages", "at least 1"),
        (b'{"model": "hone", "messages": "hi"}', "messages", "list"),
        (b'{"model": "hone", "messages": [{"role": "robot", "content": "x"}]}', "messages[0].role", "assistant"),
        (b'{"model": "hone", "messages": [{"role": "user"}]}', "messages[0].content", "missing"),
        (b'{"model": "hone", "messages": [{"role": "tool", "content": "x"}]}', "messages[0].tool_call_id", "missing"),
        (b'{"model": 7, "messages": [{"role": "user", "content": "x"}]}', "model", "string"),
    ],
)
def test_a_body_that_makes_no_sense_is_a_400_that_says_where(
    hone: Gateway, body: bytes, param: str | None, word: str
) -> None:
    with hone.http() as http:
        answer = http.post(CHAT, content=body)
    assert answer.status_code == 400
    error = error_of(answer)
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert word in error["message"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("top_k", 5),
        ("chat_template", "{{ secret }}"),
        ("prompt_logprobs", 1),
        ("priority", -1),
        ("guided_json", {}),
        ("extra_body", {}),
        ("n", 9),
        ("n", 0),
        ("temperature", "0"),
        ("temperature", 2.5),
        ("top_logprobs", 21),
        ("max_tokens", 0),
        ("stop", [1]),
        ("logit_bias", {"x": 1}),
        ("metadata", {"k": 1}),
        ("stream_options", {"include_usage": True}),
        ("seed", 2**70),
        ("tools", [{"type": "function", "function": {"name": "f", "parameters": {"a": 2**80}}}]),
    ],
)
def test_a_field_that_is_unknown_or_out_of_range_is_named(hone: Gateway, field: str, value: Any) -> None:
    before = len(hone.engine.calls)
    with hone.http() as http:
        answer = http.post(CHAT, content=json.dumps({**BODY, field: value}))
    assert answer.status_code == 400
    assert str(error_of(answer)["param"]).startswith(field)
    assert len(hone.engine.calls) == before


def test_an_unknown_field_deep_inside_is_named_too(hone: Gateway) -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {}}]}
    with hone.http() as http:
        answer = http.post(CHAT, json={"model": "hone", "messages": [message]})
    assert error_of(answer)["param"] == "messages[0].content[0].cache_control"


def test_deep_nesting_in_free_json_is_refused(hone: Gateway) -> None:
    deep: dict[str, Any] = {}
    for _ in range(60):
        deep = {"properties": deep}
    tool = {"type": "function", "function": {"name": "f", "parameters": deep}}
    with hone.http() as http:
        answer = http.post(CHAT, json={**BODY, "tools": [tool]})
    assert answer.status_code == 400
    assert "deep" in error_of(answer)["message"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(sorted(OURS.union(*ALLOWED.values(), {"top_k"}))) | st.text(max_size=12)
changes = st.dictionaries(names, json_values, max_size=4)
requests = (
    st.tuples(st.just(CHAT), changes.map(lambda change: {**BODY, **change}))
    | st.tuples(st.just("/v1/completions"), changes.map(lambda change: {**COMPLETION_BODY, **change}))
    | st.tuples(st.sampled_from([CHAT, "/v1/completions", "/v1/feedback"]), json_values)
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request=requests)
def test_no_body_breaks_the_gateway_and_nothing_unlisted_reaches_the_engine(
    hone: Gateway, request: tuple[str, Any]
) -> None:
    path, body = request
    before = len(hone.engine.calls)
    with hone.http() as http:
        answer = http.post(path, content=json.dumps(body))
    # The engine refuses what only it can judge; that is a 400 as well.
    assert answer.status_code in (200, 400, 404), answer.text
    if answer.status_code != 200:
        error_of(answer)
    for call in hone.engine.calls[before:]:
        assert set(call.body) <= ALLOWED[call.path]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200))
def test_no_bytes_break_the_gateway(hone: Gateway, body: bytes) -> None:
    with hone.http() as http:
        answer = http.post(CHAT, content=body)
    assert answer.status_code == 400
    error_of(answer)


@pytest.mark.parametrize("label", ["text/plain", "application/x-www-form-urlencoded", "nonsense", "application/json"])
def test_json_is_read_whatever_its_label_says(hone: Gateway, label: str) -> None:
    headers = {"content-type": label}
    with hone.http() as http:
        answer = http.post(CHAT, content=json.dumps(BODY), headers=headers)
        assert answer.status_code == 200
        rating = {"response_id": answer.json()["id"], "name": "thumbs", "value": True}
        assert http.post("/v1/feedback", content=json.dumps(rating), headers=headers).status_code == 201


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("GET", CHAT, 405), ("PUT", "/v1/feedback", 405), ("GET", "/v1/models/", 404),
     ("POST", "/healthz", 405), ("GET", "/docs", 404), ("GET", "/", 404)],
)  # fmt: skip
def test_an_address_that_is_not_there_answers_in_the_same_shape(
    hone: Gateway, method: str, path: str, status: int
) -> None:
    with hone.http(Role.OPS) as http:
        answer = http.request(method, path)
    assert answer.status_code == status
    assert ("allow" in answer.headers) == (status == 405)
    error_of(answer)


def sent_in_full(hone: Gateway, head: str, body: bytes) -> tuple[bytes, bool]:
    """Send everything before reading anything; the answer, and whether the connection was reset."""
    host, port = hone.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {hone.keys[Role.USER]}\r\n".encode())
        client.sendall(f"{head}\r\n\r\n".encode() + body)
        answer = b""
        try:
            while piece := client.recv(65536):
                answer += piece
        except ConnectionResetError:
            return answer, True
        return answer, False


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_sends_too_much_reads_its_413(hone: Gateway, chunked: bool) -> None:
    body = b"x" * (8 * 2**20)
    if chunked:
        head, body = "transfer-encoding: chunked", b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    else:
        head = f"content-length: {len(body)}"
    answer, reset = sent_in_full(hone, head, body)
    assert answer.startswith(b"HTTP/1.1 413")
    assert json.loads(answer.partition(b"\r\n\r\n")[2].split(b"\r\n")[-1] or b"{}") or b'"request_too_large"' in answer
    assert not reset


def test_a_413_comes_before_the_body_is_sent_when_the_client_asks_first(hone: Gateway) -> None:
    answer, _ = sent_in_full(hone, f"content-length: {8 * 2**20}\r\nexpect: 100-continue", b"")
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"100 Continue" not in answer


def test_a_body_below_the_limit_in_many_pieces_is_taken(hone: Gateway) -> None:
    body = json.dumps({"model": "hone", "messages": [{"role": "user", "content": "x" * 900_000}]}).encode()
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:1], body[1:70_000], body[70_000:]))
    answer, _ = sent_in_full(hone, "transfer-encoding: chunked\r\nconnection: close", pieces + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")


def test_an_engine_that_is_not_there_is_a_503_with_a_time_to_come_back(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with gateway(tmp_path, settings={"engine": {"url": url}}, ready=False) as hone:
            with hone.http() as http:
                whole = http.post(CHAT, json=BODY)
                stream = http.post(CHAT, json={**BODY, "stream": True})
                assert http.get("/readyz").json()["missing"] == ["engine: the model does not answer a chat yet"]
            for answer in (whole, stream):
                assert (answer.status_code, error_of(answer)["code"]) == (503, "engine_unavailable")
                assert int(answer.headers["retry-after"]) >= 1
            with hone.openai() as client, pytest.raises(InternalServerError):
                client.chat.completions.create(model="hone", messages=HELLO)
            rows = eventually(lambda: [row for row in hone.rows() if row.error == "engine_unavailable"][2:])
            assert [(row.finish, row.served) for row in rows] == [(Finish.ERROR, None)]


def start_experiment(hone: Gateway) -> None:
    """Send every subject to the challenger."""
    registry = hone.parts.registry
    registry.register(model(CHALLENGER, "1" * 64), "test")
    registry.advance(CHALLENGER, Stage.SHADOW, mover=Mover.MONITORING, actor="test", reason="a test")
    Experiments(hone.parts.store).begin(CHALLENGER, 1.0, actor="test", reason="a test")
    assert eventually(lambda: hone.parts.plans.current().split is not None)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("loaded", [False, True])
def test_a_challenger_that_fails_before_its_first_byte_is_replaced_by_the_champion(
    tmp_path: Path, stream: bool, loaded: bool
) -> None:
    with gateway(tmp_path) as hone:
        start_experiment(hone)
        if loaded:
            hone.engine.loaded[CHALLENGER] = ""
            hone.engine.knobs[CHALLENGER] = Knobs(fail=1.0)
        with hone.http(Role.OPS) as http:
            answer = http.post(CHAT, json={**BODY, "stream": stream})
        assert answer.status_code == 200
        assert (answer.headers["x-hone-version"], answer.headers["x-hone-arm"]) == (CHAMPION, "challenger")
        row = hone.rows()[-1]
        assert (row.arm, row.assigned, row.served, row.finish) == (Arm.CHALLENGER, CHALLENGER, CHAMPION, Finish.STOP)
        assert row.error and CHALLENGER in row.error
        assert row.experiment == hone.parts.plans.current().split.experiment  # type: ignore[union-attr]


def test_a_challenger_that_fails_after_its_first_byte_is_not_replaced(tmp_path: Path) -> None:
    with gateway(tmp_path) as hone:
        start_experiment(hone)
        hone.engine.loaded[CHALLENGER] = ""
        hone.engine.knobs[CHALLENGER] = Knobs(cut_after=2)
        with hone.http() as http:
            answer = http.post(CHAT, json={**BODY, "stream": True})
        assert "engine_failed" in answer.text and CHALLENGER not in answer.text
        row = eventually(hone.rows)[-1]
        assert (row.assigned, row.served, row.finish) == (CHALLENGER, CHALLENGER, Finish.ERROR)
        assert [c.body["model"] for c in hone.engine.calls if c.headers.get("x-request-id") == row.id] == [CHALLENGER]


def test_the_engines_words_are_told_without_the_versions_name() -> None:
    words = "tiny-1: top_p must be in (0, 1] (parameter=top_p, value=7)"
    told = json.dumps({"error": {"message": words, "type": "BadRequestError", "param": "top_p", "code": 400}}).encode()
    error = failures.of_engine(400, told, Version("tiny-1"), "hone")
    assert (error.status, error.message, error.param) == (400, "hone: top_p must be in (0, 1]", "top_p")
    assert failures.of_engine(500, b"<html>", Version("x"), "hone").status == 502
    assert failures.of_engine(404, b"{}", Version("x"), "hone").status == 503
    assert failures.of_engine(400, b"[1]", Version("x"), "hone").status == 400


@pytest.mark.parametrize("error", [NotFound("gone"), TooMany("slow down", retry_after=2.4), HoneError("broken")])
def test_the_headers_of_an_error_fit_its_document(error: HoneError) -> None:
    document = failures.body(error)
    headers = dict(failures.headers(error, document))
    assert headers[b"content-length"] == b"%d" % len(document)
    assert (b"retry-after" in headers) == (error.status in (429, 503))


class Broken(Registry):
    """A registry with a bug."""

    def __init__(self) -> None:
        pass

    def models(self, before: str | None = None, limit: int = 100) -> Any:
        raise ZeroDivisionError("a bug")


async def test_a_bug_is_a_500_that_names_its_place_in_the_log_and_nothing_else(
    hone: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    transport = httpx.ASGITransport(create_app(dataclasses.replace(hone.parts, registry=Broken())))
    headers = {"authorization": f"Bearer {hone.keys[Role.OPS]}", "x-request-id": "find-me"}
    async with httpx.AsyncClient(transport=transport, base_url="http://hone") as http:
        answer = await http.get("/api/models", headers=headers)
    assert answer.status_code == 500
    assert "find-me" in error_of(answer)["message"]
    assert "bug" not in answer.text
    [record] = [record for record in caplog.records if record.name == "agent.edge"]
    assert record.exc_info and "find-me" in record.__dict__["request_id"]
