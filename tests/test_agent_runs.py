"""/api/runs: asked for, watched while they run, cancelled; and what the API refuses before any worker sees it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fixtures_gateway import CHALLENGER, Gateway, gateway
from fixtures_loop import MINUTE, ask, audited, finished, holder

from core.runs import Claim, Runs
from core.types import Role


@pytest.fixture
def hone(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """With no run at all."""
    with gateway(tmp_path_factory.mktemp("idle")) as running:
        yield running


def start(hone: Gateway, **body: Any) -> dict[str, Any]:
    answer = ask(hone, "POST", "/api/runs", {"reason": "new products", **body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def claimed(hone: Gateway) -> Claim:
    claim = Runs(hone.parts.store).claim("worker", MINUTE)
    assert claim is not None
    return claim


def test_a_run_is_asked_for_in_the_callers_name(hone: Gateway) -> None:
    run = start(hone, method="sft", recipe={"steps": 200, "learning_rate": 0.001, "schedule": "cosine"})
    assert (run["state"], run["method"], run["requester"], run["trigger"]) == ("requested", "sft", holder(hone), None)
    assert run["recipe"] == {"steps": 200, "learning_rate": 0.001, "schedule": "cosine"}
    assert ask(hone, "GET", "/api/runs").json() == {"data": [run], "next": None}
    [row] = audited(hone, "run.request")
    assert (row["actor"], row["target"], row["body"]["reason"]) == (holder(hone), run["id"], "new products")


def test_the_settings_choose_the_method_that_nobody_named(tmp_path: Path) -> None:
    with gateway(tmp_path, settings={"training": {"method": "kto"}}) as hone:
        assert start(hone)["method"] == "kto"


def test_one_run_is_open_at_a_time(hone: Gateway) -> None:
    first = start(hone)
    second = ask(hone, "POST", "/api/runs", {"reason": "one more"})
    assert second.status_code == 409
    assert first["id"] in second.json()["error"]["message"]
    Runs(hone.parts.store).fail(claimed(hone), "too little data: wait for more")
    assert start(hone)["id"] != first["id"]


def test_progress_and_log_are_read_while_the_run_is_under_way(hone: Gateway) -> None:
    run = start(hone)
    claim = claimed(hone)
    path = f"/api/runs/{run['id']}"
    assert ask(hone, "GET", path).json()["log"] == []
    for step in (10, 20):
        told = {"stage": "training", "step": step, "steps": 200, "loss": 1.5, "log": ["training of 140 rows"]}
        Runs(hone.parts.store).report(claim, MINUTE, told, dataset="d" * 64)
        shown = ask(hone, "GET", path).json()
        assert (shown["state"], shown["dataset"]) == ("running", "d" * 64)
        assert shown["log"] == told["log"]
        assert shown["progress"] == {name: value for name, value in told.items() if name != "log"}
    assert ask(hone, "GET", "/api/status").json()["run"]["progress"]["step"] == 20


def test_an_ended_run_says_what_became_of_it(hone: Gateway) -> None:
    done = finished(hone, CHALLENGER, "system:worse")
    start(hone)
    Runs(hone.parts.store).fail(claimed(hone), "nan_loss: lower the learning rate")
    failed, first = ask(hone, "GET", "/api/runs").json()["data"]
    assert (failed["state"], failed["error"]) == ("failed", "nan_loss: lower the learning rate")
    assert (first["id"], first["state"], first["model"], first["trigger"]) == (done.id, "done", CHALLENGER, "worse")
    page = ask(hone, "GET", "/api/runs?limit=1").json()
    assert page["data"] == [failed]
    assert ask(hone, "GET", f"/api/runs?limit=1&cursor={page['next']}").json() == {"data": [first], "next": None}


@pytest.mark.parametrize("body", [None, {}, {"reason": "wrong data"}], ids=str)
def test_an_open_run_is_cancelled_once(hone: Gateway, body: dict[str, str] | None) -> None:
    run = start(hone)
    claimed(hone)
    path = f"/api/runs/{run['id']}/cancel"
    cancelled = ask(hone, "POST", path, body)
    reason = (body or {}).get("reason", "by hand")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert cancelled.json()["error"] == f"cancelled: {reason}"
    assert audited(hone, "run.cancel")[0]["body"] == {"reason": reason}
    again = ask(hone, "POST", path, body)
    assert again.status_code == 409
    assert "cancelled" in again.json()["error"]["message"]


def test_a_run_that_is_not_there_is_not_found(idle: Gateway) -> None:
    for name in ("nothing", "x" * 300, "..%2F..%2Fetc"):
        assert ask(idle, "GET", f"/api/runs/{name}").status_code == 404
        assert ask(idle, "POST", f"/api/runs/{name}/cancel").status_code == 404


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "reason"),
        ({"reason": "  "}, "reason"),
        ({"reason": "x", "method": "magic"}, "method"),
        ({"reason": "x", "steps": 3}, "steps"),
        ({"reason": "x", "recipe": "fast"}, "recipe"),
        ({"reason": "x", "recipe": {"steps": [1]}}, "recipe.steps"),
        ({"reason": "x", "recipe": {"steps": {"from": 1}}}, "recipe.steps"),
        ({"reason": "x", "recipe": {"steps": None}}, "recipe.steps"),
        ({"reason": "x", "recipe": {f"field{n}": n for n in range(65)}}, "recipe"),
        ({"reason": "x", "trigger": "worse"}, "trigger"),
        ({"reason": "x", "requester": "somebody else"}, "requester"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused_by_name(idle: Gateway, body: dict[str, Any], param: str) -> None:
    answer = ask(idle, "POST", "/api/runs", body)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert ask(idle, "GET", "/api/runs").json()["data"] == []


def test_only_operators_see_and_start_runs(idle: Gateway) -> None:
    for role in (Role.USER, Role.REVIEWER):
        for method, path in (("GET", "/api/runs"), ("POST", "/api/runs"), ("GET", "/api/runs/x")):
            assert ask(idle, method, path, {"reason": "x"}, role=role).status_code == 403
