"""The gate: silence holds, harm rejects with its reason, what shows no change never wins, and a hold ends."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from core.clock import HOUR
from core.decoys import APPEAL, COMMON, UNKNOWING
from core.lifecycle import Mover, Stage, can_advance
from core.stats import Interval
from monitoring.gates import gate
from monitoring.gates.gate import Offline, Shadow
from monitoring.gates.ruling import Decision, Reason, Ruling
from monitoring.policy import GatePolicy, Rollout
from monitoring.shadow.controls import Decoy, tried
from monitoring.shadow.judge import Findings, Rate
from monitoring.shadow.pairs import Pair, Paired, compare

POLICY = GatePolicy()
REVIEW = GatePolicy(rollout=Rollout.REVIEW)
NOW = 1_000 * HOUR
FRESH, LATE = NOW - 30 * HOUR, NOW - 7 * 24 * HOUR
LEAK = Reason("leak", Ruling.REJECT, "12 held-out rows are in the training data")


def paired(better: int, worse: int, equal: int, same: bool = False) -> Paired:
    differences = [1.0] * better + [-1.0] * worse + [0.0] * equal
    return compare([Pair(str(k), d, same) for k, d in enumerate(differences)], 0.05)


GAIN, LOSS, TIE, KEPT = paired(40, 2, 40), paired(2, 40, 40), paired(10, 10, 100), paired(1, 1, 300)
IDENTICAL = paired(0, 0, 200, same=True)
NONE = compare([], 0.05)
DECOYS = [Decoy(name, held_out=TIE, old_skills=LOSS) for name in (COMMON, UNKNOWING, APPEAL)]
SHADOWED = Shadow(answered=200, failed=0, dropped=10, same=20, old_skills=KEPT, decoys=DECOYS)


def offline(
    held_out: Paired | None, old: Paired | None = KEPT, since: int = FRESH, controls: Sequence[Reason] = ()
) -> Decision:
    return gate.candidate(Offline(held_out, old, controls, DECOYS), since, POLICY, NOW)


def shadow(evidence: Shadow, since: int = FRESH, policy: GatePolicy = POLICY) -> Decision:
    return gate.shadow(evidence, since, policy, NOW)


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
        lambda since: offline(IDENTICAL, IDENTICAL, since),
        lambda since: shadow(replace(SHADOWED, same=200, old_skills=IDENTICAL), since),
    ],
    ids=["no evaluation", "no mirror", "no review", *["identical"] * 2],
)
def test_silence_and_sameness_hold_and_end_at_the_deadline(decide: Callable[[int], Decision]) -> None:
    assert decide(FRESH).ruling is Ruling.HOLD
    assert decide(FRESH).target is None
    assert decide(LATE + 1).ruling is Ruling.HOLD
    ended = decide(LATE)
    assert (ended.ruling, ended.target) == (Ruling.REJECT, Stage.REJECTED)
    assert ended.says.startswith("rejected: inconclusive: ")
    assert ended.says.endswith("(held for 168 h)")


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


@pytest.mark.parametrize(
    ("source", "decision"),
    [
        (Stage.CANDIDATE, offline(GAIN)),
        (Stage.CANDIDATE, offline(LOSS)),
        (Stage.SHADOW, shadow(SHADOWED)),
        (Stage.SHADOW, shadow(replace(SHADOWED, preferences=GAIN), policy=REVIEW)),
    ],
)
def test_monitoring_may_make_every_move_that_the_gate_asks_for_and_none_makes_a_champion(
    source: Stage, decision: Decision
) -> None:
    assert decision.target is not None and decision.target is not Stage.CHAMPION
    assert can_advance(source, decision.target, Mover.MONITORING)


def test_what_nobody_tried_on_decoys_holds() -> None:
    held = gate.candidate(Offline(GAIN, KEPT), FRESH, POLICY, NOW)
    assert held.ruling is Ruling.HOLD and "nobody tried whether a constant answer passes" in held.says
    assert shadow(replace(SHADOWED, decoys=())).ruling is Ruling.HOLD


def test_a_decoy_that_would_pass_holds_whatever_the_candidate_shows() -> None:
    loose = [*DECOYS[:1], Decoy(UNKNOWING, GAIN, KEPT), *DECOYS[2:]]
    words = "null model (not knowing): it would pass too: what is measured cannot tell an answer from a constant one"
    held = gate.candidate(Offline(GAIN, KEPT, (), loose), FRESH, POLICY, NOW)
    assert (held.ruling, held.says) == (Ruling.HOLD, f"hold: {words}")
    assert shadow(replace(SHADOWED, decoys=loose)).says == f"hold: {words}"
    assert gate.candidate(Offline(LOSS, KEPT, (), loose), FRESH, POLICY, NOW).ruling is Ruling.REJECT


def test_decoys_leave_the_reason_why_they_were_stopped_in_both_gates() -> None:
    for decision in (offline(GAIN), shadow(SHADOWED)):
        said = {reason.control: reason.says for reason in decision.reasons if reason.ruling is Ruling.ADVANCE}
        assert set(said) >= {COMMON, UNKNOWING, APPEAL}
        assert all(said[name].startswith("stopped, as it has to be, by ") for name in (COMMON, UNKNOWING, APPEAL))
    assert "stopped, as it has to be, by old skills: worse by -0.463" in shadow(SHADOWED).says


def heard(paired: Paired, rate: tuple[float, float, float], usable: bool = True) -> Findings:
    controls = [tried(APPEAL, [-1.0] * 60, POLICY)]
    found = Rate(rate[1], Interval(rate[0], rate[2]))
    return Findings("m", usable, "as tried", paired=paired, length_controlled=found, controls=controls)


@pytest.mark.parametrize(
    ("found", "ruling", "words"),
    [
        (heard(LOSS, (0.1, 0.2, 0.3)), Ruling.REJECT, "judge: worse by -0.463"),
        (heard(LOSS, (0.3, 0.45, 0.6)), Ruling.ADVANCE, "judge: shows no harm between answers of one length: -0.463"),
        (heard(LOSS, (0.1, 0.2, 0.3), usable=False), Ruling.ADVANCE, "judge: has no say: as tried"),
        (heard(GAIN, (0.7, 0.8, 0.9)), Ruling.ADVANCE, "judge: shows no harm: +0.463"),
        (Findings(None, False, "there is none"), Ruling.ADVANCE, "judge: has no say: there is none"),
    ],
)
def test_a_judge_is_one_more_harm_test(found: Findings, ruling: Ruling, words: str) -> None:
    decision = shadow(replace(SHADOWED, judge=found))
    assert decision.ruling is ruling
    assert words in decision.says


def test_a_judge_never_promotes_alone() -> None:
    praised = heard(GAIN, (0.7, 0.8, 0.9))
    for evidence in (replace(SHADOWED, old_skills=None), replace(SHADOWED, answered=12), replace(SHADOWED, same=200)):
        assert shadow(replace(evidence, judge=praised)).ruling is Ruling.HOLD
    assert shadow(replace(SHADOWED, judge=praised), policy=REVIEW).ruling is Ruling.HOLD


def test_the_trials_of_a_judge_are_among_the_reasons() -> None:
    decision = shadow(replace(SHADOWED, judge=heard(TIE, (0.4, 0.5, 0.6))))
    said = {reason.control: reason.says for reason in decision.reasons}
    assert said["judge against injection set"].startswith("the judge prefers 0 of 60 decoys to liked answers")
