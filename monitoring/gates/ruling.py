"""Rulings on a candidate: advance, hold or reject, with every control's written reason; how controls make a decision.

Pure. One control that rejects is enough; otherwise one that holds; silence holds. A hold has a deadline, after which
the candidate is rejected as inconclusive.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from core.clock import HOUR
from core.lifecycle import Stage
from core.stats import Interval
from monitoring.policy import GatePolicy


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


def decide(reasons: Sequence[Reason], target: Stage, since: int, policy: GatePolicy, now: int) -> Decision:
    """The strictest control decides; a hold that has lasted too long is a rejection."""
    rejecting = [r for r in reasons if r.ruling is Ruling.REJECT]
    holding = [r for r in reasons if r.ruling is Ruling.HOLD]
    if rejecting:
        return Decision(Ruling.REJECT, Stage.REJECTED, tuple(reasons), f"rejected: {joined(rejecting)}")
    if not holding:
        return Decision(Ruling.ADVANCE, target, tuple(reasons), f"advance to {target}: {joined(reasons)}")
    if now - since >= policy.max_hold:
        says = f"rejected: inconclusive: {joined(holding)} (held for {policy.max_hold / HOUR:.3g} h)"
        return Decision(Ruling.REJECT, Stage.REJECTED, tuple(reasons), says)
    return Decision(Ruling.HOLD, None, tuple(reasons), f"hold: {joined(holding)}")


def joined(reasons: Sequence[Reason]) -> str:
    """What these controls say, in one line."""
    return "; ".join(f"{r.control}: {r.says}" for r in reasons)


def enough(control: str, n: int, needed: int, what: str) -> Reason:
    """A control that holds until `n` has reached `needed`."""
    return Reason(control, Ruling.ADVANCE if n >= needed else Ruling.HOLD, f"{n} of {needed} {what}")


def signed(estimate: float, interval: Interval) -> str:
    """A change and its interval as text."""
    return f"{estimate:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"
