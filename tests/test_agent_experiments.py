"""/api/experiments: what the newest look says, lifted out of its findings, and the operator's right to stop."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fixtures_gateway import CHALLENGER, CHAMPION, Gateway, eventually, gateway
from fixtures_loop import ask, audited, chat, compared, holder, promoted

from core.experiments import Experiments
from core.types import JsonObject, Role

FINDINGS: JsonObject = {
    "primary": {
        "comparison": {
            "metric": "thumbs",
            "champion": {"subjects": 210, "measured": 180, "mean": 0.61},
            "challenger": {"subjects": 190, "measured": 171, "mean": 0.82},
            "estimate": 0.21,
            "interval": {"low": 0.08, "high": 0.34},
        },
        "effect": "better",
        "rule": "anytime",
        "outlook": "Decided with 351 subjects.",
    },
    "guardrails": [],
    "split": {"champion": 210, "challenger": 190, "e_value": 0.7, "broken": False},
    "rating": {
        "champion": {"answered": 205, "rated": 180, "up": 0.68, "down": 0.07, "rate": 0.878},
        "challenger": {"answered": 188, "rated": 171, "up": 0.86, "down": 0.04, "rate": 0.91},
        "e_value": 0.4,
        "alarm": False,
    },
    "left_out": 31,
}


@pytest.fixture
def hone(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path) as running:
        yield running


def show(hone: Gateway, experiment_id: str) -> dict[str, Any]:
    answer = ask(hone, "GET", f"/api/experiments/{experiment_id}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_an_experiment_shows_its_arms_and_nothing_it_has_not_found(hone: Gateway) -> None:
    experiment = compared(hone)
    shown = show(hone, experiment.id)
    assert (shown["kind"], shown["state"], shown["share"]) == ("ab", "running", 0.1)
    unknown = dict.fromkeys(("subjects", "measured", "mean", "up", "down", "rate"))
    assert shown["arms"] == {
        "champion": {"version": CHAMPION, **unknown},
        "challenger": {"version": CHALLENGER, **unknown},
    }
    assert [shown[name] for name in ("estimate", "interval", "effect", "outlook", "split", "looks")] == [None] * 5 + [
        []
    ]


def test_the_newest_look_gives_the_figures_and_all_looks_stay(hone: Gateway) -> None:
    experiment, experiments = compared(hone), Experiments(hone.parts.store)
    experiments.note(experiment.id, {"primary": {"effect": "unmeasured"}})
    experiments.note(experiment.id, FINDINGS)
    experiments.widen(experiment.id, 0.5, actor="system:gate", reason="safe so far")
    shown = show(hone, experiment.id)
    assert shown["metric"] == "thumbs"
    counted = {"version": CHAMPION, "subjects": 210, "measured": 180, "mean": 0.61}
    assert shown["arms"]["champion"] == {**counted, "up": 0.68, "down": 0.07, "rate": 0.878}
    assert (shown["rule"], shown["rating"]) == ("anytime", FINDINGS["rating"])
    assert shown["arms"]["challenger"]["measured"] == 171
    assert (shown["estimate"], shown["interval"]) == (0.21, {"low": 0.08, "high": 0.34})
    assert (shown["effect"], shown["outlook"]) == ("better", "Decided with 351 subjects.")
    assert shown["split"] == FINDINGS["split"]
    assert [look["findings"] for look in shown["looks"]] == [FINDINGS, {"primary": {"effect": "unmeasured"}}]
    assert [step["share"] for step in shown["steps"]] == [0.1, 0.5]


@pytest.mark.parametrize(
    "findings",
    [{}, {"primary": None}, {"primary": {"comparison": [1]}}, {"split": "none", "primary": {"effect": 3}},
     {"primary": {"comparison": {"interval": {"low": 0.1}, "champion": 7, "estimate": "much"}}}],
    ids=str,
)  # fmt: skip
def test_findings_of_another_shape_are_passed_on_and_lift_nothing(hone: Gateway, findings: JsonObject) -> None:
    experiment = compared(hone)
    Experiments(hone.parts.store).note(experiment.id, findings)
    shown = show(hone, experiment.id)
    assert [shown[name] for name in ("estimate", "interval", "effect", "split")] == [None] * 4
    assert shown["looks"][0]["findings"] == findings


def test_an_operator_stops_an_experiment_once(hone: Gateway) -> None:
    experiment = compared(hone, share=0.9)
    path = f"/api/experiments/{experiment.id}/stop"
    answer = ask(hone, "POST", path, {"reason": "a complaint"})
    assert (answer.status_code, answer.json()["state"], answer.json()["reason"]) == (200, "stopped", "a complaint")
    assert hone.parts.registry.model(CHALLENGER).stage == "shadow"
    [row] = audited(hone, "experiment.stop")
    assert (row["actor"], row["body"]) == (holder(hone), {"reason": "a complaint"})
    again = ask(hone, "POST", path, {"reason": "once more"})
    assert again.status_code == 409
    assert "a complaint" in again.json()["error"]["message"]


def test_after_a_stop_the_very_next_call_meets_the_champion(hone: Gateway) -> None:
    experiment = compared(hone, share=0.99)
    assert eventually(lambda: chat(hone).served == CHALLENGER)
    ask(hone, "POST", f"/api/experiments/{experiment.id}/stop", {"reason": "a complaint"})
    assert {chat(hone, user=f"user {n}").served for n in range(10)} == {CHAMPION}


def test_a_hold_back_is_an_experiment_that_an_operator_may_stop(hone: Gateway) -> None:
    promoted(hone)
    [held] = ask(hone, "GET", "/api/experiments").json()["data"]
    assert (held["kind"], held["champion"], held["challenger"], held["share"]) == (
        "holdback",
        CHAMPION,
        CHALLENGER,
        0.95,
    )
    assert ask(hone, "POST", f"/api/experiments/{held['id']}/stop", {"reason": "enough"}).status_code == 200
    assert ask(hone, "GET", "/api/status").json()["holdback"] is None


def test_the_list_is_read_by_page_newest_first(hone: Gateway) -> None:
    promoted(hone)
    ask(hone, "POST", "/api/rollback", {"reason": "to compare"})
    page = ask(hone, "GET", "/api/experiments?limit=1").json()
    assert (len(page["data"]), page["next"]) == (1, None)
    assert (page["data"][0]["state"], page["data"][0]["kind"]) == ("invalidated", "holdback")


@pytest.mark.parametrize(
    ("body", "param"), [({}, "reason"), ({"reason": ""}, "reason"), ({"reason": "x", "a": 1}, "a")]
)
def test_a_stop_says_why(hone: Gateway, body: dict[str, Any], param: str) -> None:
    experiment = compared(hone)
    answer = ask(hone, "POST", f"/api/experiments/{experiment.id}/stop", body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert show(hone, experiment.id)["state"] == "running"


def test_unknown_experiments_and_foreign_roles_get_nothing(hone: Gateway) -> None:
    assert ask(hone, "GET", "/api/experiments/nothing").status_code == 404
    assert ask(hone, "POST", "/api/experiments/nothing/stop", {"reason": "x"}).status_code == 404
    for role in (Role.USER, Role.REVIEWER):
        assert ask(hone, "GET", "/api/experiments", role=role).status_code == 403
        assert ask(hone, "POST", "/api/experiments/x/stop", {"reason": "x"}, role=role).status_code == 403
