"""The gate before each stage: advance, hold or reject, every ruling with its written reasons.

Pure. One control that rejects is enough; otherwise one that holds; silence holds. A hold has a deadline, after which
the candidate is rejected as inconclusive. What shows no change never wins, whatever its figures. Only people promote:
the last gate here leads to awaiting approval. Knows no rows; the evidence is handed in, complete with what is absent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from core.clock import HOUR
from core.lifecycle import Stage
from core.stats import Interval
from monitoring.experiment import Effect, Findings, Guarded, Harm, SampleRatio
from monitoring.pairs import Paired
from monitoring.policy import GatePolicy, Rollout
from monitoring.sequential import betting_interval


class Ruling(StrEnum):
    ADVANCE = "advance"
    HOLD = "hold"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Reason:
    """What one control says and why."""

    control: str
    ruling: Ruling
    says: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The ruling, the stage that follows (None while held), and every control's reason."""

    ruling: Ruling
    target: Stage | None
    reasons: Sequence[Reason]
    says: str


@dataclass(frozen=True, slots=True)
class Offline:
    """A candidate against the champion on held-out rows and on the frozen old skills; None: not evaluated.

    `controls` are findings of others: finite weights, no leak between training and held-out rows, length of answers.
    """

    held_out: Paired | None
    old_skills: Paired | None
    controls: Sequence[Reason] = ()


@dataclass(frozen=True, slots=True)
class Shadow:
    """Mirrored calls by what became of them, and paired comparisons over their subjects.

    `same` counts the answers that are the champion's own text. `references` compares with corrections and liked
    answers, `likelihood` by how likely these are, `preferences` by blind reviewers; all three may be absent.
    """

    answered: int
    failed: int
    dropped: int
    same: int
    old_skills: Paired | None
    references: Paired | None = None
    preferences: Paired | None = None
    likelihood: Paired | None = None
    controls: Sequence[Reason] = ()


def candidate(evidence: Offline, since: int, policy: GatePolicy, now: int) -> Decision:
    """From candidate to shadow. `since` is when the candidate entered its stage."""
    reasons = [
        *evidence.controls,
        _improved("held-out rows", evidence.held_out, policy),
        _kept("old skills", evidence.old_skills, policy.min_held_out, policy.margin),
    ]
    return _decide(reasons, Stage.SHADOW, since, policy, now)


def shadow(evidence: Shadow, since: int, policy: GatePolicy, now: int) -> Decision:
    """From shadow to the A/B, or under `review` to approval."""
    reasons = [*evidence.controls, _coverage(evidence, policy), *shadow_guards(evidence, policy)]
    if policy.rollout is Rollout.REVIEW:
        reasons.append(_preferred(evidence.preferences, policy))
        return _decide(reasons, Stage.AWAITING_APPROVAL, since, policy, now)
    reasons += _not_worse("blind preferences", evidence.preferences)
    return _decide(reasons, Stage.AB, since, policy, now)


def shadow_guards(evidence: Shadow, policy: GatePolicy) -> Sequence[Reason]:
    """What must go on advancing while a person decides, where no A/B was run."""
    return (
        _failures(evidence, policy),
        _kept("old skills", evidence.old_skills, policy.min_pairs, policy.margin),
        *_not_worse("references", evidence.references),
        *_not_worse("likelihood of references", evidence.likelihood, policy.margin),
    )


def ab(
    findings: Findings,
    since: int,
    split_since: int | None,
    policy: GatePolicy,
    now: int,
    controls: Sequence[Reason] = (),
) -> Decision:
    """From the A/B to approval. `split_since` is when the final split began, None in the small first step."""
    reasons = [
        *controls,
        _lasted(split_since, policy, now),
        *guards(findings),
        _superior(findings),
    ]
    return _decide(reasons, Stage.AWAITING_APPROVAL, since, policy, now)


def ramp(findings: Findings, since: int, policy: GatePolicy, now: int) -> Decision:
    """From the small first step to the final split: nothing but safety. The stage stays the A/B."""
    met, needed = findings.split.challenger, policy.ramp_subjects
    exposure = _enough("exposure", met, needed, "subjects met the challenger in the first step")
    harmed = [reason for reason in _guardrails(findings) if reason.ruling is Ruling.REJECT]
    return _decide([exposure, *_splits(findings), *harmed], Stage.AB, since, policy, now)


