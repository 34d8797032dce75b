"""What may go wrong on a candidate's way costs it nothing that is not its own, and nothing is taken for proof.

An engine that is killed, words that nobody says. What the real engine does when it is killed: test_loop_real.py.
"""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from customers import World
from fixtures_gateway import CHALLENGER, CHAMPION, HELLO, eventually, gateway
from fixtures_loop import compared

from core import states
from core.lifecycle import Stage
from core.store import Store
from core.types import Arm, Experiment, ExperimentKind, Finish, Interaction, JsonObject
from monitoring.experiments.findings import Harm

QUARTER = 6 * 3600
SETTINGS: JsonObject = {
    "shadow": {"share": 1.0},
    "experiment": {"min_hours": 0.01, "first_subjects": 10, "first_share": 0.1},
}
GONE = {"finish": Finish.ERROR, "served": None, "reply": None, "completion_tokens": None, "duration": None}
"""What is written of a call that no engine answered, as the last test here has it from the gateway."""


@pytest.fixture
def world(sqlite_store: Store) -> World:
    world = World(sqlite_store, SETTINGS)
    world.register("v1")
    world.conductor.tick()
    assert world.story.stage("v1") is Stage.SHADOW
    return world


def live(world: World, quarters: int, until: Stage, customers: int = 150, rate: float = 1.0) -> Stage:
    """Traffic, looks and time, until v1 is at a stage."""
    for _ in range(quarters):
        if world.story.stage("v1") in (until, Stage.REJECTED):
            break
        world.traffic(customers, rate=rate)
        world.conductor.tick()
        world.wait(QUARTER)
    return world.story.stage("v1")


def outage(world: World, customers: int) -> Sequence[Interaction]:
    """Calls that came while no engine answered."""
    calls = [world.call(who, "old question 1", **GONE) for who in world.newcomers(customers)]
    world.keep(calls)
    return calls


def says(world: World) -> str:
    with world.store.read() as conn:
        found = states.read(conn, "gate/v1")
    assert found is not None
    return str(found.body["says"])


def test_an_engine_that_was_killed_during_the_shadow_tells_nothing_against_it(world: World) -> None:
    outage(world, 100)
    answered = [world.call(who, "old question 1") for who in world.newcomers(30)]
    world.keep(answered)  # the copies of these were under way when the engine died
    world.conductor.tick()
    assert world.story.stage("v1") is Stage.SHADOW
    assert "candidate failures: 0 of 0 calls failed" in says(world)
    assert live(world, 8, until=Stage.AB) is Stage.AB


def test_a_candidate_whose_mirrored_calls_got_lost_is_held(world: World) -> None:
    world.share = 0.3
    for _ in range(3):
        world.traffic(150)
        world.conductor.tick()
    assert world.story.stage("v1") is Stage.SHADOW
    assert "of the mirrored calls came back as pairs" in says(world)


def test_an_engine_that_was_killed_during_the_ab_harms_neither_arm(world: World) -> None:
    live(world, 12, until=Stage.AB)
    experiment = world.story.experiments.running()[ExperimentKind.AB]
    while world.story.experiments.running()[ExperimentKind.AB].share < 0.5:
        world.traffic(40)
        world.conductor.tick()
    assert {call.arm for call in outage(world, 60)} == {Arm.CHAMPION, Arm.CHALLENGER}
    # The champion's adapter is back a moment before the challenger's.
    back = [world.call(who, "new question 1") for who in world.newcomers(6)]
    world.keep([replace(call, served=world.story.plan.champion) for call in back])
    world.conductor.tick()
    assert world.story.stage("v1") is Stage.AB
    (guardrail,) = [found for found in guardrails(world, experiment) if found["comparison"]["metric"] == "errors"]
    assert guardrail["harm"] != Harm.SHOWN
    assert guardrail["comparison"]["champion"]["mean"] > 0.1 < guardrail["comparison"]["challenger"]["mean"]
    assert live(world, 12, until=Stage.AWAITING_APPROVAL) is Stage.AWAITING_APPROVAL


def guardrails(world: World, experiment: Experiment) -> Sequence[Mapping[str, Any]]:
    """What the newest look found at each."""
    newest, *_ = world.story.experiments.looks(experiment.id)
    return cast(Sequence[Mapping[str, Any]], newest.findings["guardrails"])


def test_an_ab_without_any_feedback_holds_says_so_and_ends_at_its_deadline(world: World) -> None:
    live(world, 12, until=Stage.AB)
    assert live(world, 26, until=Stage.AWAITING_APPROVAL, customers=30, rate=0.0) is Stage.AB
    assert says(world).startswith("hold: ") and "thumbs" in says(world)
    assert live(world, 8, until=Stage.AWAITING_APPROVAL, customers=30, rate=0.0) is Stage.REJECTED
    assert "rejected: inconclusive: " in says(world) and "thumbs" in says(world)
    assert world.story.plan.split is None
    assert world.story.check()


def test_without_an_engine_a_call_of_either_arm_is_an_error_that_nobody_served(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with gateway(tmp_path, settings={"engine": {"url": url}}, ready=False) as hone:
            compared(hone, share=0.5)
            assert eventually(lambda: hone.parts.plans.current().split)
            with hone.http() as http:
                for number in range(20):
                    body = {"model": "hone", "messages": HELLO, "user": f"customer-{number}"}
                    assert http.post("/v1/chat/completions", json=body).status_code == 503
            rows = eventually(lambda: [row for row in hone.rows() if row.experiment][19:] and hone.rows())
    assert {(row.arm, row.assigned) for row in rows} == {(Arm.CHAMPION, CHAMPION), (Arm.CHALLENGER, CHALLENGER)}
    assert {(row.finish, row.served, row.reply, row.completion_tokens) for row in rows} == {
        (Finish.ERROR, None, None, None)
    }
