"""Which rows were not taken yet, of rows that come in the order of their times, save some that come late.

An answer's id is as old as its call while its row is as young as the answer's end, and a row from the spool is younger
still. Those that come later than LOOK_BACK are left out. Knows no table.
"""

from core import ids
from core.clock import SECOND

LOOK_BACK = 600 * SECOND
NEAR = 30 * SECOND
"""As far back as every look goes; calls that overlap end in another order than they began."""
FAR_EVERY = 12
"""Of so many looks one goes as far back as LOOK_BACK, where rows are many and late ones few."""
MILLISECOND = 1000


def time_of(identity: str) -> int:
    """The time in an answer's id, in microseconds."""
    return ids.millis_of(identity) * MILLISECOND


def id_behind(at: int) -> str:
    """What the ids of all later answers are not below."""
    return ids.encode((at // MILLISECOND + 1) << 80)


class Arrivals:
    """What was taken. Of what lies at or before `since`, all counts as taken: so a restart takes nothing twice."""

    def __init__(self, since: int) -> None:
        self._since = since
        self._newest = since
        self._taken: dict[str, int] = {}
        self._looks = 0

    @property
    def cursor(self) -> int:
        """The time of the newest row taken: where to go on after a restart, in microseconds."""
        return self._newest

    def look(self, wanted: int) -> tuple[int, int]:
        """The time behind which rows are to be read, and how many in order to see so many that were not taken."""
        self._looks += 1
        floor = self._behind(LOOK_BACK if self._looks % FAR_EVERY == 0 else NEAR)
        return floor, wanted + sum(at > floor for at in self._taken.values())

    def _behind(self, time: int) -> int:
        return max(self._since, self._newest - time)

    def is_new(self, identity: str) -> bool:
        return identity not in self._taken

    def take(self, identity: str, at: int) -> None:
        """Remember a row of time `at` as taken."""
        self._taken[identity] = at
        self._newest = max(self._newest, at)

    def wait_no_more(self, at: int) -> None:
        """Leave out what is from before `at` and has not come yet."""
        self._newest = max(self._newest, at)

    def forget(self) -> None:
        """Forget what no look will show again."""
        floor = self._behind(LOOK_BACK)
        self._taken = {identity: at for identity, at in self._taken.items() if at > floor}