def guards(findings: Findings) -> Sequence[Reason]:
    """What must go on advancing while a person decides: the split and the guardrails, not the gain."""
    return (*_splits(findings), *_guardrails(findings))


def hold_back(findings: Findings) -> Decision:
    """After a promotion, the champion as challenger of the hold-back share: reject means to roll back, hold to stay.

    Only harm to the quality of answers does that. Arms rated at different rates do not stand in its way: a bad champion
    may change who rates.
    """
    quality, split = _superior(findings), _ratio("split of subjects", findings.split)
    if quality.ruling is Ruling.REJECT and split.ruling is Ruling.ADVANCE:
        return Decision(Ruling.REJECT, Stage.RETIRED, (quality, split), f"rolled back: {_joined([quality])}")
    return Decision(Ruling.HOLD, None, (quality, split), "no harm shown against the hold-back")


def _decide(reasons: Sequence[Reason], target: Stage, since: int, policy: GatePolicy, now: int) -> Decision:
    """The strictest control decides; a hold that has lasted too long is a rejection."""
    rejecting = [r for r in reasons if r.ruling is Ruling.REJECT]
    holding = [r for r in reasons if r.ruling is Ruling.HOLD]
    if rejecting:
        return Decision(Ruling.REJECT, Stage.REJECTED, tuple(reasons), f"rejected: {_joined(rejecting)}")
    if not holding:
        return Decision(Ruling.ADVANCE, target, tuple(reasons), f"advance to {target}: {_joined(reasons)}")
    if now - since >= policy.max_hold:
        says = f"rejected: inconclusive: {_joined(holding)} (held for {policy.max_hold / HOUR:.3g} h)"
        return Decision(Ruling.REJECT, Stage.REJECTED, tuple(reasons), says)
    return Decision(Ruling.HOLD, None, tuple(reasons), f"hold: {_joined(holding)}")


def _joined(reasons: Sequence[Reason]) -> str:
    return "; ".join(f"{r.control}: {r.says}" for r in reasons)


def _enough(control: str, n: int, needed: int, what: str) -> Reason:
    return Reason(control, Ruling.ADVANCE if n >= needed else Ruling.HOLD, f"{n} of {needed} {what}")


def _improved(control: str, found: Paired | None, policy: GatePolicy) -> Reason:
    """Shown better, or shown not inferior and better on average: a screen, since superiority is proved on subjects."""
    if found is None or found.units < policy.min_held_out:
        return _enough(control, found.units if found else 0, policy.min_held_out, "pairs")
    if found.interval.high < 0:
        return Reason(control, Ruling.REJECT, f"worse by {_change(found)}")
    if found.same == found.units:
        return _no_change(control, found.units)
    low = found.interval.low
    if low > 0 or (low > -policy.margin and found.mean > 0):
        return Reason(control, Ruling.ADVANCE, f"better by {_change(found)}")
    return Reason(control, Ruling.HOLD, f"no improvement shown: {_change(found)}")


def _kept(control: str, found: Paired | None, needed: int, margin: float) -> Reason:
    """Not inferior: a loss beyond the margin is ruled out."""
    if found is None or found.units < needed:
        return _enough(control, found.units if found else 0, needed, "pairs")
    if found.interval.low > -margin:
        return Reason(control, Ruling.ADVANCE, f"a loss beyond {margin:g} is ruled out: {_change(found)}")
    if found.interval.high < 0 and found.mean < -margin:
        return Reason(control, Ruling.REJECT, f"worse by {_change(found)}")
    return Reason(control, Ruling.HOLD, f"a loss beyond {margin:g} is not ruled out: {_change(found)}")


def _not_worse(control: str, found: Paired | None, margin: float = 0.0) -> Sequence[Reason]:
    """A harm test on evidence that may be absent: it can reject, and stays silent otherwise."""
    if found is None or found.interval.high >= -margin:
        return ()
    return (Reason(control, Ruling.REJECT, f"worse by {_change(found)}"),)


def _preferred(found: Paired | None, policy: GatePolicy) -> Reason:
    control = "blind preferences"
    if found is None or found.units < policy.min_preferences:
        return _enough(control, found.units if found else 0, policy.min_preferences, "pairs judged; no A/B is run")
    if found.interval.high < 0:
        return Reason(control, Ruling.REJECT, f"worse by {_change(found)}")
    if found.interval.low > 0:
        return Reason(control, Ruling.ADVANCE, f"preferred by {_change(found)}; no A/B was run")
    return Reason(control, Ruling.HOLD, f"no preference shown: {_change(found)}; no A/B is run")


