"""Run lengths of one-sided cumulative sums, computed and not simulated: what the watches for drift are measured by."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

Array = NDArray[np.float64]


def page(k: float, h: float, shift: float, cells: int = 400) -> tuple[Array, Array]:
    """One-sided cumulative sum of x - k: moves between its cells without an alarm, and run lengths from each of them.

    D. Brook and D. A. Evans, An approach to the probability distribution of cusum run length, Biometrika 59 (1972).
    """
    width = 2 * h / (2 * cells - 1)
    place = np.arange(cells)
    upper = norm.cdf((place[None, :] - place[:, None] + 0.5) * width + k - shift)
    lower = norm.cdf((place[None, :] - place[:, None] - 0.5) * width + k - shift)
    lower[:, 0] = 0
    moves = upper - lower
    return moves, np.linalg.solve(np.eye(cells) - moves, np.ones(cells))


def best_delay(shift: float, length: float) -> float:
    """Mean delay, after a long quiet time, of the sum that knows the shift, at one false alarm in `length`."""
    h = float(brentq(lambda h: np.log(page(shift / 2, h, 0.0, 150)[1][0] / length), 2, 20, xtol=1e-3))
    quiet, _ = page(shift / 2, h, 0.0, 150)
    left = np.linalg.matrix_power(quiet, 2000)[0]
    return float(left @ page(shift / 2, h, shift, 150)[1] / left.sum())
