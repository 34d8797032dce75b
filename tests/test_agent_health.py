"""Readiness, metrics and the plan as the gateway knows it."""

import re
import time
from pathlib import Path

import httpx
import pytest
from fixtures_gateway import CHALLENGER, CHAMPION, HELLO, Gateway, eventually, gateway, model, slow
from registry_story import await_approval

from agent.plans import Plans
from core.approval import Consent
from core.errors import Unavailable
from core.registry import Registry
from core.types import Plan, Role, Version
from serving.fake import FakeEngine, Knobs

BODY = {"model": "hone", "messages": HELLO}


def readyz(hone: Gateway) -> httpx.Response:
    return httpx.get(f"{hone.url}/readyz", trust_env=False)


def metrics(hone: Gateway) -> dict[str, float]:
    """Every sample by its name and labels."""
    with hone.http(Role.OPS) as http:
        answer = http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_the_gateway_is_ready_when_a_chat_is_answered_and_not_before(tmp_path: Path) -> None:
    engine = FakeEngine(knobs={"": Knobs(fail=1.0)})
    with gateway(tmp_path, engine=engine, ready=False) as hone:
        assert httpx.get(f"{hone.url}/healthz", trust_env=False).json() == {"status": "ok"}
        time.sleep(1.5)
        answer = readyz(hone)
        assert (answer.status_code, answer.json()["ready"]) == (503, False)
        assert answer.json()["missing"] == ["engine: the model does not answer a chat yet"]
        engine.knobs = {}
        assert eventually(hone.ready, 3)
        assert readyz(hone).json() == {"ready": True, "degraded": False, "missing": []}


def test_readiness_ends_with_the_first_call_that_finds_no_model_and_comes_back(tmp_path: Path) -> None:
    with gateway(tmp_path) as hone, hone.http() as http:
        hone.engine.loaded.clear()
        assert http.post("/v1/chat/completions", json=BODY).status_code == 503
        assert eventually(lambda: not hone.ready(), 3)
        hone.engine.loaded[CHAMPION] = ""
        assert eventually(hone.ready, 4)


def test_real_calls_are_proof_enough(tmp_path: Path) -> None:
    with gateway(tmp_path) as hone, hone.http() as http:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            http.post("/v1/chat/completions", json=BODY)
        probes = [call for call in hone.engine.calls if call.body.get("max_tokens") == 1]
        assert len(probes) == 1


def test_a_request_that_the_engine_finds_wrong_does_not_touch_readiness(tmp_path: Path) -> None:
    with gateway(tmp_path) as hone, hone.http() as http:
        assert http.post("/v1/chat/completions", json={**BODY, "max_tokens": 5000}).status_code == 400
        assert hone.ready()


def test_metrics_count_what_happened(tmp_path: Path) -> None:
    with gateway(tmp_path) as hone:
        with hone.http() as http:
            for _ in range(3):
                response_id = http.post("/v1/chat/completions", json=BODY).json()["id"]
            http.post("/v1/chat/completions", json={**BODY, "stream": True})
            http.post("/v1/chat/completions", json={})
            http.post("/v1/feedback", json={"response_id": response_id, "name": "thumbs", "value": False})
            http.get("/secret/path")
        seen = metrics(hone)
    chat = 'route="/v1/chat/completions"'
    assert seen[f'hone_requests_total{{arm="champion",{chat},status="200"}}'] == 4
    assert seen[f'hone_requests_total{{arm="none",{chat},status="400"}}'] == 1
    assert seen['hone_requests_total{arm="none",route="unmatched",status="404"}'] == 1
    assert seen[f"hone_request_seconds_count{{{chat}}}"] == 5
    assert seen['hone_first_token_seconds_count{arm="champion"}'] == 1
    assert seen['hone_tokens_total{kind="completion"}'] == 32
    assert seen['hone_feedback_total{name="thumbs",value="down"}'] == 1
    assert (seen["hone_ready"], seen["hone_unlogged_total"], seen["hone_ledger_queue"]) == (1, 0, 0)
    assert seen["hone_commit_seconds_count"] >= 1
    assert seen["hone_spool_bytes"] == 0
    assert seen["hone_plan_revision"] == 1


