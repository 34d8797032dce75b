"""Approve, reject and roll back: bound to the evidence, never one's own run, at once, and written down."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fixtures_gateway import CHALLENGER, CHAMPION, Gateway, eventually, gateway, model
from fixtures_loop import (
    EVIDENCE,
    advanced,
    ask,
    audited,
    awaiting,
    chat,
    compared,
    holder,
    newcomer,
    promoted,
    trained,
)

from core.experiments import Experiments
from core.ids import new_id
from core.lifecycle import Mover, Stage
from core.types import ExperimentKind, Role, Version
from core.workers import WorkerBeat

APPROVE, REJECT = f"/api/models/{CHALLENGER}/approve", f"/api/models/{CHALLENGER}/reject"
NEXT = Version("hone-tiny-v2-0123456789cd")


@pytest.fixture
def hone(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def undecided(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """With a version that goes on awaiting approval."""
    with gateway(tmp_path_factory.mktemp("undecided")) as running:
        awaiting(running)
        yield running


def approval(digest: str, **more: Any) -> dict[str, Any]:
    return {"reason": "better on every count", "evidence_digest": digest, **more}


def stage(hone: Gateway) -> Stage:
    return hone.parts.registry.model(CHALLENGER).stage


def champion(hone: Gateway) -> str:
    plan = hone.parts.registry.plan()
    assert plan is not None
    return plan.champion


def test_an_approved_version_answers_the_very_next_call_within_a_second(hone: Gateway) -> None:
    digest = awaiting(hone)
    began = time.perf_counter()
    answer = ask(hone, "POST", APPROVE, approval(digest))
    took = time.perf_counter() - began
    named = [chat(hone, user=f"user {n}") for n in range(20)]
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["champion"], body["previous"], body["acknowledged"]) == (CHALLENGER, CHAMPION, True)
    assert (body["evidence_digest"], body["self_approved"]) == (digest, False)
    assert 0 < body["seconds"] <= took < 1
    assert {row.revision for row in named} == {body["revision"]}
    assert {row.served for row in named if row.arm == "champion"} == {CHALLENGER}


def test_a_promotion_is_written_down_with_who_why_and_on_which_evidence(hone: Gateway) -> None:
    digest = awaiting(hone)
    ask(hone, "POST", APPROVE, approval(digest))
    [row] = audited(hone, "plan.promote")
    assert (row["actor"], row["target"]) == (holder(hone), CHALLENGER)
    assert row["body"]["reason"] == "better on every count"
    assert (row["body"]["evidence_digest"], row["body"]["self_approved"]) == (digest, False)
    shown = ask(hone, "GET", f"/api/models/{CHALLENGER}").json()
    assert shown["approval"] == {
        "actor": holder(hone),
        "at": row["created_at"],
        "reason": "better on every count",
        "evidence_digest": digest,
        "self_approved": False,
    }


def test_a_share_of_the_subjects_stays_on_the_old_version(hone: Gateway) -> None:
    promoted(hone)
    held = Experiments(hone.parts.store).running()[ExperimentKind.HOLDBACK]
    assert ask(hone, "GET", "/api/status").json()["holdback"] == {
        "version": CHAMPION,
        "share": 0.05,
        "experiment": held.id,
    }


def test_stale_evidence_is_refused_and_changes_nothing(hone: Gateway) -> None:
    digest = awaiting(hone)
    advanced(hone, CHALLENGER, Stage.SHADOW)
    hone.parts.registry.advance(
        CHALLENGER,
        Stage.AWAITING_APPROVAL,
        mover=Mover.MONITORING,
        actor="system:gate",
        reason="again",
        evidence={**EVIDENCE, "counts": {"champion": 400, "challenger": 380}},
    )
    answer = ask(hone, "POST", APPROVE, approval(digest))
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "evidence_stale")
    assert f"hone models show {CHALLENGER}" in answer.json()["error"]["message"]
    assert champion(hone) == CHAMPION
    newest = ask(hone, "GET", f"/api/models/{CHALLENGER}").json()["evidence_digest"]
    assert newest != digest
    assert ask(hone, "POST", APPROVE, approval(newest)).status_code == 200


def test_void_evidence_is_refused_with_the_reason(hone: Gateway) -> None:
    digest = awaiting(hone)
    hone.parts.registry.void(CHALLENGER, "the guardrail latency left advance")
    answer = ask(hone, "POST", APPROVE, approval(digest))
    assert answer.status_code == 409
    assert "the guardrail latency left advance" in answer.json()["error"]["message"]
    assert champion(hone) == CHAMPION


def test_evidence_that_is_too_old_is_refused(tmp_path: Path) -> None:
    with gateway(tmp_path, settings={"approval": {"max_age_hours": 1e-9}}) as hone:
        answer = ask(hone, "POST", APPROVE, approval(awaiting(hone)))
        assert answer.status_code == 409
        assert "approval.max_age_hours" in answer.json()["error"]["message"]


def test_of_two_approvals_at_once_one_wins(hone: Gateway) -> None:
    digest, keys = awaiting(hone), [newcomer(hone) for _ in range(4)]
    together = threading.Barrier(len(keys))

    def approve(key: str) -> int:
        together.wait()
        return ask(hone, "POST", APPROVE, approval(digest), key=key).status_code

    with ThreadPoolExecutor(len(keys)) as pool:
        assert sorted(pool.map(approve, keys)) == [200, 409, 409, 409]
    assert champion(hone) == CHALLENGER
    assert len(audited(hone, "plan.promote")) == 1


def test_nobody_approves_a_run_of_their_own_and_both_ways_out_are_named(hone: Gateway) -> None:
    digest = awaiting(hone, requester=holder(hone))
    answer = ask(hone, "POST", APPROVE, approval(digest))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (403, "own_run")
    assert "a second operator's key" in error["message"]
    assert "approval.four_eyes = false" in error["message"]
    assert champion(hone) == CHAMPION


def test_a_key_that_one_made_oneself_is_no_second_person(hone: Gateway) -> None:
    digest = awaiting(hone, requester=holder(hone))
    made = ask(hone, "POST", "/api/keys", {"name": "my other self", "role": "ops"}).json()["key"]
    assert ask(hone, "POST", APPROVE, approval(digest), key=made).status_code == 403
    assert ask(hone, "POST", APPROVE, approval(digest), key=newcomer(hone)).status_code == 200


def test_a_run_asked_for_over_the_api_by_such_a_key_is_ones_own_too(hone: Gateway) -> None:
    made = ask(hone, "POST", "/api/keys", {"name": "my other self", "role": "ops"}).json()["key"]
    run = ask(hone, "POST", "/api/runs", {"reason": "I want one"}, key=made).json()
    assert run["requester"] == holder(hone)


def test_without_four_eyes_ones_own_run_is_recorded_and_shown_as_self_approved(tmp_path: Path) -> None:
    with gateway(tmp_path, settings={"approval": {"four_eyes": False}}) as hone:
        answer = ask(hone, "POST", APPROVE, approval(awaiting(hone, requester=holder(hone))))
        assert (answer.status_code, answer.json()["self_approved"]) == (200, True)
        assert audited(hone, "plan.promote")[0]["body"]["self_approved"] is True
        assert ask(hone, "GET", f"/api/models/{CHALLENGER}").json()["approval"]["self_approved"] is True


@pytest.mark.parametrize("stages", [(), (Stage.SHADOW,), (Stage.REJECTED,)], ids=["candidate", "shadow", "rejected"])
def test_only_a_version_that_awaits_approval_is_promoted(hone: Gateway, stages: tuple[Stage, ...]) -> None:
    trained(hone)
    advanced(hone, CHALLENGER, *stages)
    answer = ask(hone, "POST", APPROVE, approval("0" * 64))
    assert answer.status_code == 409
    assert "awaiting_approval" in answer.json()["error"]["message"]


def test_the_champion_is_neither_approved_nor_rejected(hone: Gateway) -> None:
    assert ask(hone, "POST", f"/api/models/{CHAMPION}/approve", approval("0" * 64)).status_code == 409
    assert ask(hone, "POST", f"/api/models/{CHAMPION}/reject", {"reason": "x"}).status_code == 409
    for path, body in (("approve", approval("0" * 64)), ("reject", {"reason": "x"})):
        assert ask(hone, "POST", f"/api/models/nobody/{path}", body).status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (APPROVE, {"reason": "x"}, "evidence_digest"),
        (APPROVE, {"evidence_digest": "x"}, "reason"),
        (APPROVE, {"reason": "x", "evidence_digest": ""}, "evidence_digest"),
        (APPROVE, {"reason": "x", "evidence_digest": "x", "force": True}, "force"),
        (REJECT, {"reason": " \n"}, "reason"),
        (REJECT, {"reason": "x" * 2001}, "reason"),
        (REJECT, {"reason": "a\0b"}, "reason"),
        ("/api/rollback", {}, "reason"),
        ("/api/rollback", {"reason": 7}, "reason"),
        ("/api/rollback", {"reason": "x", "to": CHAMPION}, "to"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_by_name(
    undecided: Gateway, path: str, body: dict[str, Any], param: str
) -> None:
    answer = ask(undecided, "POST", path, body)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert stage(undecided) == Stage.AWAITING_APPROVAL


def test_users_and_reviewers_decide_nothing(undecided: Gateway) -> None:
    evidence = undecided.parts.registry.evidence(CHALLENGER)
    assert evidence is not None
    requests = [(APPROVE, approval(evidence.digest)), (REJECT, {"reason": "x"}), ("/api/rollback", {"reason": "x"})]
    for role in (Role.USER, Role.REVIEWER):
        assert [ask(undecided, "POST", path, body, role=role).status_code for path, body in requests] == [403] * 3
    assert stage(undecided) == Stage.AWAITING_APPROVAL


def test_a_rejected_candidate_leaves_the_plan_at_once(hone: Gateway) -> None:
    experiment = compared(hone, share=0.99)
    assert eventually(lambda: chat(hone).served == CHALLENGER)
    answer = ask(hone, "POST", REJECT, {"reason": "it is rude"})
    assert (answer.status_code, answer.json()["stage"]) == (200, "rejected")
    assert {chat(hone, user=f"user {n}").served for n in range(10)} == {CHAMPION}
    stopped = Experiments(hone.parts.store).find(experiment.id)
    assert (stopped.state, stopped.reason) == ("stopped", "it is rude")
    again = ask(hone, "POST", REJECT, {"reason": "still rude"})
    assert again.status_code == 409


def test_there_is_no_way_back_from_the_first_champion(hone: Gateway) -> None:
    answer = ask(hone, "POST", "/api/rollback", {"reason": "just so"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (
        409,
        "There is no previous champion to go back to.",
    )


def test_a_rollback_takes_under_a_second_and_a_second_one_swaps_back(hone: Gateway) -> None:
    promoted(hone)
    for expected, other in ((CHAMPION, CHALLENGER), (CHALLENGER, CHAMPION)):
        answer = ask(hone, "POST", "/api/rollback", {"reason": "to compare"}).json()
        assert (answer["champion"], answer["previous"], answer["acknowledged"]) == (expected, other, True)
        assert answer["seconds"] < 1
        assert chat(hone).served == expected
    assert [row["actor"] for row in audited(hone, "plan.rollback")] == [holder(hone)] * 2


def test_what_left_for_harm_does_not_come_back_by_hand(hone: Gateway) -> None:
    promoted(hone)
    hone.parts.registry.rollback(mover=Mover.MONITORING, actor="system:harm", reason="answers got worse")
    answer = ask(hone, "POST", "/api/rollback", {"reason": "I liked it"})
    assert answer.status_code == 409
    assert "automatically for harm" in answer.json()["error"]["message"]
    assert champion(hone) == CHAMPION


def test_the_answer_waits_for_every_live_gateway(hone: Gateway) -> None:
    digest, registry = awaiting(hone), hone.parts.registry
    other = WorkerBeat(new_id(), "gateway", "elsewhere", 1, 1, revision=1, adopted=1)
    registry.beat(other)

    def follow_later() -> None:
        time.sleep(0.4)
        registry.beat(WorkerBeat(other.id, "gateway", "elsewhere", 1, 1, revision=1, adopted=99))

    later = threading.Thread(target=follow_later)
    later.start()
    body = ask(hone, "POST", APPROVE, approval(digest)).json()
    later.join()
    assert body["acknowledged"]
    assert 0.3 < body["seconds"] < 5


def test_a_switch_under_load_fails_no_call(hone: Gateway) -> None:
    digest, enough = awaiting(hone), threading.Event()

    def talk(number: int) -> set[str | None]:
        seen: set[str | None] = set()
        while not enough.is_set():
            seen.add(chat(hone, user=f"user {number}").served)
        return seen

    with ThreadPoolExecutor(6) as pool:
        talks = [pool.submit(talk, number) for number in range(6)]
        time.sleep(0.3)
        approved = ask(hone, "POST", APPROVE, approval(digest))
        time.sleep(0.3)
        back = ask(hone, "POST", "/api/rollback", {"reason": "under load"})
        time.sleep(0.3)
        enough.set()
        seen = set().union(*(talk.result() for talk in talks))
    assert (approved.status_code, back.status_code) == (200, 200)
    assert seen == {CHAMPION, CHALLENGER}


def test_versions_are_listed_with_what_speaks_for_them(hone: Gateway) -> None:
    digest = awaiting(hone)
    hone.engine.loaded[NEXT] = ""
    hone.parts.registry.register(model(NEXT, "2" * 64), "system:training")
    ask(hone, "POST", APPROVE, approval(digest))
    listed = {item["id"]: item for item in ask(hone, "GET", "/api/models").json()["data"]}
    assert {name: item["stage"] for name, item in listed.items()} == {
        CHAMPION: "retired",
        CHALLENGER: "champion",
        NEXT: "candidate",
    }
    assert (listed[CHALLENGER]["evidence"], listed[CHALLENGER]["requester"]) == (EVIDENCE, "system:worse")
    assert (listed[NEXT]["evidence"], listed[NEXT]["evidence_digest"], listed[NEXT]["approval"]) == (None, None, None)
