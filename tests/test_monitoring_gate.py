"""The gate: silence holds, harm rejects with its reason, what shows no change never wins, and a hold ends."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import orjson
import pytest

from core.clock import HOUR
from core.lifecycle import Mover, Stage, can_advance
from core.types import Subject
from monitoring import gate
from monitoring.experiment import Exposure, Findings, examine
from monitoring.gate import Decision, Offline, Reason, Ruling, Shadow
from monitoring.pairs import Pair, Paired, compare
from monitoring.policy import ExperimentPolicy, GatePolicy, Guardrail, Rollout, Scale

POLICY = GatePolicy()
REVIEW = GatePolicy(rollout=Rollout.REVIEW)
EXPERIMENT = ExperimentPolicy(guardrails=(Guardrail("latency", 0.25, Scale.RATIO),))
NOW = 1_000 * HOUR
FRESH, LATE = NOW - 30 * HOUR, NOW - 7 * 24 * HOUR
LEAK = Reason("leak", Ruling.REJECT, "12 held-out rows are in the training data")


def paired(better: int, worse: int, equal: int, same: bool = False) -> Paired:
    differences = [1.0] * better + [-1.0] * worse + [0.0] * equal
    return compare([Pair(str(k), d, same) for k, d in enumerate(differences)], 0.05)


GAIN, LOSS, TIE, KEPT = paired(40, 2, 40), paired(2, 40, 40), paired(10, 10, 100), paired(1, 1, 300)
IDENTICAL = paired(0, 0, 200, same=True)
NONE = compare([], 0.05)


def subjects(
    up: tuple[int, int], n: tuple[int, int], latency: tuple[float, float] = (1.0, 1.0), rated: bool = True
) -> Findings:
    """An experiment of n subjects an arm, of whom `up` are content, at two latencies."""
    exposures = []
    for arm in (0, 1):
        for k in range(n[arm]):
            outcomes = {"latency": latency[arm] * (1 + 0.1 * (k % 2))}
            if rated:
                outcomes["thumbs"] = float(k < up[arm])
            exposures.append(Exposure(Subject(f"{arm}-{k}"), bool(arm), 0.5, outcomes))
    return examine(exposures, 0.5, EXPERIMENT)


WIN, LOSE, EQUAL = subjects((30, 80), (100, 100)), subjects((80, 30), (100, 100)), subjects((60, 60), (100, 100))
SILENT, ONE, SLOW = (
    subjects((0, 0), (100, 100), rated=False),
    subjects((0, 1), (0, 1)),
    subjects((30, 80), (100, 100), (1.0, 2.0)),
)
SHADOWED = Shadow(answered=200, failed=0, dropped=10, same=20, old_skills=KEPT)


def offline(
    held_out: Paired | None, old: Paired | None = KEPT, since: int = FRESH, controls: Sequence[Reason] = ()
) -> Decision:
    return gate.candidate(Offline(held_out, old, controls), since, POLICY, NOW)


def shadow(evidence: Shadow, since: int = FRESH, policy: GatePolicy = POLICY) -> Decision:
    return gate.shadow(evidence, since, policy, NOW)


def ab(findings: Findings, since: int = FRESH, split_since: int | None = FRESH) -> Decision:
    return gate.ab(findings, since, split_since, POLICY, NOW)


@pytest.mark.parametrize(
    ("decision", "ruling", "words"),
    [
        (offline(GAIN), Ruling.ADVANCE, "advance to shadow: held-out rows: better by +0.463"),
        (offline(LOSS), Ruling.REJECT, "rejected: held-out rows: worse by -0.463"),
        (offline(GAIN, LOSS), Ruling.REJECT, "old skills: worse by"),
        (offline(GAIN, TIE), Ruling.HOLD, "old skills: a loss beyond 0.05 is not ruled out"),
        (offline(TIE), Ruling.HOLD, "held-out rows: no improvement shown: +0.000"),
        (offline(paired(20, 0, 5)), Ruling.HOLD, "held-out rows: 25 of 30 pairs"),
        (offline(GAIN, None), Ruling.HOLD, "old skills: 0 of 30 pairs"),
        (offline(None, None), Ruling.HOLD, "held-out rows: 0 of 30 pairs; old skills: 0 of 30 pairs"),
        (offline(GAIN, controls=[LEAK]), Ruling.REJECT, "rejected: leak: 12 held-out rows"),
        (offline(GAIN, controls=[replace(LEAK, ruling=Ruling.HOLD)]), Ruling.HOLD, "hold: leak"),
        (shadow(SHADOWED), Ruling.ADVANCE, "advance to ab: shadow coverage: 200 pairs, 95% of the mirrored calls"),
        (shadow(replace(SHADOWED, answered=12, same=0)), Ruling.HOLD, "shadow coverage: 12 of 50 pairs"),
        (shadow(replace(SHADOWED, dropped=900)), Ruling.HOLD, "only 18% of the mirrored calls came back"),
        (shadow(Shadow(0, 60, 0, 0, None)), Ruling.REJECT, "candidate failures: 60 of 60 calls failed"),
        (shadow(replace(SHADOWED, old_skills=None)), Ruling.HOLD, "old skills: 0 of 50 pairs"),
        (shadow(replace(SHADOWED, old_skills=LOSS)), Ruling.REJECT, "old skills: worse by -0.463"),
        (shadow(replace(SHADOWED, references=LOSS)), Ruling.REJECT, "references: worse by"),
        (shadow(replace(SHADOWED, preferences=LOSS)), Ruling.REJECT, "blind preferences: worse by"),
        (shadow(replace(SHADOWED, references=NONE)), Ruling.ADVANCE, "advance to ab"),
        (ab(WIN), Ruling.ADVANCE, "thumbs: better by +0.500"),
        (ab(LOSE), Ruling.REJECT, "rejected: thumbs: worse by -0.500"),
        (ab(EQUAL), Ruling.HOLD, "thumbs: no difference shown: +0.000"),
        (ab(SLOW), Ruling.REJECT, "rejected: guardrail latency: harmed by +1.000"),
        (ab(subjects((15, 40), (49, 51))), Ruling.HOLD, "thumbs: Too few subjects with thumbs: 49 with the champion"),
        (ab(WIN, split_since=NOW - HOUR), Ruling.HOLD, "time at the final split: 1 of 24 h"),
        (ab(WIN, split_since=None), Ruling.HOLD, "time at the final split: 0 of 24 h"),
        (ab(subjects((120, 160), (400, 200))), Ruling.HOLD, "not the stated split"),
    ],
)  # fmt: skip
def test_each_piece_of_evidence_has_its_ruling_and_its_reason(decision: Decision, ruling: Ruling, words: str) -> None:
    assert decision.ruling is ruling
    assert words in decision.says


@pytest.mark.parametrize(
    "decide",
    [
        lambda since: offline(None, None, since),
        lambda since: shadow(Shadow(0, 0, 0, 0, None), since),
        lambda since: shadow(Shadow(0, 0, 0, 0, None), since, REVIEW),
        lambda since: ab(examine([], 0.5, EXPERIMENT), since, since),
        lambda since: ab(SILENT, since, since),
        lambda since: ab(ONE, since, since),
        lambda since: offline(IDENTICAL, IDENTICAL, since),
        lambda since: shadow(replace(SHADOWED, same=200, old_skills=IDENTICAL), since),
        lambda since: ab(EQUAL, since, since),
    ],
    ids=["no evaluation", "no mirror", "no review", "no subject", "no feedback", "one user", *["identical"] * 3],
)
def test_silence_and_sameness_hold_and_end_at_the_deadline(decide: Callable[[int], Decision]) -> None:
    assert decide(FRESH).ruling is Ruling.HOLD
    assert decide(FRESH).target is None
    assert decide(LATE + 1).ruling is Ruling.HOLD
    ended = decide(LATE)
    assert (ended.ruling, ended.target) == (Ruling.REJECT, Stage.REJECTED)
    assert ended.says.startswith("rejected: inconclusive: ")
    assert ended.says.endswith("(held for 168 h)")


def test_good_evidence_advances_even_at_the_deadline_and_harm_is_no_inconclusive_end() -> None:
    assert ab(WIN, LATE, LATE).ruling is Ruling.ADVANCE
    assert ab(LOSE, LATE, LATE).says.startswith("rejected: thumbs: worse")


def test_harm_rejects_whatever_else_still_waits() -> None:
    waiting = ab(subjects((0, 0), (40, 40), (1.0, 3.0), rated=False), split_since=None)
    assert waiting.ruling is Ruling.REJECT
    assert "guardrail latency" in waiting.says


def test_a_guardrail_that_measured_nothing_is_not_good() -> None:
    blind = examine(
        [Exposure(Subject(str(k)), k % 2 == 1, 0.5, {"thumbs": float(k % 2)}) for k in range(200)], 0.5, EXPERIMENT
    )
    assert ab(blind).ruling is Ruling.HOLD
    assert "guardrail latency: too few subjects: 0" in ab(blind).says


def test_old_skills_may_stay_unmeasured_live_and_say_so_while_harm_to_them_still_rejects() -> None:
    policy = ExperimentPolicy(guardrails=[g for g in ExperimentPolicy().guardrails if g.metric == "old_skills"])

    def judged(kept: tuple[int, int], n: int) -> Decision:
        exposures = [
            Exposure(
                Subject(f"{arm}-{k}"),
                bool(arm),
                0.5,
                {"thumbs": float(k < (30, 80)[arm])} | ({"old_skills": float(k < kept[arm])} if k < n else {}),
            )
            for arm in (0, 1)
            for k in range(100)
        ]
        return ab(examine(exposures, 0.5, policy))

    unmeasured = judged((0, 0), 0)
    assert unmeasured.ruling is Ruling.ADVANCE
    assert "guardrail old_skills: not measured here, too few subjects: 0 with the champion" in unmeasured.says
    assert judged((100, 100), 100).ruling is Ruling.ADVANCE
    assert judged((100, 20), 100).ruling is Ruling.REJECT


def test_references_that_became_less_likely_reject_beyond_the_margin_only() -> None:
    for shift, ruling in ((-0.01, Ruling.ADVANCE), (-0.5, Ruling.REJECT), (0.5, Ruling.ADVANCE)):
        likelihood = compare([Pair(str(k), shift) for k in range(200)], 0.05)
        assert shadow(replace(SHADOWED, likelihood=likelihood)).ruling is ruling


def test_identical_answers_win_nowhere_though_every_other_control_is_content() -> None:
    same = shadow(replace(SHADOWED, same=200))
    assert [r.control for r in same.reasons if r.ruling is not Ruling.ADVANCE] == ["shadow coverage"]
    assert "all 200 answers are the champion's own: nothing to gain" in same.says
    assert "all 200 answers are the champion's own" in offline(IDENTICAL).says


def test_few_users_are_reviewed_and_the_evidence_says_that_no_ab_was_run() -> None:
    liked = replace(SHADOWED, preferences=paired(25, 3, 10))
    assert shadow(liked, policy=REVIEW).target is Stage.AWAITING_APPROVAL
    assert "blind preferences: preferred by" in shadow(liked, policy=REVIEW).says
    assert "no A/B was run" in shadow(liked, policy=REVIEW).says
    for preferences in (None, paired(20, 2, 5), paired(20, 18, 5)):
        assert shadow(replace(SHADOWED, preferences=preferences), policy=REVIEW).ruling is Ruling.HOLD


def test_the_first_step_asks_for_exposure_and_safety_only() -> None:
    assert gate.ramp(subjects((0, 0), (270, 29), rated=False), FRESH, POLICY, NOW).ruling is Ruling.HOLD
    assert gate.ramp(EQUAL, FRESH, POLICY, NOW).ruling is Ruling.ADVANCE
    assert gate.ramp(SLOW, FRESH, POLICY, NOW).ruling is Ruling.REJECT
    assert gate.ramp(subjects((0, 0), (700, 300), rated=False), FRESH, POLICY, NOW).ruling is Ruling.HOLD


def test_only_harm_to_quality_rolls_back() -> None:
    assert gate.hold_back(LOSE).ruling is Ruling.REJECT
    assert gate.hold_back(LOSE).says.startswith("rolled back: thumbs: worse by -0.500")
    broken_split = subjects((350, 30), (400, 200))
    for findings in (WIN, EQUAL, SILENT, ONE, SLOW, broken_split, examine([], 0.5, EXPERIMENT)):
        assert gate.hold_back(findings).ruling is Ruling.HOLD


@pytest.mark.parametrize(
    ("source", "decision"),
    [
        (Stage.CANDIDATE, offline(GAIN)),
        (Stage.CANDIDATE, offline(LOSS)),
        (Stage.SHADOW, shadow(SHADOWED)),
        (Stage.SHADOW, shadow(replace(SHADOWED, preferences=GAIN), policy=REVIEW)),
        (Stage.AB, ab(WIN)),
        (Stage.AB, ab(LOSE)),
        (Stage.CHAMPION, gate.hold_back(LOSE)),
    ],
)
def test_monitoring_may_make_every_move_that_the_gate_asks_for_and_none_makes_a_champion(
    source: Stage, decision: Decision
) -> None:
    assert decision.target is not None and decision.target is not Stage.CHAMPION
    assert can_advance(source, decision.target, Mover.MONITORING)


def test_findings_and_decisions_fit_into_an_evidence_snapshot() -> None:
    snapshot = orjson.loads(orjson.dumps({"findings": asdict(SLOW), "decision": asdict(ab(SLOW))}))
    assert snapshot["decision"]["ruling"] == "reject"
    assert snapshot["findings"]["guardrails"][0]["harm"] == "shown"
