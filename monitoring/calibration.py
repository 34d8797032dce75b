"""Whether a stated confidence is the share of answers that are liked: scores, and a watch that may be read at any time.

Pure. The label is a thumb: P(liked, given that it was rated) is not P(correct). Knows neither where a confidence comes
from nor how to mend it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import exp, log, log1p

import numpy as np
from numpy.typing import ArrayLike

from core.types import JsonObject, Verdict
from monitoring.policy import CalibrationPolicy
from monitoring.sequential import Array, log_mean_exp

_BETS = tuple(product((-0.8, -0.4, -0.2, -0.1, 0.1, 0.2, 0.4, 0.8), (False, True)))
"""Each account bets a fixed share on the residual, either at all confidences alike or against the extreme ones."""


@dataclass(frozen=True, slots=True)
class Scores:
    """How good stated confidences are: `brier` is their mean squared error, `base` that of always saying the mean.

    `ece` is the squared calibration error without the bias of few labels; it may be below zero by chance.
    """

    n: int
    confidence: float
    liked: float
    brier: float
    base: float
    ece: float


@dataclass(frozen=True, slots=True)
class CalibrationWatch:
    """Where the watch stands: the log wealth of each account since the start, and restarted from 1 when below it."""

    plain: Sequence[float] = (0.0,) * len(_BETS)
    restarted: Sequence[float] = (0.0,) * len(_BETS)
    rated: int = 0
    alarm: int | None = None


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


def scores(confidence: ArrayLike, liked: ArrayLike, bins: int = 15) -> Scores | None:
    """The scores of confidences in 0..1 and their labels 0 or 1; None when there are none. Raises ValueError."""
    f, y = _pairs(confidence, liked)
    if f.size == 0:
        return None
    mean = float(y.mean())
    brier = float(np.mean((f - y) ** 2))
    return Scores(f.size, float(f.mean()), mean, brier, mean * (1 - mean), debiased_ece(f, y, bins))


def debiased_ece(confidence: ArrayLike, liked: ArrayLike, bins: int = 15) -> float:
    """The squared calibration error over bins of equal count, less what chance alone adds to it.

    J. Broecker, Estimating reliability and resolution of probability forecasts, Climate Dynamics 39 (2012); C. Ferro
    and T. Fricker, A bias-corrected decomposition of the Brier score, QJRMS 138 (2012).
    """
    f, y = _pairs(confidence, liked)
    order = np.argsort(f, kind="stable")
    groups = np.array_split(order, max(1, min(bins, f.size // 2)))
    return float(sum(len(g) / f.size * _excess(f[g], y[g]) for g in groups if len(g) > 1))


def _excess(f: Array, y: Array) -> float:
    share = float(y.mean())
    return (share - float(f.mean())) ** 2 - share * (1 - share) / (len(y) - 1)


def _pairs(confidence: ArrayLike, liked: ArrayLike) -> tuple[Array, Array]:
    f, y = np.asarray(confidence, dtype=float), np.asarray(liked, dtype=float)
    if f.shape != y.shape or f.ndim != 1:
        raise ValueError(f"each confidence needs one label, not {f.shape} and {y.shape}")
    if not (np.isfinite(f).all() and ((f >= 0) & (f <= 1)).all() and ((y == 0) | (y == 1)).all()):
        raise ValueError("confidences lie between 0 and 1, and labels are 0 or 1")
    return f, y


def observe(
    watch: CalibrationWatch, rated: Iterable[tuple[float, bool]], policy: CalibrationPolicy
) -> CalibrationWatch:
    """The watch after these pairs of confidence and label, oldest first; after an alarm nothing more is taken.

    If a confidence is the chance of being liked, a bet on the residual is fair and wealth a martingale (the idea of
    S. Arnold, A. Henzi, J. Ziegel, Sequentially valid tests for forecast calibration, Ann. Appl. Stat. 17, 2023). The
    alarm is on the restarted wealth, an e-detector as in drift.py: a calibrated run lasts at least `run_length`
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
    plain = tuple(s + g for s, g in zip(watch.plain, gains, strict=True))
    restarted = tuple(max(s, 0.0) + g for s, g in zip(watch.restarted, gains, strict=True))
    rated = watch.rated + 1
    fired = rated >= policy.min_labels and log_mean_exp(restarted) >= log(policy.run_length)
    return replace(watch, plain=plain, restarted=restarted, rated=rated, alarm=rated if fired else None)


def finding(watch: CalibrationWatch, policy: CalibrationPolicy) -> CalibrationFinding:
    """The verdict: warming until `min_labels` answers were rated."""
    if watch.rated < policy.min_labels:
        verdict, says = Verdict.WARMING, f"warming: {watch.rated} of {policy.min_labels} rated answers"
    elif watch.alarm is None:
        verdict, says = Verdict.OK, f"confidence agrees with {watch.rated} ratings"
    else:
        verdict, says = Verdict.ALARM, f"confidence is off: shown after {watch.alarm} ratings; recalibrate"
    limit = log(policy.run_length)
    e_value = exp(min(log_mean_exp(watch.plain), 690.0))
    return CalibrationFinding(verdict, log_mean_exp(watch.restarted), limit, e_value, watch.rated, says)


def to_json(watch: CalibrationWatch) -> JsonObject:
    return {"plain": watch.plain, "restarted": watch.restarted, "rated": watch.rated, "alarm": watch.alarm}


def watch_of(stored: JsonObject) -> CalibrationWatch:
    """The watch that `to_json` stored. Raises TypeError or ValueError for anything else."""
    watch = CalibrationWatch(**stored)  # type: ignore[arg-type]
    plain, restarted = tuple(watch.plain), tuple(watch.restarted)
    if len(plain) != len(_BETS) or len(restarted) != len(_BETS):
        raise ValueError(f"a stored watch has {len(_BETS)} accounts, not {len(plain)} and {len(restarted)}")
    return replace(watch, plain=plain, restarted=restarted)
