"""The gates before any live comparison: after the run's own evaluation, and after the shadow.

Pure. What shows no change never wins, whatever its figures. The gates of the live comparison are in contest.py. Knows
no rows; the evidence is handed in, complete with what is absent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.lifecycle import Stage
from monitoring.experiments.sequential import betting_interval
from monitoring.gates.ruling import Decision, Reason, Ruling, decide, enough, joined, signed
from monitoring.policy import GatePolicy, Rollout
from monitoring.shadow.controls import Decoy
from monitoring.shadow.judge import Findings
from monitoring.shadow.pairs import Paired


@dataclass(frozen=True, slots=True)
class Offline:
    """A candidate against the champion on held-out rows and on the frozen old skills; None: not evaluated.

    `controls` are findings of others: finite weights, no leak between training and held-out rows, length of answers.
    `decoys` are what the same comparisons make of answers that may not pass.
    """

    held_out: Paired | None
    old_skills: Paired | None
    controls: Sequence[Reason] = ()
    decoys: Sequence[Decoy] = ()


@dataclass(frozen=True, slots=True)
class Shadow:
    """Mirrored calls by what became of them, and paired comparisons over their subjects.

    `same` counts the answers that are the champion's own text. `references` compares with corrections and liked
    answers, `likelihood` by how likely these are, `preferences` by blind reviewers, `judge` by a model; all four may be
    absent.
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
    decoys: Sequence[Decoy] = ()
    judge: Findings | None = None


def candidate(evidence: Offline, since: int, policy: GatePolicy, now: int) -> Decision:
    """From candidate to shadow. `since` is when the candidate entered its stage."""
    reasons = [
        *evidence.controls,
        *_compared(evidence.held_out, evidence.old_skills, policy),
        *_decoys(evidence.decoys, lambda decoy: _compared(decoy.held_out, decoy.old_skills, policy)),
    ]
    return decide(reasons, Stage.SHADOW, since, policy, now)


def shadow(evidence: Shadow, since: int, policy: GatePolicy, now: int) -> Decision:
    """From shadow to the A/B, or under `review` to approval."""
    reasons = [
        *evidence.controls,
        _coverage(evidence, policy),
        *shadow_guards(evidence, policy),
        *_decoys(evidence.decoys, lambda decoy: _stood_in(decoy, evidence, policy)),
    ]
    if policy.rollout is Rollout.REVIEW:
        reasons.append(_preferred(evidence.preferences, policy))
        return decide(reasons, Stage.AWAITING_APPROVAL, since, policy, now)
    reasons += _not_worse("blind preferences", evidence.preferences)
    return decide(reasons, Stage.AB, since, policy, now)


def shadow_guards(evidence: Shadow, policy: GatePolicy) -> Sequence[Reason]:
    """What must go on advancing while a person decides, where no A/B was run."""
    return (
        _failures(evidence, policy),
        _kept("old skills", evidence.old_skills, policy.min_pairs, policy.margin),
        *_not_worse("references", evidence.references),
        *_not_worse("likelihood of references", evidence.likelihood, policy.margin),
        *_judged(evidence.judge),
    )


def _compared(held_out: Paired | None, old_skills: Paired | None, policy: GatePolicy) -> Sequence[Reason]:
    return (
        _improved("held-out rows", held_out, policy),
        _kept("old skills", old_skills, policy.min_held_out, policy.margin),
    )


def _stood_in(decoy: Decoy, evidence: Shadow, policy: GatePolicy) -> Sequence[Reason]:
    """What the shadow would say of a decoy that came back as often as the candidate did."""
    told = Shadow(
        evidence.answered, evidence.failed, evidence.dropped, decoy.same, decoy.old_skills, references=decoy.references
    )
    return (_coverage(told, policy), *shadow_guards(told, policy))


def _decoys(found: Sequence[Decoy], rule: Callable[[Decoy], Sequence[Reason]]) -> Sequence[Reason]:
    """A decoy has to be stopped by the very rules that the candidate is held to."""
    if not found:
        return (Reason("null model", Ruling.HOLD, "nobody tried whether a constant answer passes; run again"),)
    return [_stopped(decoy.name, rule(decoy)) for decoy in found]


def _stopped(name: str, reasons: Sequence[Reason]) -> Reason:
    stopping = [reason for reason in reasons if reason.ruling is not Ruling.ADVANCE]
    if stopping:
        return Reason(name, Ruling.ADVANCE, f"stopped, as it has to be, by {joined(stopping[:1])}")
    return Reason(name, Ruling.HOLD, "it would pass too: what is measured cannot tell an answer from a constant one")


def _judged(found: Findings | None) -> Sequence[Reason]:
    """A judge that may be used is one more harm test; otherwise it only leaves its reason. It never promotes alone.

    Harm has to be there between answers of one length too.
    """
    if found is None:
        return ()
    tried = [Reason(f"judge against {c.name}", Ruling.ADVANCE, c.says) for c in found.controls]
    if not found.usable or found.paired is None:
        return (Reason("judge", Ruling.ADVANCE, f"has no say: {found.reason}"), *tried)
    lost, controlled = found.paired.interval.high < 0, found.length_controlled
    if lost and controlled is not None and controlled.interval.high < 0.5:
        says = f"worse by {_change(found.paired)}; wins {controlled.value:.0%} between answers of one length"
        return (Reason("judge", Ruling.REJECT, says), *tried)
    shows = "shows no harm between answers of one length" if lost else "shows no harm"
    return (Reason("judge", Ruling.ADVANCE, f"{shows}: {_change(found.paired)}; {found.reason}"), *tried)


def _improved(control: str, found: Paired | None, policy: GatePolicy) -> Reason:
    """Shown better, or shown not inferior and better on average: a screen, since superiority is proved on subjects."""
    if found is None or found.units < policy.min_held_out:
        return enough(control, found.units if found else 0, policy.min_held_out, "pairs")
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
        return enough(control, found.units if found else 0, needed, "pairs")
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
        return enough(control, found.units if found else 0, policy.min_preferences, "pairs judged; no A/B is run")
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
        return enough(control, evidence.answered, policy.min_pairs, "pairs")
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


def _change(found: Paired) -> str:
    return f"{signed(found.mean, found.interval)} over {found.units} pairs"
