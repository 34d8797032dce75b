"""The table of roles: every route under every key, and no start with a gap in it."""

from collections.abc import Iterator

import httpx
import pytest
from fixtures_gateway import Gateway, gateway
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Host, Mount, Route, Router, WebSocketRoute

from agent.app import create_app
from agent.roles import POLICY, enforce
from core.errors import SetupError
from core.types import Role

ROUTES = sorted(POLICY)


@pytest.fixture(scope="module")
def hone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    settings = {"gateway": {"failed_logins_per_minute": 10_000}}
    with gateway(tmp_path_factory.mktemp("roles"), settings=settings) as running:
        yield running


def call(hone: Gateway, method: str, path: str, authorization: str | None) -> httpx.Response:
    headers = {"authorization": authorization} if authorization else {}
    address = hone.url + path.replace("{", "").replace("}", "")
    return httpx.request(method, address, headers=headers, timeout=20, trust_env=False)


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[f"{method} {path}" for method, path in ROUTES])
def test_a_route_lets_in_the_roles_of_its_entry_and_nobody_else(hone: Gateway, method: str, path: str) -> None:
    needed = POLICY[method, path]
    for authorization in (None, "Bearer", "Bearer nonsense", f"Basic {hone.keys[Role.OPS]}", "Bearer " + "x" * 5000):
        status = call(hone, method, path, authorization).status_code
        assert (status == 401) == (needed is not None), authorization
    for role in Role:
        answer = call(hone, method, path, f"Bearer {hone.keys[role]}")
        allowed = needed is None or role.includes(needed)
        assert (answer.status_code == 403) == (not allowed), role
        assert answer.status_code != 401
        if not allowed:
            assert needed and needed in answer.json()["error"]["message"]


def test_the_table_and_the_routes_are_the_same(hone: Gateway) -> None:
    app = create_app(hone.parts)
    served = {
        (method, route.path) for route in app.routes if isinstance(route, Route) for method in route.methods or ()
    }
    assert served == set(POLICY)


def test_a_refusal_of_a_key_says_how_to_authenticate(hone: Gateway) -> None:
    answer = call(hone, "GET", "/v1/models", None)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == "missing_api_key"


def test_what_the_address_looks_like_does_not_matter(hone: Gateway) -> None:
    key = hone.keys[Role.USER]
    for path in ("/api/../v1/models", "//api/status", "/api/status/", "/%61pi/status", "/api/status?x=/healthz"):
        answer = call(hone, "GET", path, f"Bearer {key}")
        assert answer.status_code in (200, 403, 404)
        assert "champion" not in answer.text


def plain(request: Request) -> Response:
    return PlainTextResponse("")


@pytest.mark.parametrize(
    ("routes", "word"),
    [
        ([Route("/a", plain, methods=["GET"])], "HEAD /a"),
        ([Route("/a", plain, methods=["POST"]), Route("/b", plain, methods=["PUT"])], "PUT /b"),
        ([Mount("/files", routes=[Route("/a", plain, methods=["POST"])])], "/files"),
        ([Host("a.b", Router())], "Host"),
        ([WebSocketRoute("/socket", plain)], "/socket"),
        ([Route("/a", PlainTextResponse(""))], "/a"),
        ([], "do not exist: POST /a"),
    ],
)
def test_a_gap_in_the_table_stops_the_start(hone: Gateway, routes: list[BaseRoute], word: str) -> None:
    policy = {("POST", "/a"): Role.USER} | ({("GET", "/a"): None} if "HEAD" in word else {})
    with pytest.raises(SetupError, match=word):
        enforce(routes, policy, hone.parts.authenticator)


def test_a_route_added_without_an_entry_stops_the_start(hone: Gateway) -> None:
    shorter = {entry: role for entry, role in POLICY.items() if entry != ("GET", "/api/audit")}
    with pytest.raises(SetupError, match="GET /api/audit"):
        create_app(hone.parts, shorter)
