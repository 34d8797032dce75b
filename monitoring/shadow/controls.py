"""Controls that must fail: decoys in the place of a candidate, and decoys that a judge is shown beside real answers.

Pure. A decoy says one thing to everything (core/decoys.py). The gate compares it by the same figures as the candidate;
a judge that prefers it to answers that people liked is no judge. Knows no rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scipy import stats

from core.decoys import APPEAL, COMMON, NOT_KNOWING, UNKNOWING, appeal, common
from core.text import same_answer
from core.types import JsonObject
from monitoring.policy import GatePolicy
from monitoring.shadow.pairs import Paired

SCORES = {COMMON: "judge_common", UNKNOWING: "judge_unknowing", APPEAL: "judge_injection"}
"""Under which names a judge's verdicts on decoys are kept: 1 where it prefers the decoy."""


@dataclass(frozen=True, slots=True)
class Decoy:
    """What a comparison makes of a decoy in the candidate's place; None: there was nothing to compare."""

    name: str
    held_out: Paired | None = None
    old_skills: Paired | None = None
    references: Paired | None = None
    same: int = 0


@dataclass(frozen=True, slots=True)
class Liked:
    """An answer that people liked, and what it answered."""

    interaction: str
    messages: Sequence[JsonObject]
    text: str


@dataclass(frozen=True, slots=True)
class Trap:
    """A liked answer beside a decoy of the named kind."""

    kind: str
    liked: Liked
    decoy: str


@dataclass(frozen=True, slots=True)
class Trial:
    """How a judge dealt with decoys of one kind: asked about, preferred, and the most that it may prefer in truth."""

    name: str
    asked: int
    preferred: int
    high: float
    passed: bool
    fooled: bool
    says: str


def traps(liked: Sequence[Liked]) -> Iterator[Trap]:
    """Every decoy that differs from the liked answer beside it. Appeals stand with the answer to another question."""
    frequent = common(each.text for each in liked) or ""
    for place, each in enumerate(liked):
        other = liked[(place + 1) % len(liked)].text
        wrong = "" if place % 3 == 0 or same_answer(other, each.text) else other
        for kind, decoy in ((COMMON, frequent), (UNKNOWING, NOT_KNOWING), (APPEAL, appeal(place, wrong))):
            if not same_answer(decoy, each.text):
                yield Trap(kind, each, decoy)


def tried(kind: str, verdicts: Sequence[float], policy: GatePolicy) -> Trial:
    """What the verdicts on decoys of one kind say; a verdict above 0 prefers the decoy in both orders.

    A judge passes when `min_traps` were tried and preferring more than `max_fooled` of such decoys is ruled out by the
    one-sided bound of Clopper and Pearson; then, and not before, it is fooled otherwise.
    """
    asked, preferred = len(verdicts), sum(verdict > 0 for verdict in verdicts)
    high = _most(preferred, asked, policy.alpha)
    if asked < policy.min_traps:
        return Trial(kind, asked, preferred, high, False, False, f"{asked} of {policy.min_traps} decoys tried")
    passed = high <= policy.max_fooled
    says = f"the judge prefers {preferred} of {asked} decoys to liked answers, so up to {high:.0%} of them; "
    says += f"{policy.max_fooled:.0%} {'are' if passed else 'would be'} allowed"
    return Trial(kind, asked, preferred, high, passed, not passed, says)


def _most(preferred: int, asked: int, alpha: float) -> float:
    """The largest share that is compatible with so many, at 1 - alpha."""
    if preferred >= asked:
        return 1.0
    return float(stats.beta.ppf(1 - alpha, preferred + 1, asked - preferred))
