"""Inference that stays valid however often one looks: confidence sequences and e-values, over arrays of looks.

Pure mathematics of counts, means and variances; knows nothing of arms, metrics or verdicts. Every bound holds at all
looks at once with probability 1 - alpha: exactly for the sample ratio and for bounded values, in the limit of many
subjects (hence the burn-in) for means and differences.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, log

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, xlogy

from core.stats import Interval

Array = NDArray[np.float64]

_BETS = 0.98 * 0.5 ** np.arange(8)
"""Shares of the largest safe bet. The wealth is spread over all of them, so that none has to be tuned to the data."""
_STAKES = 0.5 ** np.arange(1, 9) / (1 - 0.5**8)
"""The wealth behind each. Larger bets get more: small ones pay only where many values are to come anyway."""
_BISECTIONS = 50


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, mean and sample variance (divisor n - 1) of one arm; the first axis is the split, the others are looks.

    `informed` counts those who said anything, where the others count as zeros that say little; None: all of them did.
    """

    n: Array
    mean: Array
    variance: Array
    informed: Array | None = None

    @property
    def information(self) -> Array:
        """The subjects that a burn-in and a plan are counted in."""
        return self.n if self.informed is None else self.informed


@dataclass(frozen=True, slots=True)
class Joint:
    """One arm's outcomes beside the same subjects' numbers from before: mean and variance of these, and covariance."""

    outcome: Moments
    mean: Array
    variance: Array
    covariance: Array


@dataclass(frozen=True, slots=True)
class Difference:
    """Challenger minus champion at each look: `margin` is half the interval's width, infinite during the burn-in.

    `n` counts the subjects behind it (those who said anything) and `spread` is the variance that one of them
    contributes.
    """

    estimate: Array
    margin: Array
    n: Array
    spread: Array

    @property
    def z(self) -> Array:
        """The estimate in standard errors; not a number during the burn-in."""
        error = np.sqrt(np.maximum(self.spread / self.n, np.finfo(float).tiny))
        return np.asarray(np.where(np.isfinite(self.margin), self.estimate, np.nan) / error)


def mixture_rho(planned: ArrayLike, alpha: float) -> Array:
    """The tuning under which the normal mixture is tightest once the variance process has reached `planned`.

    S. R. Howard et al., Time-uniform, nonparametric, nonasymptotic confidence sequences, Ann. Stat. 49 (2021), 3.5.
    """
    evidence = 2 * log(1 / alpha)
    return np.asarray(planned, dtype=float) / (evidence + log(1 + evidence))


def mixture_log_e(total: ArrayLike, variance: ArrayLike, rho: ArrayLike) -> Array:
    """Log e-value against mean zero of a sum `total` whose variance process stands at `variance`.

    H. Robbins, Statistical methods related to the law of the iterated logarithm, Ann. Math. Stat. 41 (1970), with a
    normal mixture of precision `rho`; the closed form is that of Howard et al. (2021), proposition 5.
    """
    s, v, r = (np.asarray(x, dtype=float) for x in (total, variance, rho))
    return np.asarray(0.5 * np.log(r / (v + r)) + s * s / (2 * (v + r)))


def mixture_bound(variance: ArrayLike, rho: ArrayLike, alpha: float) -> Array:
    """How far the sum may be from its mean at any look: where `mixture_log_e` reaches log(1 / alpha)."""
    v, r = np.asarray(variance, dtype=float), np.asarray(rho, dtype=float)
    return np.asarray(np.sqrt((v + r) * (np.log1p(v / r) + 2 * log(1 / alpha))))


def mean_margin(n: ArrayLike, variance: ArrayLike, planned: float, alpha: float) -> Array:
    """Half-width of the asymptotic confidence sequence for a mean of `n` values, tightest at `planned` values.

    I. Waudby-Smith et al., Time-uniform central limit theory and asymptotic confidence sequences, Ann. Stat. 52
    (2024), theorem 2.2: the mixture bound with the estimated variance in the place of the known one.
    """
    count, one = np.asarray(n, dtype=float), np.asarray(variance, dtype=float)
    # Without any variance the bound's limit is zero; the smallest positive number avoids dividing by it.
    one = np.maximum(one, np.finfo(float).tiny)
    return np.asarray(mixture_bound(count * one, mixture_rho(planned * one, alpha), alpha) / count)


def difference(
    champion: Moments, challenger: Moments, *, planned: float, alpha: float, burn_in: int, floor: float
) -> Difference:
    """The confidence sequence for the difference between two arms, one value a subject.

    Subjects that met different splits are compared within their split only (else a ramp over a changing mix of
    subjects reads as an effect); the splits are weighted by n0 n1 / (n0 + n1), as in a test of one common difference.
    `floor` is the squared spread of one pretended value in each arm, so that a few equal values do not look certain.
    Before each arm has `burn_in` informed subjects in comparable splits nothing is claimed. `planned` counts those as
    well: where few say anything, the interval is tightest once so many have.
    """
    n0, n1 = champion.n, challenger.n
    usable = (n0 >= 2) & (n1 >= 2)
    weight = np.where(usable, n0 * n1 / np.maximum(n0 + n1, 1), 0.0)
    error = _error(champion, floor) + _error(challenger, floor)
    gap = np.where(usable, challenger.mean - champion.mean, 0.0)
    total = np.maximum(weight.sum(axis=0), 1e-9)
    variance = (weight**2 * np.where(usable, error, 0.0)).sum(axis=0) / total**2
    known = [np.where(usable, arm.information, 0).sum(axis=0) for arm in (champion, challenger)]
    ready, n = np.minimum(*known) >= max(burn_in, 2), np.maximum(known[0] + known[1], 1)
    margin = np.where(ready, mean_margin(n, variance * n, planned, alpha), inf)
    return Difference((weight * gap).sum(axis=0) / total, margin, n, variance * n)


