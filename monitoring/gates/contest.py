"""The gates of the live comparison: the small first step, the A/B before approval, and the hold-back after it.

Pure. Knows no rows; the findings are handed in, complete with what is absent.
"""

from collections.abc import Sequence

from core.clock import HOUR
from core.lifecycle import Stage
from monitoring.experiments.findings import Effect, Findings, Guarded, Harm, Rating, SampleRatio, Voice
from monitoring.gates.ruling import Decision, Reason, Ruling, decide, enough, joined, signed
from monitoring.policy import GatePolicy

WEEK = 7 * 24 * HOUR


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
    return decide(reasons, Stage.AWAITING_APPROVAL, held_from(since, split_since, policy), policy, now)


def held_from(since: int, split_since: int | None, policy: GatePolicy) -> int:
    """From when on a hold counts towards its deadline: where whole weeks decide, from the end of the first one."""
    return max(since, split_since + WEEK) if policy.whole_weeks and split_since is not None else since


def deciding_until(split_since: int, policy: GatePolicy, now: int) -> int | None:
    """Subjects met from then on do not decide yet: those of a week that is not over, the first one apart."""
    return split_since + max(1, (now - split_since) // WEEK) * WEEK if policy.whole_weeks else None


def ramp(findings: Findings, since: int, policy: GatePolicy, now: int) -> Decision:
    """From the small first step to the final split: nothing but safety. The stage stays the A/B."""
    met, needed = findings.split.challenger, policy.ramp_subjects
    exposure = enough("exposure", met, needed, "subjects met the challenger in the first step")
    harmed = [reason for reason in _guardrails(findings) if reason.ruling is Ruling.REJECT]
    return decide([exposure, *_splits(findings), *harmed], Stage.AB, since, policy, now)


def guards(findings: Findings) -> Sequence[Reason]:
    """What must go on advancing while a person decides: the split and the guardrails, not the gain."""
    return (*_splits(findings), *_guardrails(findings))


def hold_back(findings: Findings) -> Decision:
    """After a promotion, the champion as challenger of the hold-back share: reject means to roll back, hold to stay.

    Only harm to the quality of answers does that. Arms rated at different rates do not stand in its way: a bad champion
    may change who rates.
    """
    quality, split = _superior(findings), _ratio("split of subjects", findings.split)
    if findings.primary.effect is Effect.WORSE and split.ruling is Ruling.ADVANCE:
        return Decision(Ruling.REJECT, Stage.RETIRED, (quality, split), f"rolled back: {joined([quality])}")
    return Decision(Ruling.HOLD, None, (quality, split), "no harm shown against the hold-back")


def _lasted(since: int | None, policy: GatePolicy, now: int) -> Reason:
    shortest = max(policy.min_time, WEEK) if policy.whole_weeks else policy.min_time
    lasted, needed = (0 if since is None else now - since) / HOUR, shortest / HOUR
    ruling = Ruling.ADVANCE if since is not None and lasted >= needed else Ruling.HOLD
    weeks = "; whole weeks decide" if policy.whole_weeks else ""
    return Reason("time at the final split", ruling, f"{lasted:.3g} of {needed:.3g} h{weeks}")


def _splits(findings: Findings) -> Sequence[Reason]:
    return (
        _ratio("split of subjects", findings.split),
        _ratio("split of answered subjects", findings.answered),
        _ratio("split of rated subjects", findings.rated),
        _rating(findings.rating),
    )


def _rating(found: Rating) -> Reason:
    """Who rates is part of what a version changes; if more do, thumbs alone do not say that it is better."""
    control, rates = "rate of rating", f"{_share(found.champion)} with the champion, {_share(found.challenger)}"
    if found.alarm:
        says = f"{rates} with the challenger: not alike (a false alarm is one in {1 / found.alpha:,.0f})"
        return Reason(control, Ruling.HOLD, f"{says}; find out why before believing the thumbs")
    return Reason(control, Ruling.ADVANCE, f"{rates} with the challenger: no difference shown")


def _share(voice: Voice) -> str:
    return "nobody" if voice.rate is None else f"{voice.rated} of {voice.answered} ({voice.rate:.0%})"


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
    change = signed(comparison.estimate, comparison.interval)
    if found.harm is Harm.SHOWN:
        return Reason(control, Ruling.REJECT, f"harmed by {change}, beyond {found.margin:+.3g}")
    ruled = "ruled out" if found.harm is Harm.EXCLUDED else "not seen, though not ruled out"
    return Reason(control, Ruling.ADVANCE, f"harm beyond {found.margin:+.3g} is {ruled}: {change}")


def _superior(findings: Findings) -> Reason:
    comparison, effect = findings.primary.comparison, findings.primary.effect
    if comparison.estimate is None or comparison.interval is None:
        return Reason(comparison.metric, Ruling.HOLD, findings.primary.outlook)
    change = signed(comparison.estimate, comparison.interval)
    if effect is Effect.WORSE:
        return Reason(comparison.metric, Ruling.REJECT, f"worse by {change}")
    if effect is Effect.BETTER:
        return Reason(comparison.metric, Ruling.ADVANCE, f"better by {change}")
    if effect is Effect.INCONCLUSIVE:
        says = f"inconclusive: no difference shown: {change}. {findings.primary.outlook}"
        return Reason(comparison.metric, Ruling.REJECT, says)
    return Reason(comparison.metric, Ruling.HOLD, f"no difference shown: {change}. {findings.primary.outlook}")
