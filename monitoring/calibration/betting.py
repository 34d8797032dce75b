"""Whether a stated confidence is the share of answers that are liked: a watch that may be read at any time.

Pure. The label is a thumb: P(liked, given that it was rated) is not P(correct). Knows neither where a confidence comes
from nor how to mend it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import exp, log, log1p

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.types import JsonObject, Verdict
from monitoring.experiments.sequential import Array, log_mean_exp
from monitoring.policy import CalibrationPolicy

_BETS = tuple(product((-0.8, -0.4, -0.2, -0.1, 0.1, 0.2, 0.4, 0.8), (False, True)))
"""Each account bets a fixed share on the residual, either at all confidences alike or against the extreme ones."""
_STAKES = tuple(log(2 / 3 if extreme else 4 / 3) for _, extreme in _BETS)
"""The log of what each account starts with, 1 on average: a shift of all confidences is the commoner fault."""
_LARGEST = 690.0
"""Above it the exponential is no number any more."""


@dataclass(frozen=True, slots=True)
class CalibrationWatch:
    """Where the watch stands: the log wealth of each account since the start, and restarted from 1 when below it.

    `runs` counts the ratings since each restart: where the wealth grew large, the confidence has been off for so long.
    """

    plain: Sequence[float] = (0.0,) * len(_BETS)
    restarted: Sequence[float] = (0.0,) * len(_BETS)
    runs: Sequence[int] = (0,) * len(_BETS)
    rated: int = 0
    alarm: int | None = None

    @property
    def run(self) -> int:
        """How many ratings the account that gained most has run."""
        return self.runs[max(range(len(_BETS)), key=self.restarted.__getitem__)]


@dataclass(frozen=True, slots=True)
class CalibrationFinding:
    """What the watch says now. `e_value` is the evidence against calibration over the whole time: at most 20 with
    probability .95, however often it is read."""

    verdict: Verdict
    statistic: float
    threshold: float
    e_value: float
    count: int
    says: str


def observe(
    watch: CalibrationWatch, rated: Iterable[tuple[float, bool]], policy: CalibrationPolicy
) -> CalibrationWatch:
    """The watch after these pairs of confidence and label, oldest first; after an alarm nothing more is taken.

    If a confidence is the chance of being liked, a bet on the residual is fair and wealth a martingale (the idea of
    S. Arnold, A. Henzi, J. Ziegel, Sequentially valid tests for forecast calibration, Ann. Appl. Stat. 17, 2023). The
    alarm is on the restarted wealth, an e-detector as in drift/numbers.py: a calibrated run lasts at least `run_length`
    ratings on average. Raises ValueError for a confidence outside 0..1.
    """
    for confidence, liked in rated:
        if watch.alarm is not None:
            break
        if not 0 <= confidence <= 1:
            raise ValueError(f"a confidence lies between 0 and 1, not {confidence}")
        watch = _tested(watch, _gains(confidence, liked), policy)
    return watch


def _gains(confidence: float, liked: bool) -> Sequence[float]:
    residual, tilt = liked - confidence, 2 * (confidence - 0.5)
    return [log1p(share * (tilt if extreme else 1.0) * residual) for share, extreme in _BETS]


def _tested(watch: CalibrationWatch, gains: Sequence[float], policy: CalibrationPolicy) -> CalibrationWatch:
    plain = tuple([s + g for s, g in zip(watch.plain, gains, strict=True)])
    restarted = tuple([max(s, 0.0) + g for s, g in zip(watch.restarted, gains, strict=True)])
    runs = tuple([run + 1 if s > 0 else 1 for run, s in zip(watch.runs, watch.restarted, strict=True)])
    rated = watch.rated + 1
    fired = rated >= policy.min_labels and _mixed(restarted) >= log(policy.run_length)
    return CalibrationWatch(plain, restarted, runs, rated, rated if fired else None)


def _mixed(wealth: Sequence[float]) -> float:
    """The log of the mean over the accounts, each by its stake."""
    return log_mean_exp([stake + each for stake, each in zip(_STAKES, wealth, strict=True)])


def run(confidence: ArrayLike, liked: ArrayLike, policy: CalibrationPolicy) -> NDArray[np.int64]:
    """After how many ratings `observe` would alarm in each replicate, -1: never; arrays of replicates by time.

    Raises ValueError as `pairs`.
    """
    f, y = pairs(confidence, liked)
    total = np.full(f.shape, -np.inf)
    for stake, gains in zip(_STAKES, _all_gains(f, y), strict=True):
        wealth = np.cumsum(gains, axis=-1)
        before = np.concatenate([np.zeros_like(wealth[..., :1]), wealth[..., :-1]], axis=-1)
        # What is restarted whenever it is below 1 is the wealth over its own least value so far.
        total = np.logaddexp(total, stake + wealth - np.minimum.accumulate(before, axis=-1))
    fired = total - log(len(_BETS)) >= log(policy.run_length)
    fired[..., : policy.min_labels - 1] = False
    return np.where(fired.any(axis=-1), fired.argmax(axis=-1) + 1, -1)


def evidence(confidence: ArrayLike, liked: ArrayLike) -> Array:
    """The log e-value against calibration after each rating, on the last axis. Raises ValueError as `pairs`."""
    f, y = pairs(confidence, liked)
    total = np.full(f.shape, -np.inf)
    for stake, gains in zip(_STAKES, _all_gains(f, y), strict=True):
        total = np.logaddexp(total, stake + np.cumsum(gains, axis=-1))
    return total - log(len(_BETS))


def e_value(log_wealth: float) -> float:
    """From its logarithm, as large as a number can be at most."""
    return exp(min(log_wealth, _LARGEST))


def _all_gains(f: Array, y: Array) -> Iterator[Array]:
    """The log gains of each account, one after the other: all at once would not fit into the memory."""
    residual = y - f
    for share, extreme in _BETS:
        yield np.log1p(share * (2 * (f - 0.5) * residual if extreme else residual))


def pairs(confidence: ArrayLike, liked: ArrayLike) -> tuple[Array, Array]:
    """Both as numbers of the same shape. Raises ValueError for confidences outside 0..1 and labels but 0 and 1."""
    f, y = np.asarray(confidence, dtype=float), np.asarray(liked, dtype=float)
    if f.shape != y.shape or f.ndim == 0:
        raise ValueError(f"each confidence needs one label, not {f.shape} and {y.shape}")
    if not (np.isfinite(f).all() and ((f >= 0) & (f <= 1)).all() and ((y == 0) | (y == 1)).all()):
        raise ValueError("confidences lie between 0 and 1, and labels are 0 or 1")
    return f, y


def finding(watch: CalibrationWatch, policy: CalibrationPolicy) -> CalibrationFinding:
    """The verdict: warming until `min_labels` answers were rated."""
    if watch.rated < policy.min_labels:
        verdict, says = Verdict.WARMING, f"warming: {watch.rated} of {policy.min_labels} rated answers"
    elif watch.alarm is None:
        verdict, says = Verdict.OK, f"confidence agrees with {watch.rated} ratings"
    else:
        verdict, says = Verdict.ALARM, f"confidence is off: shown after {watch.alarm} ratings; recalibrate"
    evidence, limit = e_value(_mixed(watch.plain)), log(policy.run_length)
    return CalibrationFinding(verdict, _mixed(watch.restarted), limit, evidence, watch.rated, says)


def to_json(watch: CalibrationWatch) -> JsonObject:
    return {
        "plain": watch.plain,
        "restarted": watch.restarted,
        "runs": watch.runs,
        "rated": watch.rated,
        "alarm": watch.alarm,
    }


def watch_of(stored: JsonObject) -> CalibrationWatch:
    """The watch that `to_json` stored. Raises TypeError or ValueError for anything else."""
    watch = CalibrationWatch(**stored)  # type: ignore[arg-type]
    accounts = tuple(watch.plain), tuple(watch.restarted), tuple(watch.runs)
    if any(len(account) != len(_BETS) for account in accounts):
        raise ValueError(f"a stored watch has {len(_BETS)} accounts, not {[len(account) for account in accounts]}")
    return replace(watch, plain=accounts[0], restarted=accounts[1], runs=accounts[2])
