"""Whether a stream still looks like its reference: change detection with a stated run length between false alarms.

Pure. A watch is a small frozen value that is stored as JSON and continued with the next observations; a new one is made
at every promotion. Numbers are compared by rank, so their law does not matter; shares of yes and no by likelihood. Both
assume exchangeable observations: one a subject or conversation, and a reference that spans whole cycles of the day.
Knows no stream's meaning: whether a change is for the worse, and what follows, is decided in trigger.py.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from math import exp, isfinite, log
from statistics import NormalDist

import numpy as np

from core.stats import wilson
from core.types import JsonObject, Verdict
from monitoring.policy import DriftPolicy
from monitoring.sequential import log_mean_exp

SHIFTS = (-1.0, -0.5, -0.25, 0.25, 0.5, 1.0)
"""The shifts of the mixture, in standard deviations of the reference."""
SHORTEST_RUN = 600
_EXCESS = 2.45
"""How far log run length lies above log threshold. The theorem's lower bound is 0; simulated with standard normal
scores (4,000 to 16,000 alarms each) it is 2.46, 2.49, 2.46, 2.49 at log thresholds 4, 5, 7, 9, and falls below 600."""
_NORMAL = NormalDist()
_TINY = 1e-12
_REFERENCE_LEVEL = 0.9


@dataclass(frozen=True, slots=True)
class Watch:
    """Where the watch over a stream of numbers stands.

    `reference` is sorted; `cusum` and `length` belong to SHIFTS: the log-likelihood ratio since it last was zero, and
    how many observations ago that was. `alarm` is the number of observations tested when it was raised.
    """

    reference: Sequence[float] = ()
    cusum: Sequence[float] = (0.0,) * len(SHIFTS)
    length: Sequence[int] = (0,) * len(SHIFTS)
    tested: int = 0
    alarm: int | None = None


@dataclass(frozen=True, slots=True)
class ShareWatch:
    """Where the watch over a stream of yes and no stands; `good` of `seen` are the reference."""

    good: int = 0
    seen: int = 0
    cusum: float = 0.0
    length: int = 0
    tested: int = 0
    alarm: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What a watch says now. `guaranteed` is the run length that theory gives for the threshold without simulation."""

    verdict: Verdict
    statistic: float
    threshold: float
    guaranteed: float
    count: int
    says: str


def threshold(run_length: float) -> float:
    """The log threshold of a Watch with one false alarm in `run_length` observations on average. Raises ValueError."""
    if run_length < SHORTEST_RUN:
        raise ValueError(f"the run length between false alarms is at least {SHORTEST_RUN}, not {run_length}")
    return log(run_length) - _EXCESS


def observe(watch: Watch, values: Iterable[float], policy: DriftPolicy, rng: np.random.Generator) -> Watch:
    """The watch after these numbers, oldest first. Raises ValueError for one that is not finite.

    The reference takes the first `min_reference` values untested and then, up to `max_reference`, each one after its
    test: only against its own past is a rank uniform. What follows an alarm is neither tested nor taken.
    """
    reference = list(watch.reference)
    for value in values:
        if not isfinite(value):
            raise ValueError(f"a watched value must be a finite number, not {value}")
        if watch.alarm is not None:
            break
        if len(reference) >= policy.min_reference:
            watch = scored(watch, normal_score(reference, value, 1 - rng.random()), threshold(policy.run_length))
        if watch.alarm is None and len(reference) < policy.max_reference:
            insort(reference, value)
    return replace(watch, reference=tuple(reference))


def normal_score(reference: Sequence[float], value: float, uniform: float) -> float:
    """The value's place among the sorted reference as a standard normal score, larger for larger values.

    The smoothed conformal p-value of V. Vovk, A. Gammerman and G. Shafer, Algorithmic learning in a random world
    (2005), with `uniform` in (0, 1] to break ties: exactly uniform when value and reference are exchangeable.
    """
    low, high = bisect_left(reference, value), bisect_right(reference, value)
    p = (len(reference) - high + uniform * (high - low + 1)) / (len(reference) + 1)
    return -_NORMAL.inv_cdf(min(max(p, _TINY), 1 - _TINY))


def scored(watch: Watch, score: float, limit: float) -> Watch:
    """The watch after one normal score: E. S. Page's cumulative sum (Biometrika 41, 1954) for each shift; their mean.

    The mean of the likelihood ratios is an e-detector (J. Shin, A. Ramdas, A. Rinaldo, arXiv 2203.03532): a run without
    change lasts at least exp(limit) observations on average.
    """
    cusum = tuple(max(s, 0.0) + d * score - d * d / 2 for s, d in zip(watch.cusum, SHIFTS, strict=True))
    length = tuple(n + 1 if s > 0 else 1 for s, n in zip(watch.cusum, watch.length, strict=True))
    tested = watch.tested + 1
    alarm = tested if statistic(cusum) >= limit else None
    return replace(watch, cusum=cusum, length=length, tested=tested, alarm=alarm)


