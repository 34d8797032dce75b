"""How much could be trained on now, counted from time to time and published for those who start runs and for people.

Counts only when something was said since, and never for more than a small share of the time.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from core import judgements, states
from core.clock import Clock, now
from core.datasets import Datasets
from core.plan import read as read_plan
from core.runs import Runs
from core.store import Store
from core.types import JsonObject
from training import material
from training.curation import Curated, Material
from training.material import Count, Least, Window
from training.rows import FEEDBACK
from training.rules import Rules

SHARE = 0.05
"""Of the time, at most, that counting takes."""
ANEW = 600.0
"""Seconds after which everything is counted again, since words may have been taken back."""

State = tuple[str | None, str | None]
"""The champion and the last run that ended: what else decides what is new."""
Place = tuple[int, str]
"""The time and the id of a judgement."""


@dataclass(frozen=True, slots=True)
class Yield:
    """What curation would make of the ledger. `feedback`: judgements behind the rows, given since the last run."""

    count: Count
    feedback: int
    since: int
    says: str

    def to_json(self, at: int) -> JsonObject:
        return {
            "rows": self.count.rows,
            "topics": self.count.topics,
            "feedback": self.feedback,
            "method": self.count.method,
            "since": self.since,
            "says": self.says,
            "at": at,
        }


def measure(found: Material, new: Window, method: str, rules: Rules, least: Least) -> Yield:
    """What the recent judgements of a window would yield."""
    curated, count = material.prepare(found, method, rules, least)
    says = least.compare(count) + (f": enough for a run by {count.method}" if least.met(count) else "")
    return Yield(count, _ratings(curated, found, new), new.since, says)


class Yields:
    """The count that is published under `states.YIELD`."""

    def __init__(
        self,
        store: Store,
        datasets: Datasets,
        rules: Rules,
        method: str,
        least: Least,
        every: float,
        *,
        clock: Clock = now,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._datasets = datasets
        self._rules = rules
        self._method = method
        self._least = least
        self._every = every
        self._clock = clock
        self._timer = timer
        self._next = self._anew = 0.0
        self._state: State | None = None
        self._last: Place = (0, "")

    def look(self) -> Yield | None:
        """Count and publish, if it is time and there is anything new. Raises Unavailable."""
        start = self._timer()
        if start < self._next:
            return None
        self._next = start + self._every
        state = self._look_around()
        if start < self._anew and state == self._state and not self._heard():
            return None
        found = self._count()
        self._state = state
        self._anew = start + ANEW
        self._next = start + max(self._every, (self._timer() - start) / SHARE)
        return found

    def _count(self) -> Yield:
        new = material.window(self._store, self._datasets)
        recent = material.gather(self._store, new, replay=False)
        found = measure(recent, new, self._method, self._rules, self._least)
        at = self._clock()
        with self._store.write() as conn:
            states.put(conn, states.YIELD, found.to_json(at), at)
        self._last = _last(recent, new.start)
        return found

    def _look_around(self) -> State:
        ended = Runs(self._store).ended(1)
        with self._store.read() as conn:
            plan = read_plan(conn)
        return plan.champion if plan else None, ended[0].id if ended else None

    def _heard(self) -> bool:
        """Whether anything was said after the last count."""
        with self._store.read() as conn:
            return bool(judgements.since(conn, self._last[0], None, self._last, 1))


def _last(found: Material, start: int) -> Place:
    words = [judged.feedback for judged in found.recent.judged] + [feedback for feedback, _ in found.recent.barred]
    return max(((word.created_at, word.id) for word in words), default=(start, ""))


def _ratings(curated: Curated, found: Material, new: Window) -> int:
    times = {judged.feedback.id: judged.feedback.created_at for judged in found.recent.judged}
    fresh = [row.provenance for row in curated.rows if row.provenance.source == FEEDBACK]
    return sum(times[voice.feedback] >= new.tried for provenance in fresh for voice in provenance.voices)
