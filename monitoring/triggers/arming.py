"""From rows to the facts of triggers, from their step to a run: asks for training when there is reason and data enough.

What is decided, trigger.py decides. What it waits for is published, and what was dropped leaves a trace.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile

from sqlalchemy import Connection, func, select

from core import plan, states, versions
from core.clock import SECOND, Clock, now
from core.errors import Conflict
from core.lifecycle import Stage
from core.runs import Runs
from core.schema import moves
from core.states import State
from core.store import Store
from core.types import JsonObject, Model, Run, RunState, Version
from monitoring.drift.streams import champion_since
from monitoring.drift.watchlist import DRIFT, THUMBS, WORSE
from monitoring.notices import Kind, Outbox
from monitoring.policy import TriggerPolicy
from monitoring.triggers import trigger
from monitoring.triggers.trigger import Dropped, Ended, Facts, Failed, Sign, Start, Step, Triggers, Waiting

WAITING = (Stage.CANDIDATE, Stage.SHADOW, Stage.AB, Stage.AWAITING_APPROVAL)
REMEMBERED = 5
"""How many dropped triggers status still shows."""
MAX_REASON = 2000
PACE = 60 * SECOND
"""Time after which what has not changed is written again, to show that somebody looked."""

log = logging.getLogger(__name__)


class Arming:
    """The job that arms triggers and asks for runs. `method` is the setting; auto leaves it to what there is."""

    def __init__(self, store: Store, policy: TriggerPolicy, method: str, outbox: Outbox, clock: Clock = now) -> None:
        self._store = store
        self._policy = policy
        self._method = method
        self._outbox = outbox
        self._clock = clock
        self._runs = Runs(store, clock)

    async def tick(self) -> None:
        """One look at the facts, and what follows from it."""
        await asyncio.to_thread(self._look)

    def _look(self) -> None:
        at, opened, ended = self._clock(), self._runs.open(), self._runs.ended()
        with self._store.read() as conn:
            found = plan.read(conn)
            if found is None:
                return
            facts = _facts(conn, found.champion, opened, ended)
            stored = states.read(conn, states.TRIGGERS)
            counted = states.read(conn, states.YIELD)
        step = trigger.step(_triggers(stored), facts, self._policy, at)
        self._keep(step, facts, stored, at)
        if step.start:
            self._ask(step.start, counted)

    def _keep(self, step: Step, facts: Facts, stored: State | None, at: int) -> None:
        dropped = [*(_document(each, at) for each in step.dropped), *_earlier(stored)][:REMEMBERED]
        body = {**trigger.to_json(step.state), "says": step.says, "waits": self._waits(facts), "dropped": dropped}
        if stored and stored.body == body and at - stored.updated_at < PACE:
            return
        with self._store.write() as conn:
            states.put(conn, states.TRIGGERS, body, at)
            for each in step.dropped:
                log.info("trigger dropped: %s", each.reason, extra={"cause": each.armed.cause})
                # That its run has ended, or the champion gave way, is news by itself.
                if each.armed.expires_at <= at:
                    self._outbox.put(conn, Kind.TRIGGER_DROPPED, _document(each, at), at)

    def _waits(self, facts: Facts) -> JsonObject:
        """What there is to train on, and what a run needs."""
        has = {"rows": facts.rows, "topics": facts.topics, "feedback": facts.feedback}
        needs = {"min_rows": self._policy.min_rows, "min_topics": self._policy.min_topics}
        return {**has, **needs, "new_feedback": self._policy.new_feedback}

    def _ask(self, start: Start, counted: State | None) -> None:
        method = str(counted.body["method"]) if self._method == "auto" and counted else self._method
        reason = start.reason[:MAX_REASON]
        try:
            run = self._runs.request(
                method=method, recipe={}, reason=reason, requester=start.requester, trigger=start.cause
            )
        except Conflict as error:
            # An operator was quicker; the trigger stays armed until that run has ended.
            log.info("%s", error.message)
        else:
            log.info("run asked for", extra={"run": run.id, "cause": start.cause})


def _facts(conn: Connection, champion: Version, opened: Run | None, ended: Sequence[Run]) -> Facts:
    last = next((Ended(run.started_at or run.created_at, _end(run)) for run in ended if not _failed(run)), None)
    counted = states.read(conn, states.YIELD)
    # What was counted before the last run ended is in that run.
    has = counted.body if counted and counted.updated_at >= (last.ended_at if last else 0) else {}
    watched = {name: state.body for name, state in states.under(conn, f"{DRIFT}/").items() if name.endswith(champion)}
    return Facts(
        champion_since=champion_since(conn, champion),
        rows=_count(has, "rows"),
        topics=_count(has, "topics"),
        feedback=_count(has, "feedback"),
        worse=[sign for stream, sign in _alarms(watched) if stream in WORSE],
        changed=[sign for stream, sign in _alarms(watched) if stream not in WORSE],
        breached=next(_breaches(watched), None),
        training=opened.id if opened else None,
        candidate=_waiting(conn),
        ended=last,
        failed=_failures(ended),
    )


def _alarms(watched: Mapping[str, JsonObject]) -> Iterator[tuple[str, Sign]]:
    """The alarms that last, each with its stream."""
    for name, body in watched.items():
        if body["alarm"]:
            alarm: Mapping[str, str] = body["alarm"]  # type: ignore[assignment]
            yield _stream(name), Sign(**alarm)


def _breaches(watched: Mapping[str, JsonObject]) -> Iterator[str]:
    """What is below its bound of quality: there is one only on what subjects said themselves."""
    return (str(body["breached"]) for name, body in watched.items() if body["breached"] and _stream(name) == THUMBS)


def _stream(name: str) -> str:
    return name.split("/")[1]


def _waiting(conn: Connection) -> Waiting | None:
    """The candidate that stands most in the way of another run: before a person, else the last one that moved."""
    found = [_held(conn, model) for model in versions.at_stage(conn, *WAITING)]
    return max(found, key=lambda waiting: (waiting.held_since is None, waiting.held_since or 0), default=None)


def _held(conn: Connection, model: Model) -> Waiting:
    if model.stage is Stage.AWAITING_APPROVAL:
        return Waiting(model.id, model.stage)
    since = select(func.max(moves.c.created_at)).where(moves.c.model == model.id, moves.c.target == model.stage)
    return Waiting(model.id, model.stage, conn.scalar(since) or model.created_at)


def _failures(ended: Sequence[Run]) -> Failed | None:
    """The runs that failed since the last one that did not; `ended` has the newest first."""
    failed = list(takewhile(_failed, ended))
    return Failed(len(failed), _end(failed[0]), failed[0].error or "no cause given") if failed else None


def _failed(run: Run) -> bool:
    return run.state is RunState.FAILED


def _end(run: Run) -> int:
    return run.ended_at or run.created_at


def _count(has: JsonObject, name: str) -> int:
    value = has.get(name, 0)
    return value if isinstance(value, int) else 0


def _triggers(stored: State | None) -> Triggers:
    return trigger.triggers_of({name: stored.body[name] for name in ("armed", "spent")}) if stored else Triggers()


def _earlier(stored: State | None) -> Sequence[JsonObject]:
    dropped: Sequence[JsonObject] = stored.body["dropped"] if stored else ()  # type: ignore[assignment]
    return dropped


def _document(dropped: Dropped, at: int) -> JsonObject:
    armed = dropped.armed
    says = f"{armed.reason}: {dropped.reason}"
    return {"cause": armed.cause, "source": armed.source, "armed_at": armed.at, "at": at, "says": says}
