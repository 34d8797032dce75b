"""Whether a share of yes has fallen below that of the reference: one observation a subject, each yes or no.

Pure. E. S. Page's cumulative sum (Biometrika 41, 1954) of likelihood ratios of two Bernoulli laws. While nothing
changes an alarm comes once in `run_length` observations on average at most, whatever the share. Knows no stream.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from math import log

import numpy as np
from numpy.typing import NDArray

from core.stats import wilson
from core.types import JsonObject
from monitoring.drift.detection import Finding, sentence, verdict
from monitoring.policy import DriftPolicy

_REFERENCE_LEVEL = 0.9


@dataclass(frozen=True, slots=True)
class ShareWatch:
    """Where the watch stands; `good` of `seen` are the reference.

    `cusum` is the log-likelihood ratio since it last was zero, `length` observations ago. `alarm` is the number of
    observations tested when it was raised.
    """

    good: int = 0
    seen: int = 0
    cusum: float = 0.0
    length: int = 0
    tested: int = 0
    alarm: int | None = None


def observe(watch: ShareWatch, values: Iterable[bool], policy: DriftPolicy) -> ShareWatch:
    """The watch after these answers, oldest first (True is good); the first `min_share_reference` are the reference."""
    for good in values:
        if watch.alarm is not None:
            break
        if watch.seen < policy.min_share_reference:
            watch = replace(watch, good=watch.good + good, seen=watch.seen + 1)
        else:
            watch = _tested(watch, good, policy)
    return watch


def _tested(watch: ShareWatch, good: bool, policy: DriftPolicy) -> ShareWatch:
    cusum = max(watch.cusum, 0.0) + log_ratios(watch, policy)[good]
    length = watch.length + 1 if watch.cusum > 0 else 1
    tested = watch.tested + 1
    alarm = tested if cusum >= log(policy.run_length) else None
    return replace(watch, cusum=cusum, length=length, tested=tested, alarm=alarm)


def log_ratios(watch: ShareWatch, policy: DriftPolicy) -> tuple[float, float]:
    """What a no and what a yes add to the sum.

    The share before the change is the lower end of what the reference allows, so that a reference lucky by chance does
    not alarm by itself; the one after it is lower by `drop`.
    """
    before = min(max(wilson(watch.good, watch.seen, _REFERENCE_LEVEL).low, 0.02), 0.999)
    after = max(min(watch.good / watch.seen - policy.drop, before * 0.9), before / 10)
    return log((1 - after) / (1 - before)), log(after / before)


def run(watch: ShareWatch, good: NDArray[np.bool_], policy: DriftPolicy) -> NDArray[np.int64]:
    """The index of the first alarm in each row, -1 for none: rows of answers that all go on from the same watch."""
    ratios, limit = np.array(log_ratios(watch, policy)), log(policy.run_length)
    sums, first = np.full(len(good), watch.cusum), np.full(len(good), -1)
    for step in range(good.shape[1]):
        sums = np.maximum(sums, 0.0) + ratios[good[:, step].astype(int)]
        first[(first < 0) & (sums >= limit)] = step
    return first


def finding(watch: ShareWatch, policy: DriftPolicy, falls: str = "lower") -> Finding:
    """The verdict on a stream of yes and no; `falls` says in words what less of yes is."""
    needed = policy.min_share_reference
    lacks = f"{watch.seen} of {needed} observations" if watch.seen < needed else ""
    said = sentence(lacks, watch.alarm, f"{falls} for about {watch.length} observations")
    statistic, limit = max(watch.cusum, 0.0), log(policy.run_length)
    return Finding(verdict(lacks, watch.alarm), statistic, limit, policy.run_length, watch.tested, said)


def restarted(watch: ShareWatch) -> ShareWatch:
    """The same reference, watched anew: for an alarm that a person or a finished run has dealt with."""
    return ShareWatch(good=watch.good, seen=watch.seen)


def to_json(watch: ShareWatch) -> JsonObject:
    return asdict(watch)


def watch_of(stored: JsonObject) -> ShareWatch:
    """The watch that `to_json` stored. Raises TypeError for anything else."""
    return ShareWatch(**stored)  # type: ignore[arg-type]
