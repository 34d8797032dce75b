"""The watches over the champion's answers: each stream is continued with what is new, and what it says is written down.

A new champion gets new watches. A drift alarm stays until a run has ended or a person has dealt with it, one of
calibration until a person has; then the stream is watched anew. Knows rows and times; what a change is, drift.py says.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

import numpy as np
from sqlalchemy import Connection, insert

from core import plan, states
from core.clock import HOUR, Clock, now
from core.ids import new_id
from core.runs import Runs
from core.schema import checks
from core.store import Store
from core.types import Check, RunState, Verdict, Version
from monitoring import streams
from monitoring.arrivals import Arrivals
from monitoring.notices import Kind, Outbox
from monitoring.policy import Policies
from monitoring.scores import LOGPROB, PROMPT
from monitoring.standing import Standing
from monitoring.streams import Observation
from monitoring.watched import Confidences, Numbers, Shares, View, Watched

DRIFT, CALIBRATION = "drift", "calibration"
THUMBS, LENGTH, CONFIDENCE = "thumbs", "length", "confidence"
"""The state by which a person says that all alarms until then are dealt with."""
WAITED = HOUR
"""How long values that may still come are waited for while there are none."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stream:
    """Something to watch: how it is read, with what, and what an alarm asks for."""

    kind: str
    name: str
    read: Callable[[Connection, Version, Arrivals], Sequence[Observation]]
    watched: Watched
    action: str

    def state(self, version: Version) -> str:
        """The name under which its standing is kept."""
        return f"{DRIFT}/{self.name}/{version}" if self.kind == DRIFT else f"{self.kind}/{version}"


def all_streams(policies: Policies, rng: np.random.Generator) -> Sequence[Stream]:
    """Everything that is watched."""
    numbers = Numbers(policies.drift, rng)
    labels = "ask for labels: a run starts only if ratings fall as well"
    return (
        Stream(
            DRIFT,
            THUMBS,
            partial(streams.thumbs, metric=THUMBS),
            Shares(policies.drift),
            "retrain: a run starts by itself once there is enough to train on",
        ),
        Stream(DRIFT, LOGPROB, partial(streams.scored, name=LOGPROB), numbers, labels),
        Stream(DRIFT, PROMPT, partial(streams.scored, name=PROMPT), numbers, labels),
        Stream(DRIFT, LENGTH, streams.lengths, numbers, "ignore, unless ratings fall as well"),
        Stream(
            CALIBRATION,
            CONFIDENCE,
            partial(streams.confidences, metric=THUMBS, name=LOGPROB),
            Confidences(policies.calibration),
            "recalibrate",
        ),
    )


@dataclass(slots=True)
class Followed:
    """A stream of the present champion, as this process follows it."""

    stream: Stream
    standing: Standing
    arrivals: Arrivals
    kept: Standing | None = field(default=None)
    """The standing as the ledger has it."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one look brings to one stream; nothing is changed before it is in the ledger."""

    followed: Followed
    standing: Standing
    taken: Sequence[Observation]
    check: Check | None

    @property
    def changes(self) -> bool:
        return self.standing != self.followed.kept

    @property
    def cursor(self) -> int:
        return max((self.followed.arrivals.cursor, *(observation.at for observation in self.taken)))

    def is_new_alarm(self) -> bool:
        return self.standing.alarms > self.followed.standing.alarms