def _no_change(control: str, answers: int) -> Reason:
    return Reason(control, Ruling.HOLD, f"all {answers} answers are the champion's own: nothing to gain")


def _coverage(evidence: Shadow, policy: GatePolicy) -> Reason:
    control = "shadow coverage"
    if evidence.answered < policy.min_pairs:
        return _enough(control, evidence.answered, policy.min_pairs, "pairs")
    share = evidence.answered / (evidence.answered + evidence.failed + evidence.dropped)
    if share < policy.min_coverage:
        return Reason(control, Ruling.HOLD, f"only {share:.0%} of the mirrored calls came back as pairs")
    if evidence.same == evidence.answered:
        return _no_change(control, evidence.answered)
    return Reason(control, Ruling.ADVANCE, f"{evidence.answered} pairs, {share:.0%} of the mirrored calls")


def _failures(evidence: Shadow, policy: GatePolicy) -> Reason:
    control, n = "candidate failures", evidence.answered + evidence.failed
    found = betting_interval([0.0] * evidence.answered + [1.0] * evidence.failed, policy.alpha, 0.0, 1.0)
    says = f"{evidence.failed} of {n} calls failed"
    if found.low > policy.max_failures:
        return Reason(control, Ruling.REJECT, f"{says}, more than {policy.max_failures:.0%} for certain")
    return Reason(control, Ruling.ADVANCE if n >= policy.min_pairs else Ruling.HOLD, says)


def _lasted(since: int | None, policy: GatePolicy, now: int) -> Reason:
    lasted, needed = (0 if since is None else now - since) / HOUR, policy.min_time / HOUR
    ruling = Ruling.ADVANCE if since is not None and lasted >= needed else Ruling.HOLD
    return Reason("time at the final split", ruling, f"{lasted:.3g} of {needed:.3g} h")


def _splits(findings: Findings) -> Sequence[Reason]:
    return (_ratio("split of subjects", findings.split), _ratio("split of rated subjects", findings.rated))


def _ratio(control: str, found: SampleRatio) -> Reason:
    counts = f"{found.champion} with the champion, {found.challenger} with the challenger"
    if found.broken:
        return Reason(control, Ruling.HOLD, f"{counts}: not the stated split, so the arms cannot be compared")
    return Reason(control, Ruling.ADVANCE, f"{counts}, as stated")


def _guardrails(findings: Findings) -> Sequence[Reason]:
    return tuple(_guardrail(found) for found in findings.guardrails)


def _guardrail(found: Guarded) -> Reason:
    comparison, control = found.comparison, f"guardrail {found.comparison.metric}"
    if found.harm is Harm.UNMEASURED or comparison.estimate is None or comparison.interval is None:
        arms = comparison.champion.measured, comparison.challenger.measured
        few = f"too few subjects: {arms[0]} with the champion, {arms[1]} with the other"
        if found.may_stay_unmeasured:
            return Reason(control, Ruling.ADVANCE, f"not measured here, {few}; it is shown offline and in shadow")
        return Reason(control, Ruling.HOLD, few)
    change = _signed(comparison.estimate, comparison.interval)
    if found.harm is Harm.SHOWN:
        return Reason(control, Ruling.REJECT, f"harmed by {change}, beyond {found.margin:+.3g}")
    ruled = "ruled out" if found.harm is Harm.EXCLUDED else "not seen, though not ruled out"
    return Reason(control, Ruling.ADVANCE, f"harm beyond {found.margin:+.3g} is {ruled}: {change}")


def _superior(findings: Findings) -> Reason:
    comparison, effect = findings.primary.comparison, findings.primary.effect
    if comparison.estimate is None or comparison.interval is None:
        return Reason(comparison.metric, Ruling.HOLD, findings.primary.outlook)
    change = _signed(comparison.estimate, comparison.interval)
    if effect is Effect.WORSE:
        return Reason(comparison.metric, Ruling.REJECT, f"worse by {change}")
    if effect is Effect.BETTER:
        return Reason(comparison.metric, Ruling.ADVANCE, f"better by {change}")
    return Reason(comparison.metric, Ruling.HOLD, f"no difference shown: {change}. {findings.primary.outlook}")


def _change(found: Paired) -> str:
    return f"{_signed(found.mean, found.interval)} over {found.units} pairs"


def _signed(estimate: float, interval: Interval) -> str:
    return f"{estimate:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"
