"""Two versions on the same questions: how much better the candidate's answers are than the champion's, at any look.

Pure. A unit is what was drawn by itself (a subject, a conversation, a test row): pairs of one unit count as one, so
that a talkative user is one voice. Differences lie between -1 and 1, above 0 where the candidate is better; where they
come from (reference, likelihood, blind preference) is not known here.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

from core.stats import Interval
from monitoring.experiments.sequential import betting_interval

_BISECTIONS = 50


@dataclass(frozen=True, slots=True)
class Pair:
    """One question answered by both. `same` says that the two answers are the same text."""

    unit: str
    difference: float
    same: bool = False


@dataclass(frozen=True, slots=True)
class Paired:
    """Units by who is ahead, the mean difference and its confidence sequence; `same` units have no answer changed."""

    units: int
    better: int
    worse: int
    same: int
    mean: float
    interval: Interval


def compare(pairs: Iterable[Pair], alpha: float, *, once: bool = False) -> Paired:
    """The comparison over units, valid however often it is made while pairs come in.

    `once` is for a set of fixed size that is judged a single time: only who is ahead counts then, and the interval is
    narrower. Raises ValueError for a difference outside -1 to 1.
    """
    units: defaultdict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        units[pair.unit].append(pair)
    means = [sum(p.difference for p in group) / len(group) for group in units.values()]
    interval = betting_interval(means, alpha)
    better, worse = sum(mean > 0 for mean in means), sum(mean < 0 for mean in means)
    same = sum(all(p.same for p in group) for group in units.values())
    mean = sum(means) / len(means) if means else 0.0
    if once and means:
        mean, interval = (better - worse) / len(means), score_interval(better, worse, len(means), alpha)
    return Paired(len(means), better, worse, same, mean, interval)


def score_interval(better: int, worse: int, n: int, alpha: float) -> Interval:
    """The interval for the share better less the share worse among `n` pairs, at one look.

    T. Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample design,
    Statistics in Medicine 17 (1998): it inverts the score test, so that it holds its level with few changes or none.
    """
    z = NormalDist().inv_cdf(1 - alpha / 2)
    return Interval(_lowest(better, worse, n, z), -_lowest(worse, better, n, z))


def _lowest(better: int, worse: int, n: int, z: float) -> float:
    """The smallest difference that the score test at `z` does not reject."""
    low, high = -1.0, (better - worse) / n
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        # The likeliest share worse, were `middle` the true difference.
        slope = (2 * n - better + worse) * middle - better - worse
        share = (sqrt(max(slope**2 + 8 * n * worse * middle * (1 - middle), 0.0)) - slope) / (4 * n)
        spread = max(n * (2 * share + middle * (1 - middle)), 0.0)
        rejected = better - worse - n * middle > z * sqrt(spread)
        low, high = (middle, high) if rejected else (low, middle)
    return low
