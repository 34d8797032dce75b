"""/v1/feedback: who may say what of which answer, repeated requests, corrections, retractions."""

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fixtures_gateway import HELLO, Gateway, gateway

from core.ids import new_id
from core.keys import LOCAL
from core.types import Arm, Finish, Interaction, Role

NAMES = {
    "thumbs": {"type": "boolean", "may_train": True},
    "stars": {"type": "number", "low": 1, "high": 5},
    "mood": {"type": "label", "labels": ["happy", "sad"]},
}


@pytest.fixture(scope="module")
def hone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    settings = {"feedback": {"names": NAMES, "max_text": 100}}
    with gateway(tmp_path_factory.mktemp("feedback"), settings=settings) as running:
        yield running


def answered(hone: Gateway, role: Role = Role.USER, **extra: Any) -> str:
    """The id of a fresh answer."""
    with hone.http(role) as http:
        response = http.post("/v1/chat/completions", json={"model": "hone", "messages": HELLO, **extra})
    return str(response.json()["id"])


def rate(
    hone: Gateway, response_id: str, role: Role = Role.USER, key: str | None = None, **body: Any
) -> httpx.Response:
    """Say something of an answer; thumbs up unless told."""
    headers = {"idempotency-key": key} if key else {}
    with hone.http(role) as http:
        return http.post(
            "/v1/feedback", json={"response_id": response_id, "name": "thumbs", "value": True, **body}, headers=headers
        )


def said(hone: Gateway, response_id: str, role: Role = Role.USER, **query: Any) -> Any:
    with hone.http(role) as http:
        return http.get("/v1/feedback", params={"response_id": response_id, **query}).json()["data"]


