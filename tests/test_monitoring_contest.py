"""The gates of the live comparison: harm rejects, silence holds, a test that has ended ends, and whole weeks decide."""

from dataclasses import asdict, replace

import orjson
import pytest

from core.clock import HOUR
from core.lifecycle import Mover, Stage, can_advance
from core.types import Subject
from monitoring.experiments.experiment import examine
from monitoring.experiments.findings import Exposure, Findings
from monitoring.gates import contest
from monitoring.gates.contest import WEEK
from monitoring.gates.ruling import Decision, Ruling
from monitoring.policy import ExperimentPolicy, GatePolicy, Guardrail, Rule, Scale

POLICY = GatePolicy()
WEEKLY = GatePolicy(whole_weeks=True)
EXPERIMENT = ExperimentPolicy(guardrails=(Guardrail("latency", 0.25, Scale.RATIO),))
BY_LOOKS = replace(EXPERIMENT, rule=Rule.GROUP_SEQUENTIAL, planned=200, looks=4)
NOW = 1_000 * HOUR
FRESH, LATE = NOW - 30 * HOUR, NOW - 7 * 24 * HOUR


def subjects(
    up: tuple[int, int],
    n: tuple[int, int],
    latency: tuple[float, float] = (1.0, 1.0),
    rated: tuple[float, float] = (1.0, 1.0),
    policy: ExperimentPolicy = EXPERIMENT,
) -> Findings:
    """An experiment of n subjects an arm, of whom a share rates and `up` of these are content, at two latencies."""
    exposures = []
    for arm in (0, 1):
        for k in range(n[arm]):
            said = k < rated[arm] * n[arm]
            net = (1.0 if k < up[arm] else -1.0) if said else 0.0
            outcomes = {"latency": latency[arm] * (1 + 0.1 * (k % 2)), "thumbs": net}
            up_down = {"up": max(net, 0.0), "down": max(-net, 0.0)}
            exposures.append(Exposure(Subject(f"{arm}-{k}"), bool(arm), 0.5, outcomes, rated=said, **up_down))
    return examine(exposures, 0.5, policy)


NOBODY = (0.0, 0.0)
WIN, LOSE, EQUAL = subjects((30, 80), (100, 100)), subjects((80, 30), (100, 100)), subjects((60, 60), (100, 100))
SILENT, ONE, SLOW = (
    subjects((0, 0), (100, 100), rated=NOBODY),
    subjects((0, 1), (0, 1)),
    subjects((30, 80), (100, 100), (1.0, 2.0)),
)
FEW = subjects((15, 40), (49, 51))
UNSPLIT, UNHEARD = subjects((120, 160), (400, 200)), subjects((300, 300), (500, 500), rated=(0.8, 0.4))


def ab(
    findings: Findings, since: int = FRESH, split_since: int | None = FRESH, policy: GatePolicy = POLICY
) -> Decision:
    return contest.ab(findings, since, split_since, policy, NOW)


@pytest.mark.parametrize(
    ("decision", "ruling", "words"),
    [
        (ab(WIN), Ruling.ADVANCE, "thumbs: better by +1.000"),
        (ab(LOSE), Ruling.REJECT, "rejected: thumbs: worse by -1.000"),
        (ab(EQUAL), Ruling.HOLD, "thumbs: no difference shown: +0.000"),
        (ab(SLOW), Ruling.REJECT, "rejected: guardrail latency: harmed by +1.000"),
        (ab(FEW), Ruling.HOLD, "thumbs: Too few subjects with thumbs: 49 with the champion"),
        (ab(WIN, split_since=NOW - HOUR), Ruling.HOLD, "time at the final split: 1 of 24 h"),
        (ab(WIN, split_since=None), Ruling.HOLD, "time at the final split: 0 of 24 h"),
        (ab(UNSPLIT), Ruling.HOLD, "not the stated split"),
        (ab(UNHEARD), Ruling.HOLD, "rate of rating: 400 of 500 (80%) with the champion, 200 of 500 (40%) with the"),
        (ab(UNHEARD), Ruling.HOLD, "not alike (a false alarm is one in 1,000)"),
        (ab(WIN), Ruling.ADVANCE, "rate of rating: 100 of 100 (100%) with the champion, 100 of 100 (100%)"),
        (ab(WIN), Ruling.ADVANCE, "split of answered subjects: 100 with the champion, 100 with the challenger"),
    ],
)
def test_each_piece_of_evidence_has_its_ruling_and_its_reason(decision: Decision, ruling: Ruling, words: str) -> None:
    assert decision.ruling is ruling
    assert words in decision.says


