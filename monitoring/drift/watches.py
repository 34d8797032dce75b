"""The watches over the champion's answers: each stream is continued with what is new, and what it says is written down.

A new champion gets new watches. A drift alarm stays until a run has ended or a person has dealt with it, one of
calibration until a person has; then the stream is watched anew. Knows rows and times; what a change is, numbers.py and
shares.py say, and what it means, watchlist.py and condition.py.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from sqlalchemy import Connection, insert

from core import plan, reports, states
from core.clock import HOUR, Clock, now
from core.ids import new_id
from core.runs import Runs
from core.schema import checks
from core.store import Store
from core.types import Check, JsonObject, RunState, Verdict, Version
from monitoring.drift import streams
from monitoring.drift.arrivals import Arrivals
from monitoring.drift.condition import Action, Reading, condition, is_news
from monitoring.drift.standing import Standing
from monitoring.drift.streams import Observation
from monitoring.drift.watched import View
from monitoring.drift.watchlist import CALIBRATION, DRIFT, Stream, Watchlist
from monitoring.notices import Kind, Outbox

WAITED = HOUR
"""How long values that may still come are waited for while there are none."""

log = logging.getLogger(__name__)


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

    def reading(self) -> Reading:
        """What the stream says of the two states."""
        stream, standing = self.followed.stream, self.standing
        found = standing.watched.view()
        since = standing.alarm_at if standing.alarm else None
        return Reading(
            stream.name, stream.side, stream.vital, found.verdict, since, found.says, stream.action, stream.reason
        )


class Watches:
    """The job that watches. Make a new one for each leader: it remembers what it took."""

    def __init__(self, store: Store, watchlist: Watchlist, outbox: Outbox, clock: Clock = now) -> None:
        self._store = store
        self._watchlist = watchlist
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
            dealt = self._dealt_with(conn, found.champion)
            continued = [self._continued(conn, followed, found.champion, dealt) for followed in self._followed]
            steps = list(self._steps(continued, found.champion))
            state = self._state(conn, steps)
        if self._outdated or state or any(step.changes for step in steps):
            self._keep(steps, state, found.champion)
        self._take(steps)

    def _resumed(self, conn: Connection, champion: Version, since: int) -> Iterator[Followed]:
        for stream in self._watchlist.streams:
            empty, state = Standing(stream.watched.empty()), states.read(conn, stream.state(champion))
            # A version that is champion for the second time is watched like a new one.
            standing = _stored(empty, state.body, stream) if state and state.updated_at >= since else None
            at = int(str(state.body["cursor"])) if state and standing else since
            yield Followed(stream, standing or empty, Arrivals(at), standing)

    def _dealt_with(self, conn: Connection, champion: Version) -> Mapping[str, int]:
        """Until when the alarms of each kind are dealt with: those of calibration by a new map too."""
        word, chart = states.read(conn, states.ACKNOWLEDGED), states.read(conn, f"{reports.MAP}/{champion}")
        acknowledged, mapped = word.updated_at if word else 0, chart.updated_at if chart else 0
        ends = [run.ended_at for run in Runs(self._store).ended() if run.state is not RunState.FAILED and run.ended_at]
        return {CALIBRATION: max(acknowledged, mapped), DRIFT: max([acknowledged, *ends])}

    def _continued(
        self, conn: Connection, followed: Followed, champion: Version, dealt: Mapping[str, int]
    ) -> tuple[Followed, Standing, Sequence[Observation]]:
        stream, standing = followed.stream, followed.standing
        if standing.alarm and standing.alarm_at < dealt[stream.kind]:
            standing = standing.without_alarm()
        observed = stream.read(conn, champion, followed.arrivals)
        return followed, standing.after(observed, stream.name, champion, self._clock()), observed

    def _steps(
        self, continued: Sequence[tuple[Followed, Standing, Sequence[Observation]]], champion: Version
    ) -> Iterator[Step]:
        at, family = self._clock(), self._family([(each.stream, standing) for each, standing, _ in continued])
        for followed, standing, observed in continued:
            found = standing.watched.view()
            # That there is nothing to see yet is no news, save for confidence: ratings are asked for while it warms.
            speaks = standing.values > 0 or followed.stream.kind == CALIBRATION
            if speaks and standing.is_due(found, at):
                check = _check(followed.stream, champion, found, family, at)
                yield Step(followed, standing.noted(found, at), observed, check)
            else:
                yield Step(followed, standing, observed, None)

    def _family(self, standings: Sequence[tuple[Stream, Standing]]) -> JsonObject:
        """How often a stream alarms falsely by itself, and one of all that have values."""
        policy = self._watchlist.policy
        speaking = sum(stream.kind == DRIFT and standing.values > 0 for stream, standing in standings)
        family = policy.family(max(speaking, 1))
        return {"run_length": policy.run_length, "family": family, "streams": speaking}

    def _state(self, conn: Connection, steps: Sequence[Step]) -> JsonObject | None:
        """The condition over all streams, where there is news of it."""
        speaking = [step for step in steps if step.standing.values]
        family = self._family([(step.followed.stream, step.standing) for step in steps])
        found = condition([step.reading() for step in speaking], float(str(family["family"])), self._clock())
        return found if is_news(reports.condition(conn), found) else None

    def _keep(self, steps: Sequence[Step], state: JsonObject | None, champion: Version) -> None:
        at = self._clock()
        with self._store.write() as conn:
            for name in self._outdated:
                states.drop(conn, name)
            if state:
                states.put(conn, reports.CONDITION, state, at)
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
            asked = {"action": stream.action, "reason": stream.reason}
            body = {"alarm": alarm.id, "model": champion, "says": alarm.says, **asked}
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


def _stored(empty: Standing, body: JsonObject, stream: Stream) -> Standing | None:
    try:
        return empty.stored(body)
    except (KeyError, TypeError, ValueError) as error:
        # Written by another release. What a watch knows, the rows still tell.
        log.info("the watch over %s begins anew: %r is not what is kept now", stream.name, error)
        return None


def _check(stream: Stream, version: Version, found: View, family: JsonObject, at: int) -> Check:
    alarmed, theory = found.verdict is Verdict.ALARM, family if stream.kind == DRIFT else {}
    asked = {"action": stream.action, "reason": stream.reason} if alarmed else {"action": Action.NONE, "reason": ""}
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
        details={"says": found.says, **asked, **theory, **found.theory},
    )
