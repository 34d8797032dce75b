"""Whether a stream of numbers still looks like its reference: change detection with a stated run length between alarms.

Pure. A watch is a frozen value that is stored as JSON and continued with the next observations; a new one is made at
every promotion. Values are compared by rank, so their law does not matter; they are assumed to be exchangeable within a
phase of the cycle: one a subject and question. Knows no stream's meaning: whether a change is for the worse, and what
follows, is decided in trigger.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import exp, log

import numpy as np
from numpy.typing import NDArray

from core.types import JsonObject
from monitoring.drift import reference as references
from monitoring.drift.detection import Finding, sentence, verdict
from monitoring.drift.reference import Reference
from monitoring.experiments.sequential import Array, log_mean_exp
from monitoring.policy import DriftPolicy

SHIFTS = (-1.0, -0.5, -0.25, 0.25, 0.5, 1.0)
"""The shifts of the mixture, in standard deviations of the reference."""
SHORTEST_RUN = 600
_EXCESS = 2.45
"""How far log run length lies above log threshold. The theorem's lower bound is 0; simulated with standard normal
scores (4,000 to 16,000 alarms each) it is 2.46, 2.49, 2.46, 2.49 at log thresholds 4, 5, 7, 9, and falls below 600."""
_STEPS = tuple((shift, shift * shift / 2) for shift in SHIFTS)


@dataclass(frozen=True, slots=True)
class Watch:
    """Where the watch over a stream of numbers stands.

    `cusum` and `length` belong to SHIFTS: the log-likelihood ratio since it last was zero, and how many observations
    ago that was. `alarm` is the number of observations tested when it was raised.
    """

    reference: Reference = field(default_factory=Reference)
    cusum: Sequence[float] = (0.0,) * len(SHIFTS)
    length: Sequence[int] = (0,) * len(SHIFTS)
    tested: int = 0
    alarm: int | None = None

    @property
    def best(self) -> int:
        """Which of SHIFTS explains the last observations best."""
        return max(range(len(SHIFTS)), key=lambda k: self.cusum[k])


def threshold(run_length: float) -> float:
    """The log threshold of a Watch with one false alarm in `run_length` observations on average. Raises ValueError."""
    if run_length < SHORTEST_RUN:
        raise ValueError(f"the run length between false alarms is at least {SHORTEST_RUN}, not {run_length}")
    return log(run_length) - _EXCESS


def observe(watch: Watch, values: Iterable[tuple[float, int]], policy: DriftPolicy, rng: np.random.Generator) -> Watch:
    """The watch after these numbers, each with its time in microseconds, oldest first.

    What follows an alarm is neither tested nor taken into the reference, and what led to it is taken out again. Raises
    ValueError for a number that is not finite.
    """
    if watch.alarm is not None:
        return watch
    reference, scores = references.met(watch.reference, values, policy, rng)
    after = folded(watch, scores, threshold(policy.run_length))
    if after.alarm is None:
        return replace(after, reference=references.keeping(reference, max(after.length)))
    untested = len(scores) - (after.tested - watch.tested)
    return replace(after, reference=references.without_last(reference, untested + after.length[after.best]))


def folded(watch: Watch, scores: Iterable[float], limit: float) -> Watch:
    """The watch after these normal scores: E. S. Page's cumulative sum (Biometrika 41, 1954) for each shift.

    The mean of the likelihood ratios is an e-detector (J. Shin, A. Ramdas, A. Rinaldo, arXiv 2203.03532): a run of
    independent standard normal scores lasts at least exp(limit) observations on average. Scores are such while a phase
    grows, and nearly so when it is full: see Phase. Ends with the score that raises an alarm.
    """
    cusum, length, tested, alarm = watch.cusum, watch.length, watch.tested, watch.alarm
    for score in scores:
        tested += 1
        length = [n + 1 if s > 0 else 1 for s, n in zip(cusum, length, strict=True)]
        cusum = [(s if s > 0 else 0.0) + (d * score - h) for s, (d, h) in zip(cusum, _STEPS, strict=True)]
        # The statistic is never above the largest sum.
        if max(cusum) >= limit and statistic(cusum) >= limit:
            alarm = tested
            break
    return Watch(watch.reference, tuple(cusum), tuple(length), tested, alarm)


def statistic(cusum: Sequence[float]) -> float:
    """The log of the mixture of the restarted likelihood ratios; 0 at rest."""
    return log_mean_exp([max(s, 0.0) for s in cusum])


def run(scores: Array, policy: DriftPolicy) -> NDArray[np.int64]:
    """The index of the first alarm in each row of normal scores, -1 for none: what `folded` does, for many at once."""
    limit, shifts = threshold(policy.run_length), np.array(SHIFTS)[:, None]
    sums, rows, first = np.zeros((len(SHIFTS), len(scores))), np.arange(len(scores)), np.full(len(scores), -1)
    for step in range(scores.shape[1]):
        sums = np.maximum(sums, 0.0) + (shifts * scores[rows, step] - shifts * shifts / 2)
        alarmed = np.flatnonzero(sums.max(axis=0) >= limit)
        alarmed = alarmed[np.log(np.exp(np.maximum(sums[:, alarmed], 0.0)).mean(axis=0)) >= limit]
        if alarmed.size:
            first[rows[alarmed]] = step
            rows, sums = np.delete(rows, alarmed), np.delete(sums, alarmed, axis=1)
    return first


def finding(watch: Watch, policy: DriftPolicy) -> Finding:
    """The verdict on a stream of numbers."""
    limit, lacks, best = threshold(policy.run_length), watch.reference.lacks(policy), watch.best
    way = "higher" if SHIFTS[best] > 0 else "lower"
    says = sentence(lacks, watch.alarm, f"{way} for about {watch.length[best]} observations")
    return Finding(verdict(lacks, watch.alarm), statistic(watch.cusum), limit, exp(limit), watch.tested, says)


def restarted(watch: Watch) -> Watch:
    """The same reference, watched anew: for an alarm that a person or a finished run has dealt with."""
    return Watch(replace(watch.reference, recent=()))


def to_json(watch: Watch) -> JsonObject:
    return {
        "reference": references.to_json(watch.reference),
        "cusum": list(watch.cusum),
        "length": list(watch.length),
        "tested": watch.tested,
        "alarm": watch.alarm,
    }


def watch_of(stored: JsonObject) -> Watch:
    """The watch that `to_json` stored. Raises KeyError, TypeError or ValueError for anything else."""
    body: JsonObject = stored["reference"]  # type: ignore[assignment]
    cusum: Sequence[float] = stored["cusum"]  # type: ignore[assignment]
    length: Sequence[int] = stored["length"]  # type: ignore[assignment]
    if not len(cusum) == len(length) == len(SHIFTS):
        raise ValueError(f"a stored watch has one sum a shift, {len(SHIFTS)} in all, not {len(cusum)}")
    plain = {name: stored[name] for name in ("tested", "alarm")}
    return Watch(references.reference_of(body), tuple(cusum), tuple(length), **plain)  # type: ignore[arg-type]