@pytest.mark.parametrize(
    "findings",
    [examine([], 0.5, EXPERIMENT), SILENT, ONE, EQUAL, subjects((90, 90), (100, 100), policy=replace(BY_LOOKS))],
    ids=["no subject", "no feedback", "one user", "identical", "all looks at identical arms"],
)
def test_silence_and_sameness_hold_and_end_at_the_deadline(findings: Findings) -> None:
    if findings.primary.rule is Rule.ANYTIME:
        assert (ab(findings).ruling, ab(findings).target) == (Ruling.HOLD, None)
        assert ab(findings, LATE + 1, LATE + 1).ruling is Ruling.HOLD
    ended = ab(findings, LATE, LATE)
    assert (ended.ruling, ended.target) == (Ruling.REJECT, Stage.REJECTED)
    assert "inconclusive: " in ended.says


def test_good_evidence_advances_even_at_the_deadline_and_harm_is_no_inconclusive_end() -> None:
    assert ab(WIN, LATE, LATE).ruling is Ruling.ADVANCE
    assert ab(LOSE, LATE, LATE).says.startswith("rejected: thumbs: worse")


def test_a_test_whose_last_look_showed_nothing_is_rejected_as_inconclusive_and_says_why() -> None:
    ended = ab(subjects((60, 62), (100, 100), policy=BY_LOOKS))
    assert ended.ruling is Ruling.REJECT
    assert ended.says.startswith("rejected: thumbs: inconclusive: no difference shown: +0.040 (")
    assert "The last look, with 200 rated subjects, showed no difference." in ended.says
    assert contest.hold_back(subjects((60, 62), (100, 100), policy=BY_LOOKS)).ruling is Ruling.HOLD


def test_harm_rejects_whatever_else_still_waits() -> None:
    waiting = ab(subjects((0, 0), (40, 40), (1.0, 3.0), NOBODY), split_since=None)
    assert waiting.ruling is Ruling.REJECT
    assert "guardrail latency" in waiting.says
    weekly = ab(subjects((0, 0), (40, 40), (1.0, 3.0), NOBODY), policy=WEEKLY)
    assert weekly.ruling is Ruling.REJECT


def test_a_guardrail_that_measured_nothing_is_not_good() -> None:
    blind = examine(
        [Exposure(Subject(str(k)), k % 2 == 1, 0.5, {"thumbs": 2.0 * (k % 2) - 1}, rated=True) for k in range(200)],
        0.5,
        EXPERIMENT,
    )
    assert ab(blind).ruling is Ruling.HOLD
    assert "guardrail latency: too few subjects: 0" in ab(blind).says


def test_old_skills_may_stay_unmeasured_live_and_say_so_while_harm_to_them_still_rejects() -> None:
    policy = ExperimentPolicy(guardrails=[g for g in ExperimentPolicy().guardrails if g.metric == "old_skills"])

    def judged(kept: tuple[int, int], n: int) -> Decision:
        exposures = []
        for arm in (0, 1):
            for k in range(100):
                skill = {"old_skills": float(k < kept[arm])} if k < n else {}
                outcomes = {"thumbs": 1.0 if k < (30, 80)[arm] else -1.0} | skill
                exposures.append(Exposure(Subject(f"{arm}-{k}"), bool(arm), 0.5, outcomes, rated=True))
        return ab(examine(exposures, 0.5, policy))

    unmeasured = judged((0, 0), 0)
    assert unmeasured.ruling is Ruling.ADVANCE
    assert "guardrail old_skills: not measured here, too few subjects: 0 with the champion" in unmeasured.says
    assert judged((100, 100), 100).ruling is Ruling.ADVANCE
    assert judged((100, 20), 100).ruling is Ruling.REJECT


