"""A judge of answers, what it says of pairs asked in both orders, and when what it says may be used.

A version is ahead in a pair only where both orders name it. A judge that leans on the place of an answer, that names
too few winners, or that prefers no answer to a real one has no say: that is not a tie. Knows no rows; who judges is
behind `Judge`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, inf, sqrt
from statistics import NormalDist
from typing import Protocol

import numpy as np

from core.stats import Interval
from core.types import JsonObject
from monitoring.policy import GatePolicy
from monitoring.shadow.controls import Trial
from monitoring.shadow.pairs import Pair, Paired, compare
from monitoring.shadow.predictions import Combined

_LENIENCE = 2.0
"""Prior spread of the effect of length, in logits where an answer is e times as long: where all differences are alike,
what they did stays in doubt."""
_STEPS = 50


class Choice(StrEnum):
    """Which of two answers helps more, by the place where it was shown."""

    FIRST = "first"
    SECOND = "second"
    NEITHER = "neither"


class Judge(Protocol):
    """Compares and rates answers. Raises HoneError when it does not work just now."""

    @property
    def name(self) -> str:
        """Under which its words are kept, at most 64 characters."""
        ...

    async def compare(self, messages: Sequence[JsonObject], a: str, b: str) -> Choice:
        """The better one of two answers, `a` shown first; what cannot be understood is `neither`."""
        ...

    async def rate(self, messages: Sequence[JsonObject], answer: str) -> float | None:
        """How good one answer is, 0..1; None where that cannot be understood."""
        ...


@dataclass(frozen=True, slots=True)
class Ballot:
    """A pair asked in both orders: 1 for the candidate, -1 for the champion, 0 for neither or both.

    `first` is the share of the two orders in which the answer shown first was named, a `neither` counting half. Both
    numbers together tell all nine outcomes apart, as far as anything here depends on them.
    """

    verdict: int
    first: float


@dataclass(frozen=True, slots=True)
class Judged:
    """The ballot on one pair of a subject; `longer` is the logarithm of how many times as long the candidate's is.

    `steady` says whether the verdict was the same when asked once more; None: it was not.
    """

    unit: str
    ballot: Ballot
    longer: float | None = None
    steady: bool | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """A share 0..1 and its interval."""

    value: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Findings:
    """What a judge says of a candidate, and whether that may be used.

    Ties were asked about, `same` answers are the champion's own and were not. `paired` is over subjects with both;
    `length_controlled` is the rate of wins between answers of one length, ties counting half. `combined` joins the
    few words of reviewers with the many of the judge. `stability` is the share of verdicts that were the same again.
    """

    source: str | None
    usable: bool
    reason: str
    wins: int = 0
    losses: int = 0
    ties: int = 0
    same: int = 0
    consistency: float | None = None
    first_pick: float | None = None
    stability: float | None = None
    paired: Paired | None = None
    length_controlled: Rate | None = None
    controls: Sequence[Trial] = ()
    combined: Combined | None = None


async def poll(judge: Judge, messages: Sequence[JsonObject], champion: str, candidate: str) -> Ballot:
    """Ask about a pair in both orders. Raises what the judge raises."""
    return ballot(
        await judge.compare(messages, champion, candidate), await judge.compare(messages, candidate, champion)
    )


def ballot(forward: Choice, backward: Choice) -> Ballot:
    """The ballot of two orders; forward shows the champion first."""
    both = Counter((forward, backward))
    first = (both[Choice.FIRST] + 0.5 * both[Choice.NEITHER]) / 2
    match forward, backward:
        case Choice.SECOND, Choice.FIRST:
            return Ballot(1, first)
        case Choice.FIRST, Choice.SECOND:
            return Ballot(-1, first)
    return Ballot(0, first)


def examine(
    source: str,
    judged: Sequence[Judged],
    same: Sequence[Pair],
    controls: Sequence[Trial],
    policy: GatePolicy,
    combined: Combined | None = None,
) -> Findings:
    """What follows from all ballots so far; `same` are the pairs that were not asked about."""
    counts = Counter(each.ballot.verdict for each in judged)
    steady = [each.steady for each in judged if each.steady is not None]
    pairs = [*(Pair(each.unit, float(each.ballot.verdict)) for each in judged), *same]
    usable, reason = _standing(judged, controls, policy)
    return Findings(
        source,
        usable,
        reason,
        wins=counts[1],
        losses=counts[-1],
        ties=counts[0],
        same=len(same),
        consistency=_consistency(judged),
        first_pick=_first_pick(judged),
        stability=sum(steady) / len(steady) if steady else None,
        paired=compare(pairs, policy.alpha),
        length_controlled=length_controlled(judged, policy.alpha),
        controls=controls,
        combined=combined,
    )


def _standing(judged: Sequence[Judged], controls: Sequence[Trial], policy: GatePolicy) -> tuple[bool, str]:
    """Whether the judge may be used, and why."""
    for control in controls:
        if control.fooled:
            return False, f"not usable: {control.name}: {control.says}"
    picking, decisive = sum(map(_picked, judged)), sum(each.ballot.verdict != 0 for each in judged)
    if picking >= policy.min_decisive and (fault := _fault(judged, policy)):
        return False, f"not usable: {fault}"
    if decisive < policy.min_decisive:
        return False, f"insufficient: {decisive} of {policy.min_decisive} pairs decided by both orders"
    if waiting := [f"{control.name}: {control.says}" for control in controls if not control.passed]:
        return False, f"insufficient: {'; '.join(waiting)}"
    if not controls:
        return False, "insufficient: no decoy was tried"
    return True, f"usable: {decisive} pairs decided by both orders"


def _fault(judged: Sequence[Judged], policy: GatePolicy) -> str | None:
    consistency, first_pick = _consistency(judged), _first_pick(judged)
    low, high = policy.first_pick
    if consistency is not None and consistency < policy.min_consistency:
        return f"only {consistency:.0%} of its winners are the same in both orders"
    if first_pick is not None and not low <= first_pick <= high:
        return f"it names the answer shown first in {first_pick:.0%} of its choices"
    return None


def _consistency(judged: Sequence[Judged]) -> float | None:
    """Of the pairs in which any order named a winner, the share in which both named the same.

    Pairs without a winner in either order do not count, lest a judge of few words look steady.
    """
    picking = sum(map(_picked, judged))
    return sum(each.ballot.verdict != 0 for each in judged) / picking if picking else None


def _first_pick(judged: Sequence[Judged]) -> float | None:
    """Of all winners named, in either order, the share that was shown first."""
    named = first = 0.0
    for each in judged:
        # A quarter away from the middle is one order's choice beside a `neither`, a half is both orders' choices.
        choices = 2 if each.ballot.verdict else round(4 * abs(each.ballot.first - 0.5))
        named += choices
        first += 2 * each.ballot.first - (2 - choices) / 2
    return first / named if named else None


def _picked(each: Judged) -> bool:
    return each.ballot.verdict != 0 or each.ballot.first != 0.5


def length_controlled(judged: Sequence[Judged], alpha: float) -> Rate | None:
    """The candidate's rate of wins between answers of one length, and its interval at one look.

    After Y. Dubois et al., Length-controlled AlpacaEval (arXiv 2404.04475): a logistic regression of the verdict on the
    difference in length, squashed by tanh, read off at no difference. Here that is the logarithm of a ratio, so that
    its scale does not depend on the answers, each subject weighs as one, and the slope has a normal prior, so that
    where all differences are alike the doubt is in the interval. None without lengths.
    """
    known = [(each, each.longer) for each in judged if each.longer is not None]
    if not known:
        return None
    x = np.tanh([longer for _, longer in known])
    units = Counter(each.unit for each, _ in known)
    weight = np.array([1 / units[each.unit] for each, _ in known])
    y = np.array([(each.ballot.verdict + 1) / 2 for each, _ in known])
    middle, spread = _intercept(x, y, weight)
    reach = NormalDist().inv_cdf(1 - alpha / 2) * spread
    return Rate(_logistic(middle), Interval(_logistic(middle - reach), _logistic(middle + reach)))


def _intercept(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """The intercept of a logistic regression and its standard error, by Newton's method."""
    design = np.column_stack([np.ones_like(x), x])
    # Half a win and half a loss at no difference keep the intercept finite where one side wins everything.
    design, y = np.vstack([design, [1.0, 0.0]]), np.append(y, 0.5)
    weight, prior = np.append(weight, 1.0), np.diag([0.0, 1 / _LENIENCE**2])
    at, curvature = np.zeros(2), np.eye(2)
    for _ in range(_STEPS):
        share = 1 / (1 + np.exp(-np.clip(design @ at, -30, 30)))
        curvature = (design * (weight * share * (1 - share))[:, None]).T @ design + prior
        step = np.linalg.solve(curvature, design.T @ (weight * (y - share)) - prior @ at)
        at = at + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-9:
            break
    return float(at[0]), sqrt(float(np.linalg.inv(curvature)[0, 0]))


def _logistic(value: float) -> float:
    return 0.0 if value == -inf else 1 / (1 + exp(-value))