def statistic(cusum: Sequence[float]) -> float:
    """The log of the mixture of the restarted likelihood ratios; 0 at rest."""
    return log_mean_exp([max(s, 0.0) for s in cusum])


def finding(watch: Watch, policy: DriftPolicy) -> Finding:
    """The verdict on a stream of numbers."""
    limit = threshold(policy.run_length)
    verdict = _verdict(len(watch.reference), policy.min_reference, watch.alarm)
    best = max(range(len(SHIFTS)), key=lambda k: watch.cusum[k])
    way = "higher" if SHIFTS[best] > 0 else "lower"
    says = _sentence(
        verdict, len(watch.reference), policy.min_reference, f"{way} for about {watch.length[best]} observations"
    )
    return Finding(verdict, statistic(watch.cusum), limit, exp(limit), watch.tested, says)


def observe_share(watch: ShareWatch, values: Iterable[bool], policy: DriftPolicy) -> ShareWatch:
    """The watch after these answers, oldest first (True is good); the first
    `min_share_reference` are the reference.

    A likelihood-ratio cumulative sum for a share that falls. It is tested from the lower end of what the reference
    allows, so that a reference lucky by chance does not alarm by itself.
    """
    limit = log(policy.run_length)
    for good in values:
        if watch.alarm is not None:
            break
        if watch.seen < policy.min_share_reference:
            watch = replace(watch, good=watch.good + good, seen=watch.seen + 1)
            continue
        before, after = _shares(watch, policy)
        ratio = log(after / before) if good else log((1 - after) / (1 - before))
        length = watch.length + 1 if watch.cusum > 0 else 1
        cusum, tested = max(watch.cusum, 0.0) + ratio, watch.tested + 1
        alarm = tested if cusum >= limit else None
        watch = replace(watch, cusum=cusum, length=length, tested=tested, alarm=alarm)
    return watch


def _shares(watch: ShareWatch, policy: DriftPolicy) -> tuple[float, float]:
    """The share before the change, and the lower one after it that the test is sharpest for."""
    before = min(max(wilson(watch.good, watch.seen, _REFERENCE_LEVEL).low, 0.02), 0.999)
    return before, max(min(watch.good / watch.seen - policy.drop, before * 0.9), before / 10)


def share_finding(watch: ShareWatch, policy: DriftPolicy) -> Finding:
    """The verdict on a stream of yes and no."""
    limit = log(policy.run_length)
    verdict = _verdict(watch.seen, policy.min_share_reference, watch.alarm)
    says = _sentence(verdict, watch.seen, policy.min_share_reference, f"lower for about {watch.length} observations")
    return Finding(verdict, max(watch.cusum, 0.0), limit, policy.run_length, watch.tested, says)


def _verdict(reference: int, needed: int, alarm: int | None) -> Verdict:
    if reference < needed:
        return Verdict.WARMING
    return Verdict.OK if alarm is None else Verdict.ALARM


def _sentence(verdict: Verdict, reference: int, needed: int, change: str) -> str:
    if verdict is Verdict.WARMING:
        return f"warming: {reference} of {needed} observations for the reference"
    return change if verdict is Verdict.ALARM else "like the reference"


def restarted(watch: Watch) -> Watch:
    """The same reference, watched anew: for an alarm that a person or a finished run has dealt with."""
    return Watch(reference=watch.reference)


def restarted_share(watch: ShareWatch) -> ShareWatch:
    return ShareWatch(good=watch.good, seen=watch.seen)


def to_json(watch: Watch | ShareWatch) -> JsonObject:
    return {field.name: getattr(watch, field.name) for field in fields(watch)}


def watch_of(stored: JsonObject) -> Watch:
    """The watch that `to_json` stored. Raises TypeError or ValueError for anything else."""
    watch = Watch(**stored)  # type: ignore[arg-type]
    if not len(watch.cusum) == len(watch.length) == len(SHIFTS):
        raise ValueError(f"a stored watch has one sum a shift, {len(SHIFTS)} in all, not {len(watch.cusum)}")
    return replace(watch, reference=tuple(watch.reference), cusum=tuple(watch.cusum), length=tuple(watch.length))


def share_watch_of(stored: JsonObject) -> ShareWatch:
    """The watch that `to_json` stored. Raises TypeError for anything else."""
    return ShareWatch(**stored)  # type: ignore[arg-type]