def test_where_whole_weeks_decide_a_week_is_the_least_and_the_deadline_is_counted_from_its_end() -> None:
    begun = NOW - 8 * 24 * HOUR
    assert ab(WIN, begun, NOW - WEEK + HOUR, WEEKLY).ruling is Ruling.HOLD
    assert "time at the final split: 167 of 168 h; whole weeks decide" in ab(WIN, begun, NOW - WEEK + HOUR, WEEKLY).says
    assert ab(WIN, begun, NOW - WEEK, WEEKLY).ruling is Ruling.ADVANCE
    assert ab(EQUAL, begun, NOW - WEEK, WEEKLY).ruling is Ruling.HOLD
    assert ab(EQUAL, begun, NOW - 2 * WEEK + 1, WEEKLY).ruling is Ruling.HOLD
    assert ab(WIN, begun, NOW - 2 * WEEK, WEEKLY).ruling is Ruling.ADVANCE
    assert "inconclusive" in ab(EQUAL, begun, NOW - 2 * WEEK, WEEKLY).says


@pytest.mark.parametrize(("days", "whole"), [(0, 1), (6.9, 1), (7, 1), (13.9, 1), (14, 2), (22, 3)])
def test_subjects_of_a_week_that_is_not_over_do_not_decide_yet_but_those_of_the_first_one(
    days: float, whole: int
) -> None:
    at = round(NOW + days * 24 * HOUR)
    assert contest.deciding_until(NOW, WEEKLY, at) == NOW + whole * WEEK
    assert contest.deciding_until(NOW, POLICY, at) is None


def test_the_first_step_asks_for_exposure_and_safety_only() -> None:
    assert contest.ramp(subjects((0, 0), (270, 29), rated=NOBODY), FRESH, POLICY, NOW).ruling is Ruling.HOLD
    assert contest.ramp(EQUAL, FRESH, POLICY, NOW).ruling is Ruling.ADVANCE
    assert contest.ramp(SLOW, FRESH, POLICY, NOW).ruling is Ruling.REJECT
    assert contest.ramp(subjects((0, 0), (700, 300), rated=NOBODY), FRESH, POLICY, NOW).ruling is Ruling.HOLD


def test_only_harm_to_quality_rolls_back() -> None:
    assert contest.hold_back(LOSE).ruling is Ruling.REJECT
    assert contest.hold_back(LOSE).says.startswith("rolled back: thumbs: worse by -1.000")
    broken_split = subjects((350, 30), (400, 200))
    for findings in (WIN, EQUAL, SILENT, ONE, SLOW, broken_split, examine([], 0.5, EXPERIMENT)):
        assert contest.hold_back(findings).ruling is Ruling.HOLD


@pytest.mark.parametrize(
    ("source", "decision"),
    [(Stage.AB, ab(WIN)), (Stage.AB, ab(LOSE)), (Stage.CHAMPION, contest.hold_back(LOSE))],
)
def test_monitoring_may_make_every_move_that_the_gates_ask_for_and_none_makes_a_champion(
    source: Stage, decision: Decision
) -> None:
    assert decision.target is not None and decision.target is not Stage.CHAMPION
    assert can_advance(source, decision.target, Mover.MONITORING)


def test_findings_and_decisions_fit_into_an_evidence_snapshot() -> None:
    snapshot = orjson.loads(orjson.dumps({"findings": asdict(SLOW), "decision": asdict(ab(SLOW))}))
    assert snapshot["decision"]["ruling"] == "reject"
    assert snapshot["findings"]["guardrails"][0]["harm"] == "shown"
