"""Mirrored calls: a second answer beside each sampled one, kept as its pair, and nothing that a client could notice."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fixtures_gateway import CHALLENGER, CHAMPION, HELLO, Gateway, eventually, gateway, model

from core.experiments import Experiments
from core.ids import bare
from core.lifecycle import Mover, Stage
from core.types import Arm, Finish, Interaction, Role
from serving.fake import FakeEngine, Knobs
from serving.shadow import is_sampled

ALL = {"share": 1.0}
TOOLS = [{"type": "function", "function": {"name": "refund", "parameters": {"type": "object", "properties": {}}}}]


@contextmanager
def mirroring(folder: Path, engine: FakeEngine | None = None, **shadow: Any) -> Iterator[Gateway]:
    """A gateway whose plan has the challenger in shadow."""
    with gateway(folder, engine=engine, settings={"shadow": shadow or ALL}) as hone:
        registry = hone.parts.registry
        hone.engine.loaded[CHALLENGER] = ""
        registry.register(model(CHALLENGER, "1" * 64), "test")
        registry.advance(CHALLENGER, Stage.SHADOW, mover=Mover.MONITORING, actor="test", reason="a test")
        assert eventually(lambda: plan_of(hone).shadow == CHALLENGER)
        yield hone


def plan_of(hone: Gateway) -> Any:
    return hone.parts.plans.current()


def chat(hone: Gateway, text: str = "Hello, who are you?", role: Role = Role.USER, **body: Any) -> Any:
    messages = [{"role": "user", "content": text}]
    with hone.http(role) as http:
        answer = http.post("/v1/chat/completions", json={"model": "hone", "messages": messages, **body})
    assert answer.status_code == 200
    return answer


def shadows(hone: Gateway) -> list[Interaction]:
    return [row for row in hone.rows() if row.arm is Arm.SHADOW]


def counts(hone: Gateway) -> dict[str, float]:
    with hone.http(Role.OPS) as http:
        lines = http.get("/metrics").text.splitlines()
    found = [line for line in lines if line.startswith("hone_shadow_total{")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in found}


@pytest.mark.parametrize("stream", [False, True])
def test_a_mirrored_call_becomes_the_pair_of_the_one_that_the_client_got(tmp_path: Path, stream: bool) -> None:
    engine = FakeEngine(answer=lambda version, _: f"I am {version}")
    with mirroring(tmp_path, engine) as hone:
        with hone.openai() as client:
            options: dict[str, Any] = {"temperature": 0.5, "max_tokens": 20, "metadata": {"lane": "a"}, "user": "u"}
            answer = client.chat.completions.create(model="hone", messages=HELLO, stream=stream, **options)
            response_id = {event.id for event in answer}.pop() if stream else answer.id
        (twin,) = eventually(lambda: shadows(hone))
        served = hone.row(response_id)
        same = ("messages", "params", "tags", "subject", "key_id", "kind", "stored", "config_digest")
        assert [getattr(twin, name) for name in same] == [getattr(served, name) for name in same]
        assert (twin.parent, twin.assigned, twin.served) == (served.id, CHALLENGER, CHALLENGER)
        assert (twin.reply, twin.finish) == ({"role": "assistant", "content": f"I am {CHALLENGER}"}, Finish.STOP)
        assert (twin.propensity, twin.revision, twin.experiment) == (1.0, plan_of(hone).revision, None)
        assert (twin.stream, twin.first_token) == (False, None)
        assert twin.duration and twin.completion_tokens
        asked = [call.body for call in hone.engine.calls if call.body["model"] == CHALLENGER]
        assert [(body["priority"], body.get("stream")) for body in asked] == [(10, None)]
        assert all("priority" not in call.body for call in hone.engine.calls if call.body["model"] == CHAMPION)
        assert eventually(lambda: counts(hone) == {"mirrored": 1, "failed": 0, "dropped": 0})
        with hone.http(Role.REVIEWER) as http:
            shown = http.get(f"/api/interactions/{response_id}").json()
        assert [row["id"] for row in shown["shadow"]] == [twin.id]


def test_tools_are_named_to_the_shadow_and_nothing_runs_them(tmp_path: Path) -> None:
    with mirroring(tmp_path) as hone:
        chat(hone, tools=TOOLS)
        (twin,) = eventually(lambda: shadows(hone))
        assert twin.params["tools"] == TOOLS
        time.sleep(0.3)
        assert len(shadows(hone)) == 1
        assert sum(call.body.get("tools") == TOOLS for call in hone.engine.calls) == 2


def test_calls_that_are_not_stored_or_only_measure_or_name_a_version_are_not_mirrored(tmp_path: Path) -> None:
    with mirroring(tmp_path) as hone:
        chat(hone, "kept to myself", store=False)
        chat(hone, metadata={"purpose": "measurement"})
        chat(hone, role=Role.OPS, model=CHAMPION)
        with hone.http() as http:
            assert http.post("/v1/completions", json={"model": "hone", "prompt": "Once"}).status_code == 200
        chat(hone)
        assert eventually(lambda: shadows(hone))
        time.sleep(0.3)
        assert len(shadows(hone)) == 1
        assert not any(
            "kept to myself" in str(call.body) for call in hone.engine.calls if call.body["model"] != CHAMPION
        )


def test_the_ledger_alone_tells_which_calls_should_have_been_mirrored(tmp_path: Path) -> None:
    with mirroring(tmp_path, share=0.4, queue=60) as hone:
        for number in range(60):
            chat(hone, f"question {number}")
        expected = {row.id for row in hone.rows() if is_sampled(row, CHALLENGER, 0.4)}
        assert 5 < len(expected) < 55
        assert eventually(lambda: {row.parent for row in shadows(hone)} == expected)


def test_a_users_key_cannot_rate_a_mirrored_answer(tmp_path: Path) -> None:
    with mirroring(tmp_path) as hone:
        chat(hone)
        (twin,) = eventually(lambda: shadows(hone))
        for name in (twin.id, f"chatcmpl-{twin.id}"):
            thumb = {"response_id": name, "name": "thumbs", "value": True}
            with hone.http() as http:
                assert http.post("/v1/feedback", json=thumb).status_code == 404
                assert http.get("/v1/feedback", params={"response_id": name}).status_code == 404


def test_a_shadow_that_fails_leaves_a_failed_row_is_asked_once_and_no_client_notices(tmp_path: Path) -> None:
    with mirroring(tmp_path, FakeEngine(knobs={CHALLENGER: Knobs(fail=1.0)})) as hone:
        served = chat(hone).json()
        (twin,) = eventually(lambda: shadows(hone))
        assert (twin.finish, twin.error, twin.reply, twin.parent) == (
            Finish.ERROR, "engine_500", None, bare(served["id"]),
        )  # fmt: skip
        assert eventually(lambda: counts(hone)["failed"] == 1)
        time.sleep(0.3)
        assert sum(call.body["model"] == CHALLENGER for call in hone.engine.calls) == 1
        assert hone.ready()


def test_a_shadow_that_is_not_loaded_yet_is_left_out_and_leaves_no_row(tmp_path: Path) -> None:
    with mirroring(tmp_path) as hone:
        del hone.engine.loaded[CHALLENGER]
        chat(hone)
        assert eventually(lambda: counts(hone)["dropped"] == 1)
        assert shadows(hone) == []


def test_a_shadow_that_hangs_delays_nobody_and_the_queue_stays_bounded(tmp_path: Path) -> None:
    engine = FakeEngine(knobs={CHALLENGER: Knobs(first_token=600)})
    with mirroring(tmp_path, engine, share=1.0, queue=4, concurrency=2) as hone:
        chat(hone)
        started = time.monotonic()
        for _ in range(30):
            chat(hone)
        assert time.monotonic() - started < 5
        assert eventually(lambda: counts(hone)["dropped"] == 31 - 4 - 2)
        assert sum(call.body["model"] == CHALLENGER for call in engine.calls) == 2
        assert len([row for row in hone.rows() if row.arm is Arm.CHAMPION and row.finish is Finish.STOP]) == 31
        started = time.monotonic()
        hone.stop()
        assert time.monotonic() - started < 3, "what is mirrored does not hold the shutdown up"
        assert not shadows(hone)
        assert eventually(lambda: engine.running == 0)


def test_mirroring_stops_at_once_when_an_experiment_begins(tmp_path: Path) -> None:
    engine = FakeEngine(knobs={CHALLENGER: Knobs(first_token=0.6)})
    with mirroring(tmp_path, engine, share=1.0, concurrency=1) as hone:
        for _ in range(4):
            chat(hone)
        assert eventually(lambda: engine.running == 1)
        Experiments(hone.parts.store).begin(CHALLENGER, 0.01, actor="test", reason="a test")
        assert eventually(lambda: plan_of(hone).split)
        asked = sum(call.body["model"] == CHALLENGER for call in engine.calls)
        assert asked <= 2
        assert eventually(lambda: counts(hone)["dropped"] == 4 - asked)
        mirrored = len(shadows(hone))
        engine.knobs.clear()
        for _ in range(5):
            chat(hone)
        time.sleep(0.3)
        assert len(shadows(hone)) == mirrored


def test_a_rejected_shadow_gets_nothing_any_more_and_is_let_go_of_when_its_call_ended(tmp_path: Path) -> None:
    engine = FakeEngine(knobs={CHALLENGER: Knobs(first_token=1.0)})
    with mirroring(tmp_path, engine) as hone:
        chat(hone)
        assert eventually(lambda: engine.running == 1)
        under = plan_of(hone).revision
        hone.parts.registry.advance(CHALLENGER, Stage.REJECTED, mover=Mover.OPERATOR, actor="test", reason="a test")
        assert eventually(lambda: plan_of(hone).shadow is None)
        assert hone.parts.plans.acknowledged() == under, "the adapter must stay until the mirrored call ended"
        assert eventually(lambda: hone.parts.plans.acknowledged() > under)
        chat(hone)
        time.sleep(0.2)
        assert sum(call.body["model"] == CHALLENGER for call in engine.calls) == 1


def test_an_engine_that_is_gone_tells_nothing_about_the_shadow(tmp_path: Path) -> None:
    with mirroring(tmp_path) as hone:
        hone.engine.healthy = False
        hone.engine.knobs[CHALLENGER] = Knobs(fail=1.0)
        chat(hone)
        assert eventually(lambda: counts(hone)["dropped"] == 1)
        assert shadows(hone) == []
