"""Intervals for shares."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float


def wilson(right: int, n: int, level: float = 0.95) -> Interval:
    """The score interval for a share of `right` among `n` at confidence `level`; 0 to 1 when nothing was counted.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927) 209-212; without
    continuity correction. Raises ValueError for counts or a level that cannot be.
    """
    if not 0 <= right <= n or not 0 < level < 1:
        raise ValueError(f"wilson needs 0 <= right <= n and 0 < level < 1, not {right}, {n}, {level}")
    if n == 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, weight = right / n, 1 + z * z / n
    center = (share + z * z / (2 * n)) / weight
    reach = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / weight
    # The bounds are exact at the ends, where rounding would leave a speck.
    return Interval(0.0 if right == 0 else center - reach, 1.0 if right == n else center + reach)
