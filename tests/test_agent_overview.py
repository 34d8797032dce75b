"""/api/status about the loop: the candidate and what its gate waits for, the run, what is armed, the comparison."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fixtures_gateway import CHALLENGER, CHAMPION, Gateway, gateway, model
from fixtures_loop import advanced, ask, awaiting, compared, trained

from core import states
from core.lifecycle import Stage
from core.types import JsonObject, Version

OTHER = Version("hone-tiny-v2-0123456789cd")
RULING: JsonObject = {
    "stage": "shadow",
    "ruling": "hold",
    "says": "hold: shadow coverage: 12 of 50 pairs",
    "reasons": [
        {"control": "shadow coverage", "ruling": "hold", "says": "12 of 50 pairs"},
        {"control": "candidate failures", "ruling": "advance", "says": "0 of 12 calls failed"},
    ],
    "deadline": 1_900_000_000_000_000,
    "earlier": [{"stage": "candidate"}],
}
TRIGGERS: JsonObject = {
    "armed": [{"cause": "worse", "source": "c1", "reason": "thumbs fell", "actor": "", "at": 5, "expires_at": 9}],
    "spent": ["c1"],
    "says": "answers got worse, waiting for data: 37 of 120",
    "waits": {"rows": 37, "min_rows": 120},
    "dropped": [],
}


@pytest.fixture
def hone(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path) as running:
        yield running


def status(hone: Gateway) -> dict[str, Any]:
    return dict(ask(hone, "GET", "/api/status").json())


def publish(hone: Gateway, name: str, body: JsonObject) -> None:
    with hone.parts.store.write() as conn:
        states.put(conn, name, body, 7)


def test_an_idle_loop_is_empty_and_not_absent(hone: Gateway) -> None:
    found = status(hone)
    assert {name: found[name] for name in ("candidate", "run", "next_run", "experiment", "holdback", "stage")} == {
        name: None for name in ("candidate", "run", "next_run", "experiment", "holdback", "stage")
    }
    assert (found["triggers"], found["checks"]) == ([], [])


def test_a_held_candidate_says_what_its_gate_waits_for(hone: Gateway) -> None:
    trained(hone)
    assert status(hone)["candidate"]["waits_for"] == "the first look of its gate"
    advanced(hone, CHALLENGER, Stage.SHADOW)
    publish(hone, f"gate/{CHALLENGER}", RULING)
    found = status(hone)
    assert (found["stage"], found["shadow"], found["candidate"]["requester"]) == ("shadow", CHALLENGER, "system:worse")
    assert found["candidate"]["waits_for"] == "shadow coverage: 12 of 50 pairs"
    assert found["candidate"]["gate"] == {name: value for name, value in RULING.items() if name != "earlier"}
    assert ask(hone, "GET", f"/api/models/{CHALLENGER}").json()["gate"] == RULING


def test_what_was_said_at_an_earlier_stage_is_not_what_it_waits_for(hone: Gateway) -> None:
    compared(hone)
    publish(hone, f"gate/{CHALLENGER}", RULING)
    assert status(hone)["candidate"]["waits_for"] == "the first look of its gate"


def test_the_foremost_of_several_candidates_is_the_live_one(hone: Gateway) -> None:
    digest = awaiting(hone)
    hone.parts.registry.register(model(OTHER, "2" * 64), "system:training")
    candidate = status(hone)["candidate"]
    assert (candidate["id"], candidate["evidence_digest"]) == (CHALLENGER, digest)
    assert candidate["waits_for"] == "a person's approval"
    hone.parts.registry.void(CHALLENGER, "the champion changed")
    assert status(hone)["candidate"]["evidence_void"] == "the champion changed"


def test_what_is_armed_and_what_it_waits_for_is_told(hone: Gateway) -> None:
    publish(hone, states.TRIGGERS, TRIGGERS)
    found = status(hone)
    [armed] = found["triggers"]
    assert (armed["cause"], armed["reason"], armed["expires_at"]) == ("worse", "thumbs fell", 9)
    assert found["next_run"] == {
        "says": TRIGGERS["says"],
        "waits": TRIGGERS["waits"],
        "dropped": [],
        "looked_at": 7,
    }


def test_the_open_run_and_the_comparison_are_there(hone: Gateway) -> None:
    experiment = compared(hone)
    run = ask(hone, "POST", "/api/runs", {"reason": "new products"}).json()
    found = status(hone)
    assert (found["run"]["id"], found["run"]["state"]) == (run["id"], "requested")
    assert (found["experiment"]["id"], found["experiment"]["arms"]["champion"]["version"]) == (experiment.id, CHAMPION)
    assert (found["challenger"], found["stage"]) == (CHALLENGER, "ab")
