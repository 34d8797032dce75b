"""How often a client may present a wrong key: a bucket for each address, refilled over a minute.

Pure but for its own count. Knows addresses and times, no keys.
"""

import math
from collections import OrderedDict
from collections.abc import Callable

MAX_ADDRESSES = 10_000
MINUTE = 60.0


class FailedLogins:
    """`limit` failures a minute for each address; `clock` is in seconds and never goes back."""

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, address: str) -> int | None:
        """Seconds until the address may try again; None when it may now."""
        over = self._level(address) - (self._limit - 1)
        return math.ceil(over * MINUTE / self._limit) if over > 0 else None

    def note(self, address: str) -> None:
        """A key was wrong."""
        self._spent[address] = (self._level(address) + 1, self._clock())
        self._spent.move_to_end(address)
        if len(self._spent) > MAX_ADDRESSES:
            self._spent.popitem(last=False)

    def _level(self, address: str) -> float:
        spent, at = self._spent.get(address, (0.0, self._clock()))
        return max(0.0, spent - (self._clock() - at) * self._limit / MINUTE)
