"""The operations API: lists by page and filter, single rows, keys, status, audit, and an honest description."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fixtures_gateway import CHALLENGER, CHAMPION, HELLO, Gateway, eventually, gateway, model

from core import audit
from core.types import Role


@pytest.fixture(scope="module")
def hone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("operations")) as running:
        yield running


def get(hone: Gateway, path: str, role: Role = Role.OPS, **query: Any) -> httpx.Response:
    with hone.http(role) as http:
        return http.get(path, params=query)


def chat(hone: Gateway, **body: Any) -> str:
    with hone.http() as http:
        answer = http.post("/v1/chat/completions", json={"model": "hone", "messages": HELLO, **body})
    return str(answer.json()["id"])


def pages(hone: Gateway, path: str, limit: int, **query: Any) -> list[dict[str, Any]]:
    """All items of a list, page by page."""
    items: list[dict[str, Any]] = []
    cursor: str | None = None
    for _ in range(100):
        page = get(hone, path, limit=limit, **query, **({"cursor": cursor} if cursor else {})).json()
        assert len(page["data"]) <= limit
        items += page["data"]
        if (cursor := page["next"]) is None:
            return items
    raise AssertionError("the list does not end")


def test_interactions_come_newest_first_each_once_over_pages(hone: Gateway) -> None:
    made = [chat(hone, user="pages") for _ in range(7)]
    subject = hone.row(made[0]).subject
    for limit in (1, 3, 7, 100):
        listed = [item["id"] for item in pages(hone, "/api/interactions", limit, subject=subject)]
        assert listed == made[::-1]


def test_interactions_are_filtered_by_what_they_are(hone: Gateway) -> None:
    tagged = chat(hone, metadata={"purpose": "measure"}, user="filter")
    plain = chat(hone, user="filter")
    row = hone.row(tagged)
    filters = {"arm": "champion", "served": CHAMPION, "finish": "stop", "key_id": row.key_id, "subject": row.subject}
    both = {item["id"] for item in pages(hone, "/api/interactions", 50, **filters)}
    assert both == {tagged, plain}
    assert [item["id"] for item in pages(hone, "/api/interactions", 50, **filters, tag="purpose:measure")] == [tagged]
    assert pages(hone, "/api/interactions", 50, **filters, since=hone.row(plain).created_at + 1_000_000) == []
    assert pages(hone, "/api/interactions", 50, **(filters | {"arm": "shadow"})) == []


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"arm": "left"}, "arm"),
        ({"since": "yesterday"}, "since"),
        ({"colour": "red"}, "colour"),
        ({"tag": "no-colon"}, "tag"),
        ({"subject": "a\0b"}, "subject"),
    ],
)
def test_a_filter_that_makes_no_sense_is_named(hone: Gateway, query: dict[str, Any], param: str) -> None:
    answer = get(hone, "/api/interactions", Role.REVIEWER, **query)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_one_interaction_tells_everything_that_hangs_on_it(hone: Gateway) -> None:
    response_id = chat(hone)
    with hone.http() as http:
        http.post(
            "/v1/feedback", json={"response_id": response_id, "name": "thumbs", "value": False, "correction": "no"}
        )
    shown = get(hone, f"/api/interactions/{response_id}", Role.REVIEWER).json()
    assert shown["id"] == response_id
    assert shown["messages"] == HELLO
    assert shown["reply"]["role"] == "assistant"
    assert [(item["value"], item["correction"]) for item in shown["feedback"]] == [(False, "no")]
    assert shown["lineage"]["model"]["id"] == shown["served"] == CHAMPION
    assert shown["shadow"] == []
    bare = response_id.removeprefix("chatcmpl-")
    assert get(hone, f"/api/interactions/{bare}", Role.REVIEWER).json() == shown
    for unknown in ("chatcmpl-nothing", "x" * 200, "%00"):
        assert get(hone, f"/api/interactions/{unknown}", Role.REVIEWER).status_code == 404


def test_a_key_is_made_shown_once_and_revoked(hone: Gateway) -> None:
    with hone.http(Role.OPS) as http:
        made = http.post("/api/keys", json={"name": "ada", "role": "reviewer"})
        assert made.status_code == 201
        key = made.json()["key"]
        assert key.startswith("hone_reviewer_")
        listed = [item for item in pages(hone, "/api/keys", 2) if item["id"] == made.json()["id"]]
        assert listed == [
            {
                **{k: v for k, v in made.json().items() if k != "key"},
                "created_by": listed[0]["created_by"],
                "revoked_at": None,
            }
        ]
        mine = {"authorization": f"Bearer {key}"}
        assert http.get("/api/interactions", headers=mine).status_code == 200
        assert [http.delete(f"/api/keys/{made.json()['id']}").status_code for _ in range(2)] == [200, 200]
        assert http.delete("/api/keys/nobody").status_code == 404
    assert hone.parts.keys.authenticate(key) is None


@pytest.mark.parametrize(
    ("body", "param"),
    [({"name": "", "role": "user"}, "name"), ({"name": "a", "role": "king"}, "role"), ({"name": "a"}, "role"),
     ({"name": "a", "role": "user", "colour": "red"}, "colour"), ({"name": "a" * 65, "role": "user"}, "name")],
)  # fmt: skip
def test_a_key_that_makes_no_sense_is_refused_by_name(hone: Gateway, body: dict[str, Any], param: str) -> None:
    with hone.http(Role.OPS) as http:
        answer = http.post("/api/keys", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_status_says_who_answers_and_how_the_gateway_is(hone: Gateway) -> None:
    chat(hone)
    assert eventually(lambda: get(hone, "/api/status").json()["workers"])
    status = get(hone, "/api/status").json()
    assert (status["champion"], status["previous"], status["plan_revision"], status["ready"]) == (
        CHAMPION,
        None,
        1,
        True,
    )
    assert status["model"] == {"base": "hone-tiny", "built_in": True}
    assert status["queues"]["committed"] > 0 and not status["queues"]["degraded"]
    [worker] = status["workers"]
    assert (worker["kind"], worker["revision"]) == ("gateway", 1)
    with hone.parts.store.read() as conn:
        assert status["audit"] == {"seq": audit.head(conn).seq, "head": audit.head(conn).digest}


def test_versions_are_listed_and_shown(hone: Gateway) -> None:
    hone.parts.registry.register(model(CHALLENGER, "1" * 64), "test")
    assert {item["id"]: item["stage"] for item in pages(hone, "/api/models", 1)} == {
        CHAMPION: "champion",
        CHALLENGER: "candidate",
    }
    shown = get(hone, f"/api/models/{CHALLENGER}").json()
    assert (shown["id"], shown["digest"], shown["parent"]) == (CHALLENGER, "1" * 64, None)
    assert get(hone, "/api/models/nobody").status_code == 404


def test_the_audit_log_is_read_by_page_and_chains(hone: Gateway) -> None:
    rows = pages(hone, "/api/audit", 2)
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row["previous"] for row in rows[1:]] == [row["digest"] for row in rows[:-1]]
    assert get(hone, "/api/audit", after=str(rows[0]["seq"]), limit=1).json()["data"] == [rows[1]]
    assert get(hone, "/api/audit", cursor="last").status_code == 400


def test_the_description_names_every_route_its_key_and_its_errors(hone: Gateway) -> None:
    document = get(hone, "/openapi.json").json()
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    from agent.roles import POLICY

    assert described == POLICY.keys() - {("GET", "/openapi.json")}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert bool(operation["security"]) == (POLICY[method.upper(), path] is not None)
            assert "422" not in operation["responses"]
            if operation["security"]:
                assert operation["responses"]["401"]["content"]["application/json"]["schema"]["$ref"].endswith(
                    "ErrorDocument"
                )
    schemas = document["components"]["schemas"]
    assert schemas["ChatRequest"]["additionalProperties"] is False

    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            for item in value.values():
                yield from references(item)
        elif isinstance(value, list):
            for item in value:
                yield from references(item)

    assert {reference.rpartition("/")[2] for reference in references(document)} <= schemas.keys()
