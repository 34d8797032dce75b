"""The time as Hone counts it: microseconds since the epoch, UTC. A test hands in a clock of its own."""

import time
from collections.abc import Callable

Clock = Callable[[], int]

SECOND = 1_000_000
HOUR = 3600 * SECOND


def now() -> int:
    return time.time_ns() // 1_000
