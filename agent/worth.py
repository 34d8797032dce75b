"""What makes an answer worth a reviewer's time, and the draw among those that no reviewer has seen.

Every answer can be drawn, none more than ten times as likely as another, so that a draw weighed by one over its
probability speaks for all of them. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

from core.asking import Unreviewed


class Reason(StrEnum):
    """What speaks most for an answer."""

    DISAGREEMENT = "disagreement"
    UNCERTAIN = "uncertain"
    DRIFT = "drift"
    RANDOM = "random"


WORTH = {Reason.DISAGREEMENT: 4.0, Reason.UNCERTAIN: 3.0, Reason.DRIFT: 2.0, Reason.RANDOM: 1.0}
"""In the order in which the leading reason is looked for; everything that applies is added up."""
TAIL = 0.1
"""The share of the scored answers that counts as uncertain."""
MIN_SCORED = 20
"""Below it there is no tail to speak of."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """An answer with the probability that it had among all that could have been drawn."""

    answer: str
    propensity: float
    reason: Reason


def draw(answers: Sequence[Unreviewed], drift_since: int | None, place: float) -> Drawn | None:
    """One of the answers; `place` is uniform on [0, 1), `drift_since` when what is in alarm began, in microseconds."""
    if not answers:
        return None
    bound = _bound([answer.score for answer in answers if answer.score is not None])
    reasons = [_reasons(answer, bound, drift_since) for answer in answers]
    ends = list(accumulate(sum(WORTH[reason] for reason in found) for found in reasons))
    chosen = next((n for n, end in enumerate(ends) if place * ends[-1] < end), len(ends) - 1)
    worth = ends[chosen] - (ends[chosen - 1] if chosen else 0.0)
    return Drawn(answers[chosen].id, worth / ends[-1], reasons[chosen][0])


def _reasons(answer: Unreviewed, bound: float, drift_since: int | None) -> Sequence[Reason]:
    """All that speaks for an answer, what weighs most first."""
    applies = {
        Reason.DISAGREEMENT: answer.contradicted,
        Reason.UNCERTAIN: answer.score is not None and answer.score < bound,
        Reason.DRIFT: drift_since is not None and answer.created_at >= drift_since,
        Reason.RANDOM: True,
    }
    return [reason for reason in WORTH if applies[reason]]


def _bound(scores: Sequence[float]) -> float:
    """The score below which the tail lies."""
    if len(scores) < MIN_SCORED:
        return float("-inf")
    return sorted(scores)[int(TAIL * len(scores))]