def test_no_label_comes_from_a_client(tmp_path: Path) -> None:
    with gateway(tmp_path) as hone:
        with hone.http(Role.OPS) as http:
            for number in range(20):
                http.get(f"/made/up/{number}")
                http.get(f"/api/models/made-up-{number}")
                http.post("/v1/chat/completions", json={**BODY, "model": f"made-up-{number}", "user": f"u{number}"})
        names = set(metrics(hone))
    assert not any("made" in name for name in names)
    assert len({name for name in names if name.startswith("hone_requests_total")}) < 8


def test_calls_under_way_are_counted_and_the_count_goes_back(tmp_path: Path) -> None:
    with gateway(tmp_path) as hone:
        hone.engine.knobs = slow(first_token=1.0)
        with hone.http() as http, http.stream("POST", "/v1/chat/completions", json={**BODY, "stream": True}) as stream:
            assert stream.status_code == 200
            hone.engine.knobs = {}
            assert metrics(hone)["hone_upstream_running"] in (0, 1)
            stream.read()
        assert eventually(lambda: metrics(hone)["hone_upstream_running"] == 0)


class Planned(Registry):
    """A registry whose plan is told by the test."""

    def __init__(self) -> None:
        self.told: Plan | None = None
        self.away = False

    def plan(self) -> Plan | None:
        if self.away:
            raise Unavailable("away")
        return self.told


async def test_the_last_plan_stays_in_force_while_the_database_is_away() -> None:
    registry = Planned()
    plans = Plans(registry, lambda: 0)
    await plans.refresh()
    with pytest.raises(Unavailable):
        plans.current()
    registry.told = Plan(7, Version("a"))
    await plans.refresh()
    registry.away = True
    await plans.refresh()
    assert plans.current().revision == 7


async def test_a_plan_is_acknowledged_only_when_no_call_runs_under_an_older_one() -> None:
    registry = Planned()
    plans = Plans(registry, lambda: 0)
    assert plans.acknowledged() == 0
    for revision in (3, 4):
        registry.told = Plan(revision, Version("a"))
        await plans.refresh()
        plans.enter(revision)
    assert (plans.acknowledged(), plans.running) == (3, 2)
    plans.leave(3)
    assert plans.acknowledged() == 4
    plans.leave(4)
    assert (plans.acknowledged(), plans.running) == (4, 0)


def test_another_champion_answers_within_a_second_and_the_ledger_hears_of_it(tmp_path: Path) -> None:
    with gateway(tmp_path) as hone:
        registry = hone.parts.registry
        registry.register(model(CHALLENGER, "1" * 64), "test")
        hone.engine.loaded[CHALLENGER] = ""
        await_approval(registry, CHALLENGER)
        frozen = registry.evidence(CHALLENGER)
        assert frozen is not None
        promoted = registry.promote(CHALLENGER, Consent("test", "a test", frozen.digest))
        with hone.http(Role.OPS) as http:

            def version() -> str:
                return http.post("/v1/chat/completions", json=BODY).headers["x-hone-version"]

            assert eventually(lambda: version() == CHALLENGER, 2)
        assert re.fullmatch("hone.*", CHALLENGER)
        assert eventually(lambda: [w.revision for w in registry.workers(0)] == [promoted.revision], 2)


def test_a_gateway_that_was_told_to_stop_refuses_new_requests_and_is_not_ready(tmp_path: Path) -> None:
    with gateway(tmp_path) as hone, hone.http() as http:
        hone.parts.gate.close()
        answer = http.post("/v1/chat/completions", json=BODY)
        assert (answer.status_code, answer.headers["connection"]) == (503, "close")
        assert readyz(hone).status_code == 503