def test_a_thumb_is_stored_when_it_is_acknowledged(hone: Gateway) -> None:
    response_id = answered(hone, user="ada")
    answer = rate(hone, response_id, comment="good", reasons=["short"], tags={"page": "help"})
    assert answer.status_code == 201
    row = hone.parts.ledger.feedback_by_id(answer.json()["id"])
    assert row is not None
    assert (row[0].value, row[0].comment, row[0].reasons, row[0].tags) == (1.0, "good", ("short",), {"page": "help"})
    assert row[0].actor == hone.row(response_id).subject
    assert answer.json() == {
        "id": row[0].id,
        "object": "feedback",
        "response_id": response_id,
        "name": "thumbs",
        "value": True,
    }


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ({"value": False}, False),
        ({"value": 1}, True),
        ({"value": 0.25}, 0.25),
        ({"name": "stars", "value": 4}, 4.0),
        ({"name": "mood", "value": "sad"}, "sad"),
    ],
)
def test_a_value_comes_back_as_its_name_has_it(hone: Gateway, body: dict[str, Any], shown: Any) -> None:
    response_id = answered(hone)
    assert rate(hone, response_id, **body).json()["value"] == shown
    [row] = said(hone, response_id)
    assert row["value"] == shown and type(row["value"]) is type(shown)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": "applause"}, "name"),
        ({"name": "stars", "value": True}, "value"),
        ({"name": "stars", "value": 6}, "value"),
        ({"name": "mood", "value": "bored"}, "value"),
        ({"name": "mood", "value": 1}, "value"),
        ({"value": "yes"}, "value"),
        ({"value": -0.1}, "value"),
        ({"value": None}, "value"),
        ({"correction": ""}, "correction"),
        ({"correction": "x" * 101}, "correction"),
        ({"correction": {"messages": []}}, "correction"),
        ({"comment": "x" * 101}, "comment"),
        ({"reasons": ["x"] * 17}, "reasons"),
        ({"reason": "typo"}, "reason"),
        ({"tags": {"a": {}}}, "tags.a"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(hone: Gateway, body: dict[str, Any], param: str) -> None:
    response_id = answered(hone)
    answer = rate(hone, response_id, **body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert said(hone, response_id) == []


def test_an_answer_that_is_unknown_or_somebody_elses_is_not_found(hone: Gateway) -> None:
    theirs = answered(hone, Role.REVIEWER)
    other_key = hone.parts.keys.create("other user", Role.USER, LOCAL)[1]
    mine = answered(hone)
    with httpx.Client(base_url=hone.url, headers={"authorization": f"Bearer {other_key}"}, trust_env=False) as http:
        foreign = http.post("/v1/feedback", json={"response_id": mine, "name": "thumbs", "value": True})
        listed = http.get("/v1/feedback", params={"response_id": mine})
    answers = [rate(hone, theirs), rate(hone, "chatcmpl-nothing"), rate(hone, f"chatcmpl-{new_id()}"), foreign, listed]
    assert [answer.status_code for answer in answers] == [404] * 5
    assert {answer.json()["error"]["param"] for answer in answers} == {"response_id"}


def test_a_shadow_answer_is_not_there_for_a_users_key(hone: Gateway) -> None:
    served = hone.row(answered(hone))
    shadow = Interaction(
        id=new_id(), created_at=served.created_at, kind="chat", key_id=served.key_id, subject=served.subject,
        arm=Arm.SHADOW, assigned=served.assigned, served=served.served, propensity=1.0, revision=1,
        finish=Finish.STOP, config_digest="", messages=served.messages, reply=served.reply, parent=served.id,
    )  # fmt: skip
    hone.parts.ledger.record(shadow).result(5)
    assert rate(hone, shadow.id).status_code == 404
    assert rate(hone, shadow.id, Role.REVIEWER).status_code == 201


def test_reviewers_may_rate_any_answer_and_speak_for_themselves(hone: Gateway) -> None:
    response_id = answered(hone)
    rate(hone, response_id, value=False)
    for role in (Role.REVIEWER, Role.OPS):
        assert rate(hone, response_id, role).status_code == 201
    actors = {row["actor"] for row in said(hone, response_id, Role.REVIEWER)}
    assert len(actors) == 3
    assert [row["actor"] for row in said(hone, response_id)] == [hone.row(response_id).subject]


def test_the_same_request_again_gets_the_same_answer_and_leaves_one_row(hone: Gateway) -> None:
    response_id = answered(hone)
    first, again = (rate(hone, response_id, key="once", correction="better") for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.content == again.content
    assert len(said(hone, response_id, history=True)) == 1


def test_another_request_under_the_same_key_is_a_conflict(hone: Gateway) -> None:
    response_id = answered(hone)
    rate(hone, response_id, key="clash")
    answer = rate(hone, response_id, key="clash", value=False)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "idempotency_conflict")
    assert [row["value"] for row in said(hone, response_id, history=True)] == [True]


def test_two_keys_holders_do_not_share_their_idempotency_keys(hone: Gateway) -> None:
    response_id = answered(hone)
    ids = {rate(hone, response_id, role, key="shared").json()["id"] for role in Role}
    assert len(ids) == 3


@pytest.mark.parametrize("values", [(True,) * 8, (True, False) * 4])
def test_of_requests_under_one_key_at_the_same_time_one_is_new(hone: Gateway, values: tuple[bool, ...]) -> None:
    response_id, key = answered(hone), new_id()
    answers: list[httpx.Response] = []
    barrier = threading.Barrier(len(values))

    def post(value: bool) -> None:
        barrier.wait()
        answers.append(rate(hone, response_id, key=key, value=value))

    threads = [threading.Thread(target=post, args=(value,)) for value in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = sorted(answer.status_code for answer in answers)
    [row] = said(hone, response_id, history=True)
    agreeing = values.count(row["value"])
    assert statuses == sorted([201] + [200] * (agreeing - 1) + [409] * (len(values) - agreeing))


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9"])
def test_an_idempotency_key_that_is_none_is_refused(hone: Gateway, key: str) -> None:
    response_id = answered(hone)
    with hone.http() as http:
        answer = http.post(
            "/v1/feedback",
            json={"response_id": response_id, "name": "thumbs", "value": True},
            headers=[(b"idempotency-key", key.encode())],
        )
    assert answer.status_code == 400


def test_the_last_word_stands_and_history_shows_the_others(hone: Gateway) -> None:
    response_id = answered(hone)
    first, last = rate(hone, response_id, value=True).json(), rate(hone, response_id, value=False).json()
    assert [row["id"] for row in said(hone, response_id)] == [last["id"]]
    history = {row["id"]: row["superseded_by"] for row in said(hone, response_id, history=True)}
    assert history == {first["id"]: last["id"], last["id"]: None}


def test_a_word_can_be_taken_back_by_who_said_it_and_by_operators(hone: Gateway) -> None:
    response_id = answered(hone)
    mine, reviewers = rate(hone, response_id).json()["id"], rate(hone, response_id, Role.REVIEWER).json()["id"]
    with hone.http() as user, hone.http(Role.REVIEWER) as reviewer, hone.http(Role.OPS) as ops:
        assert user.delete(f"/v1/feedback/{reviewers}").status_code == 404
        assert reviewer.delete(f"/v1/feedback/{mine}").status_code == 404
        assert user.delete("/v1/feedback/fb_nothing").status_code == 404
        assert [user.delete(f"/v1/feedback/{mine}").status_code for _ in range(2)] == [200, 200]
        assert ops.delete(f"/v1/feedback/{reviewers}").status_code == 200
    assert said(hone, response_id, Role.REVIEWER) == []
    assert all(row["retracted_at"] for row in said(hone, response_id, Role.REVIEWER, history=True))


def test_of_an_answer_that_is_not_stored_only_a_value_may_be_kept(hone: Gateway) -> None:
    response_id = answered(hone, store=False)
    assert rate(hone, response_id).status_code == 201
    for field, value in {"correction": "x", "comment": "x", "reasons": ["x"], "tags": {"a": "b"}}.items():
        answer = rate(hone, response_id, **{field: value})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)
        assert "not to store" in answer.json()["error"]["message"]


def test_a_completions_id_and_a_bare_id_name_the_same_answers(hone: Gateway) -> None:
    with hone.http() as http:
        response_id = http.post("/v1/completions", json={"model": "hone", "prompt": "x"}).json()["id"]
    assert response_id.startswith("cmpl-")
    assert rate(hone, response_id).status_code == 201
    assert len(said(hone, response_id.removeprefix("cmpl-"))) == 1


def test_ratings_are_counted_by_name_and_class(hone: Gateway) -> None:
    def counted() -> float:
        with hone.http(Role.OPS) as http:
            lines = http.get("/metrics").text.splitlines()
        found = [line for line in lines if line.startswith('hone_feedback_total{name="stars",value="up"}')]
        return float(found[0].split()[-1]) if found else 0.0

    before, response_id = counted(), answered(hone)
    rate(hone, response_id, name="stars", value=5, key="count")
    rate(hone, response_id, name="stars", value=5, key="count")
    rate(hone, response_id, name="stars", value=3)
    assert counted() == before + 1
