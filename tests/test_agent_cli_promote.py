"""`hone promote` and `hone rollback`: what a person reads, is asked and agrees to, and the exit status of a no."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixtures_command import at_terminal, environment, hone
from fixtures_gateway import CHALLENGER, CHAMPION, Gateway, gateway
from fixtures_loop import advanced, awaiting, holder, promoted, trained

from agent.cli.evidence import told
from core.lifecycle import Stage
from core.types import JsonObject, Role

APPROVE = ("promote", "approve", CHALLENGER, "--reason", "it is better")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path) as started:
        yield started


def environ(running: Gateway, role: Role = Role.OPS) -> dict[str, str]:
    return {"HONE_URL": running.url, "HONE_KEY": running.keys[role]}


def stage(running: Gateway) -> str:
    return running.parts.registry.model(CHALLENGER).stage


def test_with_the_digest_that_was_read_the_version_is_promoted(running: Gateway) -> None:
    digest = awaiting(running)
    result = hone(*APPROVE, "--digest", digest, **environ(running))
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"{CHALLENGER} is the champion now; it took 0.")
    assert result.stderr == f"hone: {CHAMPION} stays loaded; `hone rollback --reason R` swaps the two.\n"
    assert stage(running) == Stage.CHAMPION


def test_the_result_for_programs_is_one_object(running: Gateway) -> None:
    digest = awaiting(running)
    result = hone(*APPROVE, "--yes", "--json", **environ(running))
    body = json.loads(result.stdout)
    assert (body["champion"], body["evidence_digest"], body["acknowledged"]) == (CHALLENGER, digest, True)
    rolled = json.loads(hone("rollback", "--reason", "to compare", "--json", **environ(running)).stdout)
    assert (rolled["champion"], rolled["previous"]) == (CHAMPION, CHALLENGER)


def test_on_a_terminal_the_evidence_is_shown_and_nothing_happens_without_a_yes(running: Gateway) -> None:
    awaiting(running)
    at = environment(**environ(running))
    with at_terminal(*APPROVE, environ=at) as terminal:
        terminal.expect("better by +0.210 (+0.080 to +0.340)")
        terminal.expect(f"Make {CHALLENGER} the champion? [y/N]")
        terminal.type("\r")
        assert terminal.status() == 1
    assert stage(running) == Stage.AWAITING_APPROVAL
    with at_terminal(*APPROVE, environ=at) as terminal:
        terminal.expect("[y/N]")
        terminal.type("y\r")
        terminal.expect("is the champion now")
        assert terminal.status() == 0
    assert stage(running) == Stage.CHAMPION


def test_evidence_that_changes_while_one_reads_is_not_agreed_to(running: Gateway) -> None:
    awaiting(running)
    with at_terminal(*APPROVE, environ=environment(**environ(running))) as terminal:
        terminal.expect("[y/N]")
        running.parts.registry.void(CHALLENGER, "the guardrail latency left advance")
        terminal.type("y\r")
        terminal.expect("the guardrail latency left advance")
        assert terminal.status() == 3
    assert stage(running) == Stage.AWAITING_APPROVAL


def test_where_nobody_can_be_asked_the_evidence_must_be_named(running: Gateway) -> None:
    digest = awaiting(running)
    result = hone(*APPROVE, **environ(running))
    assert (result.returncode, result.stdout) == (2, "")
    assert f"--digest {digest}" in result.stderr
    assert stage(running) == Stage.AWAITING_APPROVAL


@pytest.mark.parametrize("digest", [("--digest", "0" * 64), ("--yes",)], ids=["digest", "yes"])
def test_a_no_of_the_gate_ends_with_3(running: Gateway, digest: tuple[str, ...]) -> None:
    trained(running)
    advanced(running, CHALLENGER, Stage.SHADOW)
    result = hone(*APPROVE, *digest, **environ(running))
    assert (result.returncode, result.stdout) == (3, "")
    assert "shadow" in result.stderr.splitlines()[-1]


def test_ones_own_run_ends_with_4_and_the_ways_out(running: Gateway) -> None:
    awaiting(running, requester=holder(running))
    result = hone(*APPROVE, "--yes", **environ(running))
    assert result.returncode == 4
    assert "second operator's key" in result.stderr
    assert "approval.four_eyes = false" in result.stderr


def test_a_self_approval_is_said_so(tmp_path: Path) -> None:
    with gateway(tmp_path, settings={"approval": {"four_eyes": False}}) as running:
        awaiting(running, requester=holder(running))
        assert "recorded as self-approved" in hone(*APPROVE, "--yes", **environ(running)).stderr


def test_a_reviewer_is_denied(running: Gateway) -> None:
    awaiting(running)
    for command in (APPROVE, ("promote", "reject", CHALLENGER, "--reason", "x"), ("rollback", "--reason", "x")):
        assert hone(*command, **environ(running, Role.REVIEWER)).returncode == 4


def test_a_rejection_is_final(running: Gateway) -> None:
    awaiting(running)
    reject = ("promote", "reject", CHALLENGER, "--reason", "it is rude")
    assert hone(*reject, **environ(running)).stderr == f"hone: {CHALLENGER} is rejected.\n"
    assert stage(running) == Stage.REJECTED
    assert hone(*reject, **environ(running)).returncode == 3


def test_a_reason_is_asked_for() -> None:
    for command in (("promote", "approve", CHALLENGER), ("promote", "reject", CHALLENGER), ("rollback",)):
        result = hone(*command)
        assert (result.returncode, "--reason" in result.stderr) == (2, True)


def test_a_rollback_without_a_champion_before_ends_with_3(running: Gateway) -> None:
    result = hone("rollback", "--reason", "just so", **environ(running))
    assert (result.returncode, result.stderr) == (3, "hone: There is no previous champion to go back to.\n")


def test_a_rollback_says_who_is_champion_now(running: Gateway) -> None:
    promoted(running)
    result = hone("rollback", "--reason", "it is rude", **environ(running))
    assert result.stdout.startswith(f"{CHAMPION} is the champion now")
    assert CHALLENGER in result.stderr


def test_every_gate_is_told_with_its_controls() -> None:
    control: JsonObject = {"control": "old skills", "ruling": "advance", "says": "not worse"}
    evidence: JsonObject = {
        "gates": [
            {"stage": "candidate", "ruling": "advance", "says": "advance to shadow", "reasons": [control]},
            {"stage": "ab", "ruling": "hold", "deadline": 9, "reasons": [{**control, "ruling": "hold"}]},
        ],
        "candidate": {"version": "v1", "artifact": "abc", "dataset": None},
        "terms": {"alpha": 0.05},
        "note": "No A/B was run.",
    }
    shown: JsonObject = {"id": "v1", "stage": "awaiting_approval", "evidence": evidence, "evidence_digest": "d"}
    made: JsonObject = {"run": "r", "parent": None, "requester": "system:worse", "evidence_at": 1}
    lines = [line.rstrip() for line in told({**shown, **made})]
    assert lines[:2] == ["v1 is at awaiting approval.", "Run r made it from the base; system:worse asked for it."]
    assert lines[3:6] == ["No A/B was run.", "The gate at candidate says advance:", "  advance  old skills: not worse"]
    assert lines[6].startswith("The gate at ab says hold, until ")
    assert lines[7:] == [
        "  hold     old skills: not worse",
        "candidate.version   v1",
        "candidate.artifact  abc",
        "candidate.dataset   -",
    ]


def test_void_evidence_and_self_approval_are_told() -> None:
    approval: JsonObject = {"actor": "key_1", "reason": "better", "self_approved": True}
    shown: JsonObject = {"id": "v1", "stage": "champion", "evidence": {}, "evidence_digest": "d", "approval": approval}
    lines = list(told({**shown, "evidence_void": "the champion changed"}))
    assert "Approved by key_1, who had asked for the run: self-approved: better" in lines
    assert "It is void: the champion changed." in lines


def test_a_version_without_evidence_says_when_it_comes() -> None:
    lines = list(told({"id": "v1", "stage": "shadow", "evidence": None}))
    assert lines == ["v1 is at shadow.", "No evidence is frozen for it; that happens when it arrives at approval."]