class Watches:
    """The job that watches. Make a new one for each leader: it remembers what it took."""

    def __init__(self, store: Store, watched: Sequence[Stream], outbox: Outbox, clock: Clock = now) -> None:
        self._store = store
        self._streams = watched
        self._outbox = outbox
        self._clock = clock
        self._reign: tuple[Version, int] | None = None
        """The champion that is followed, and since when it is one."""
        self._followed: Sequence[Followed] = ()
        self._outdated: Sequence[str] = ()
        """Standings of streams of former champions."""

    async def tick(self) -> None:
        """Continue every stream of the present champion."""
        await asyncio.to_thread(self._look)

    def _look(self) -> None:
        with self._store.read() as conn:
            found = plan.read(conn)
            if found is None:
                return
            reign = found.champion, streams.champion_since(conn, found.champion)
            if reign != self._reign:
                self._followed = list(self._resumed(conn, *reign))
                self._outdated = [name for name in _kept(conn) if name.rpartition("/")[2] != found.champion]
                self._reign = reign
            dealt = self._dealt_with(conn)
            steps = [self._step(conn, followed, found.champion, dealt) for followed in self._followed]
        if self._outdated or any(step.changes for step in steps):
            self._keep(steps, found.champion)
        self._take(steps)

    def _resumed(self, conn: Connection, champion: Version, since: int) -> Iterator[Followed]:
        for stream in self._streams:
            standing, state = Standing(stream.watched.empty()), states.read(conn, stream.state(champion))
            # A version that is champion for the second time is watched like a new one.
            if state and state.updated_at >= since:
                standing = standing.stored(state.body)
                yield Followed(stream, standing, Arrivals(int(str(state.body["cursor"]))), standing)
            else:
                yield Followed(stream, standing, Arrivals(since))

    def _dealt_with(self, conn: Connection) -> Mapping[str, int]:
        """Until when the alarms of each kind are dealt with."""
        word = states.read(conn, states.ACKNOWLEDGED)
        acknowledged = word.updated_at if word else 0
        ends = [run.ended_at for run in Runs(self._store).ended() if run.state is not RunState.FAILED and run.ended_at]
        return {CALIBRATION: acknowledged, DRIFT: max([acknowledged, *ends])}

    def _step(self, conn: Connection, followed: Followed, champion: Version, dealt: Mapping[str, int]) -> Step:
        stream, at = followed.stream, self._clock()
        standing = followed.standing
        if standing.alarm and standing.alarm_at < dealt[stream.kind]:
            standing = standing.without_alarm()
        observed = stream.read(conn, champion, followed.arrivals)
        standing = standing.after(observed, stream.name, champion, at)
        found = standing.watched.view()
        if not standing.is_due(found, at):
            return Step(followed, standing, observed, None)
        return Step(followed, standing.noted(found, at), observed, _check(stream, champion, found, at))

    def _keep(self, steps: Sequence[Step], champion: Version) -> None:
        at = self._clock()
        with self._store.write() as conn:
            for name in self._outdated:
                states.drop(conn, name)
            for step in steps:
                if step.changes:
                    states.put(conn, step.followed.stream.state(champion), step.standing.to_json(step.cursor), at)
                if step.check:
                    conn.execute(insert(checks).values(**asdict(step.check)))
                if step.is_new_alarm():
                    self._announce(conn, step, champion, at)

    def _announce(self, conn: Connection, step: Step, champion: Version, at: int) -> None:
        stream, alarm = step.followed.stream, step.standing.alarm
        if alarm is None:
            return
        log.warning("alarm: %s", alarm.says, extra={"alarm": alarm.id, "action": stream.action})
        if stream.kind == DRIFT:
            body = {"alarm": alarm.id, "model": champion, "says": alarm.says, "action": stream.action}
            self._outbox.put(conn, Kind.DRIFT, body, at)

    def _take(self, steps: Sequence[Step]) -> None:
        self._outdated = ()
        for step in steps:
            followed = step.followed
            if step.changes:
                followed.kept = step.standing
            followed.standing = step.standing
            for observation in step.taken:
                followed.arrivals.take(observation.id, observation.at)
            if not step.taken:
                followed.arrivals.wait_no_more(self._clock() - WAITED)
            followed.arrivals.forget()


def _kept(conn: Connection) -> Sequence[str]:
    """The names of all standings."""
    return [name for kind in (DRIFT, CALIBRATION) for name in states.under(conn, f"{kind}/")]


def _check(stream: Stream, version: Version, found: View, at: int) -> Check:
    action = stream.action if found.verdict is Verdict.ALARM else "none"
    return Check(
        id=new_id(at // 1000),
        created_at=at,
        kind=stream.kind,
        stream=stream.name,
        version=version,
        statistic=found.statistic,
        threshold=found.threshold,
        verdict=found.verdict,
        count=found.count,
        details={"says": found.says, "action": action, **found.theory},
    )