def adjusted(champion: Joint, challenger: Joint) -> tuple[Moments, Moments, Array]:
    """Both arms' outcomes less what their past explains, and the slope by which it does, one for both arms of a split.

    A. Deng et al., Improving the sensitivity of online controlled experiments by utilizing pre-experiment data
    (WSDM 2013): what was there before assignment differs by chance only, so that taking it out biases nothing, and
    leaves 1 - r^2 of the variance where r is the correlation of past and outcome.
    """
    arms = (champion, challenger)
    freedom = [np.maximum(arm.outcome.n - 1, 0) for arm in arms]
    common = sum(f * arm.covariance for f, arm in zip(freedom, arms, strict=True))
    spread = sum(f * arm.variance for f, arm in zip(freedom, arms, strict=True))
    slope = np.where(spread > 1e-12, common / np.maximum(spread, 1e-12), 0.0)
    total = np.maximum(champion.outcome.n + challenger.outcome.n, 1)
    center = (champion.outcome.n * champion.mean + challenger.outcome.n * challenger.mean) / total
    first, second = (_less(arm, slope, center) for arm in arms)
    return first, second, slope


def _less(arm: Joint, slope: Array, center: Array) -> Moments:
    found, past = arm.outcome, slope * slope * arm.variance
    # Rounding may leave a speck below zero where the past explains everything.
    left = np.maximum(found.variance - 2 * slope * arm.covariance + past, 0.0)
    return Moments(found.n, found.mean - slope * (arm.mean - center), left, found.informed)


def log_e_value(found: Difference, planned: float, alpha: float) -> Array:
    """Log e-value against no difference, tuned to reach 1 / `alpha` soonest at `planned`; zero during the burn-in."""
    total, variance = found.n * found.estimate, np.maximum(found.n * found.spread, np.finfo(float).tiny)
    rho = mixture_rho(planned * variance / found.n, alpha)
    return np.where(np.isfinite(found.margin), mixture_log_e(total, variance, rho), 0.0)


def _error(arm: Moments, floor: float) -> Array:
    """The squared standard error of an arm's mean."""
    n = np.maximum(arm.n, 1)
    return np.asarray(((n - 1) * np.where(arm.n >= 2, arm.variance, 0.0) + floor) / n**2)


def subjects_needed(effect: float, spread: float, planned: float, alpha: float, limit: int = 10**7) -> int | None:
    """How many subjects in all it takes until `effect` lies outside the margin; None beyond `limit`."""

    def decides(n: int) -> bool:
        return float(mean_margin(n, spread, planned, alpha)) < abs(effect)

    if not decides(limit):
        return None
    low, high = 1, limit
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle + 1, high)
    return low


def log_mean_exp(logs: Sequence[float]) -> float:
    """The log of the mean of several wealths, themselves an e-process when each of them is one."""
    top = max(logs)
    return top + log(sum([exp(x - top) for x in logs]) / len(logs))


def ratio_log_e(counts: ArrayLike, shares: Sequence[float], concentration: float = 100.0) -> Array:
    """Log e-value against the stated split `shares` of counts whose last axis is the arms.

    M. Lindon and A. Malek, Anytime-valid inference for multinomial count data, NeurIPS 2022 (arXiv 2011.03567): a
    Dirichlet mixture centred at the stated split, equal to 1 / alpha at most with probability alpha over all looks.
    """
    seen, theta = np.asarray(counts, dtype=float), np.asarray(shares, dtype=float)
    if theta.min() <= 0 or abs(theta.sum() - 1) > 1e-9 or seen.shape[-1] != len(theta):
        raise ValueError(f"a split needs one positive share an arm that sum to 1, not {list(shares)}")
    prior = concentration * theta
    rising = gammaln(prior + seen) - gammaln(prior) - xlogy(seen, theta)
    total = gammaln(concentration) - gammaln(concentration + seen.sum(axis=-1))
    return np.asarray(rising.sum(axis=-1) + total)


def betting_interval(values: ArrayLike, alpha: float, low: float = -1.0, high: float = 1.0) -> Interval:
    """The confidence sequence for the mean of values in [low, high], at their number; all of it when there are none.

    I. Waudby-Smith and A. Ramdas, Estimating means of bounded random variables by betting, JRSS-B 86 (2024): half of
    the wealth bets that the mean is larger than m, half that it is smaller, each spread over fixed shares of the
    largest safe bet. Such wealth is monotone in m, so each end is one root, and it does not depend on the order
    of the values. Raises ValueError for a value outside the range.
    """
    x = np.asarray(values, dtype=float)
    if x.size == 0:
        return Interval(low, high)
    if not (np.isfinite(x).all() and low <= x.min() and x.max() <= high):
        raise ValueError(f"betting needs values within {low} and {high}, not {x.min()} to {x.max()}")
    levels, counts = np.unique((x - low) / (high - low), return_counts=True)
    floor = _lowest(levels, counts, alpha)
    ceiling = 1 - _lowest(1 - levels, counts, alpha)
    return Interval(low + (high - low) * floor, low + (high - low) * ceiling)


def _lowest(levels: Array, counts: NDArray[np.intp], alpha: float) -> float:
    """The smallest mean in (0, 1) that the bets on a larger one have not ruled out."""
    low, high = 0.0, float(np.average(levels, weights=counts))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if middle <= 0.0:
            break
        wealth = np.log1p(_BETS[:, None] * (levels / middle - 1)) @ counts + np.log(_STAKES)
        ruled_out = np.logaddexp.reduce(wealth) >= log(2 / alpha)
        low, high = (middle, high) if ruled_out else (low, middle)
    return low
