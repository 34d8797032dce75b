"""Windows of turns, each explained once it is full: what moved in the champion's traffic since its promotion.

The reference is what was asked first after the promotion, over a whole cycle at least, thinned evenly where that is
much. A window is compared with the part of it from the same hours of the cycle. It raises no alarm: the verdict in its
row is that of the streams. Reads what is new, and once a window its words; what follows from them explanation.py says.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from sqlalchemy import Connection, insert

from core import plan, reports, states
from core.clock import Clock, now
from core.ids import new_id
from core.reports import ReportKind
from core.schema import checks
from core.store import Store
from core.types import Check, JsonObject, Verdict, Version
from monitoring.drift import prompts, streams
from monitoring.drift.arrivals import Arrivals, time_of
from monitoring.drift.effects import Effect, Floats, effects
from monitoring.drift.explanation import Explanation, explain, to_json
from monitoring.drift.reference import phases
from monitoring.drift.watched import Numbers
from monitoring.drift.watchlist import Watchlist

PREFIX = "windows/"
"""Under it is kept which turns are the reference of a version, and how many windows were closed."""
MOST_REFERENCE = 2000
"""Turns of the reference; twice as many are held while it is collected."""
FEWEST_ALIKE = 200
"""Turns of the reference from the same hours, below which a window is compared with all of it."""
VERDICTS = {"warming": Verdict.WARMING, "ok": Verdict.OK, "changed": Verdict.ALARM}


@dataclass(slots=True)
class Followed:
    """The windows of the present champion, as this process follows them. All turns are by the ids of their answers."""

    champion: Version
    since: int
    arrivals: Arrivals
    reference: list[str]
    complete: bool
    closed: int = 0
    open: list[str] = field(default_factory=list)
    """The turns since the last window was closed."""
    stride: int = 1
    """Of so many turns one is taken into the reference."""
    met: int = 0
    numbers: dict[str, Floats] = field(default_factory=dict)
    """The values of each stream at the time of the reference, sorted."""


class Windows:
    """The job that explains. Make a new one for each leader: it remembers the window that is open."""

    def __init__(self, store: Store, watchlist: Watchlist, size: int, clock: Clock = now) -> None:
        self._store = store
        self._policy = watchlist.policy
        self._streams = [stream for stream in watchlist.streams if isinstance(stream.watched, Numbers)]
        self._size = size
        self._clock = clock
        self._followed: Followed | None = None

    async def tick(self) -> None:
        """Take what was asked since the last look; explain each window that it fills."""
        await asyncio.to_thread(self._look)

    def _look(self) -> None:
        with self._store.read() as conn:
            followed = self._current(conn)
            if followed is None:
                return
            fresh = streams.questions(conn, followed.champion, followed.arrivals)
        for question in fresh:
            followed.arrivals.take(question.id, question.at)
        followed.arrivals.forget()
        taken = [question.answer for question in fresh]
        if not followed.complete:
            taken = self._collected(followed, taken)
        followed.open += taken
        while len(followed.open) >= self._size:
            self._close(followed, followed.open[: self._size])

    def _current(self, conn: Connection) -> Followed | None:
        found = plan.read(conn)
        if found is None:
            return None
        reign = found.champion, streams.champion_since(conn, found.champion)
        if self._followed is None or reign != (self._followed.champion, self._followed.since):
            self._followed = _resumed(conn, *reign)
        return self._followed

    def _collected(self, followed: Followed, taken: list[str]) -> list[str]:
        """Add turns to the reference; those behind its end."""
        for place, answer in enumerate(taken):
            if followed.met % followed.stride == 0:
                followed.reference.append(answer)
            followed.met += 1
            if len(followed.reference) >= 2 * MOST_REFERENCE:
                followed.reference, followed.stride = followed.reference[::2], 2 * followed.stride
            spans = time_of(answer) - time_of(followed.reference[0])
            if followed.met >= max(self._policy.min_reference, self._size) and spans >= self._policy.cycle:
                followed.complete = True
                followed.reference = _thinned(followed.reference)
                self._remember(followed, time_of(answer))
                return taken[place + 1 :]
        return []

    def _remember(self, followed: Followed, cursor: int) -> None:
        with self._store.write() as conn:
            states.drop(conn, PREFIX)
            self._put(conn, followed, 0, cursor)

    def _put(self, conn: Connection, followed: Followed, closed: int, cursor: int) -> None:
        body: JsonObject = {"reference": followed.reference, "closed": closed, "cursor": cursor}
        states.put(conn, f"{PREFIX}{followed.champion}", body, self._clock())

    def _close(self, followed: Followed, window: Sequence[str]) -> None:
        with self._store.read() as conn:
            before = prompts.read(conn, self._alike(followed.reference, window))
            asked = prompts.read(conn, window)
            followed.numbers |= self._reference_values(conn, followed, time_of(window[0]))
            values = {name: found for name, found in self._values(conn, followed, window)}
            verdict = _verdict(conn)
        found = explain(before, asked, followed.closed + 1)
        self._write(followed, window, found, list(effects(followed.numbers, values)), verdict)

    def _alike(self, reference: Sequence[str], window: Sequence[str]) -> Sequence[str]:
        """The part of the reference from the hours of the cycle in which the window lies."""
        hours = {self._phase(answer) for answer in window}
        alike = [answer for answer in reference if self._phase(answer) in hours]
        return alike if len(alike) >= FEWEST_ALIKE else reference

    def _phase(self, answer: str) -> int:
        cycle = self._policy.cycle
        return time_of(answer) % cycle * phases(self._policy) // cycle if cycle else 0

    def _reference_values(self, conn: Connection, followed: Followed, until: int) -> Iterator[tuple[str, Floats]]:
        """The first values of each stream since the promotion, from before the window; kept once there are enough."""
        for stream in self._streams:
            if len(followed.numbers.get(stream.name, ())) < self._policy.min_reference:
                seen = stream.read(conn, followed.champion, Arrivals(followed.since))
                yield stream.name, np.sort([value.value for value in seen if value.at < until])

    def _values(self, conn: Connection, followed: Followed, window: Sequence[str]) -> Iterator[tuple[str, Floats]]:
        """The values of each stream in the window."""
        mine, start = frozenset(window), Arrivals(time_of(window[0]) - 1000)
        for stream in self._streams:
            seen = stream.read(conn, followed.champion, start)
            yield stream.name, np.array([value.value for value in seen if value.answer in mine])

    def _write(
        self, followed: Followed, window: Sequence[str], found: Explanation, sizes: Sequence[Effect], verdict: Verdict
    ) -> None:
        at = self._clock()
        report = to_json(found, sizes, at)
        with self._store.write() as conn:
            self._put(conn, followed, found.number, time_of(window[-1]))
            reports.put(conn, ReportKind.TRAFFIC, followed.champion, report, at)
            conn.execute(insert(checks).values(**asdict(_check(followed.champion, found, report, verdict, at))))
        followed.closed, followed.open = found.number, followed.open[len(window) :]


def _resumed(conn: Connection, champion: Version, since: int) -> Followed:
    state = states.read(conn, f"{PREFIX}{champion}")
    # A version that is champion for the second time is compared with what is asked then.
    if state is None or state.updated_at < since:
        return Followed(champion, since, Arrivals(since), [], complete=False)
    kept: Sequence[str] = state.body["reference"]  # type: ignore[assignment]
    cursor, closed = int(str(state.body["cursor"])), int(str(state.body["closed"]))
    return Followed(champion, since, Arrivals(cursor), list(kept), complete=True, closed=closed)


def _thinned(reference: Sequence[str]) -> list[str]:
    """MOST_REFERENCE of them at most, evenly."""
    count = min(len(reference), MOST_REFERENCE)
    return [reference[place * len(reference) // count] for place in range(count)]


def _verdict(conn: Connection) -> Verdict:
    """What the streams say of the traffic."""
    condition: Mapping[str, Mapping[str, str]] | None = reports.condition(conn)  # type: ignore[assignment]
    return VERDICTS[condition["traffic"]["state"]] if condition else Verdict.WARMING


def _check(version: Version, found: Explanation, report: JsonObject, verdict: Verdict, at: int) -> Check:
    told = {name: report[name] for name in ("says", "p", "alpha", "moved", "window", "terms")}
    auc = found.domain.auc if found.domain else None
    return Check(new_id(at // 1000), at, "explanation", "traffic", version, auc, None, verdict, found.turns, told)
