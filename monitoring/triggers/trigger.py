"""When a training run starts by itself: triggers arm, wait for enough data, expire, and cool down.

Pure: state, facts, policy and time give the next state, perhaps a start, and what status says. Changed traffic alone
never trains: only worse answers, a change together with a breached bound of quality, enough new feedback or the
calendar arm. Each source arms once. What an operator asks for is a run at once, no trigger. Knows neither detectors nor
runs, only what is said of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from core.clock import HOUR, SECOND
from core.types import JsonObject, Version
from monitoring.policy import TriggerPolicy


class Cause(StrEnum):
    """Why a trigger is armed, the most pressing first."""

    WORSE = "worse"
    CHANGED = "changed"
    FEEDBACK = "feedback"
    CALENDAR = "calendar"


@dataclass(frozen=True, slots=True)
class Sign:
    """An alarm: its id, the same as long as it is the same alarm, and what it says."""

    id: str
    says: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A candidate between training and decision, and since when its gate holds it."""

    version: Version
    stage: str
    held_since: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """The last run that ended as done or cancelled."""

    started_at: int
    ended_at: int


@dataclass(frozen=True, slots=True)
class Failed:
    """Runs that failed since the last one that did not."""

    count: int
    last_at: int
    says: str


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a trigger may go by. `rows` and `topics` are what curation would yield now, `feedback` the usable
    ratings since the last run; `breached` says which bound of quality is breached, if any."""

    champion_since: int
    rows: int = 0
    topics: int = 0
    feedback: int = 0
    worse: Sequence[Sign] = ()
    changed: Sequence[Sign] = ()
    breached: str | None = None
    training: str | None = None
    candidate: Waiting | None = None
    ended: Ended | None = None
    failed: Failed | None = None


@dataclass(frozen=True, slots=True)
class Armed:
    """A trigger that waits."""

    cause: Cause
    source: str
    reason: str
    at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class Triggers:
    """The state: what is armed, and which sources have armed already."""

    armed: Sequence[Armed] = ()
    spent: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Start:
    """Ask for a run; `requester` is system:CAUSE."""

    cause: Cause
    requester: str
    reason: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """A trigger that is armed no more, and why."""

    armed: Armed
    reason: str


@dataclass(frozen=True, slots=True)
class Step:
    """What one look leads to."""

    state: Triggers
    start: Start | None
    dropped: Sequence[Dropped]
    says: str


def step(state: Triggers, facts: Facts, policy: TriggerPolicy, now: int) -> Step:
    """One look at the facts. A trigger stays armed until its run has ended, so that a failed one is tried again."""
    signs = list(_signs(facts, policy, now))
    fresh = [sign for sign in signs if sign.source not in state.spent]
    spent = tuple(sign.source for sign in signs)
    kept, dropped = _still_armed([*state.armed, *fresh], facts, policy, now)
    kept = sorted(kept, key=lambda armed: (tuple(Cause).index(armed.cause), armed.at))
    following = Triggers(tuple(kept), spent)
    if not kept:
        return Step(following, None, dropped, _idle(facts))
    first = kept[0]
    if obstacle := _obstacle(facts, policy, now):
        return Step(following, None, dropped, f"{_name(first)}, {obstacle}")
    reason = "; ".join(armed.reason for armed in kept)
    start = Start(first.cause, f"system:{first.cause}", reason)
    return Step(following, start, dropped, f"{_name(first)}, starting a run")


def _signs(facts: Facts, policy: TriggerPolicy, now: int) -> Iterator[Armed]:
    """Everything that may arm now, each under a source of its own."""

    def armed(cause: Cause, source: str, reason: str) -> Armed:
        return Armed(cause, source, reason, now, now + policy.expire_after)

    for alarm in facts.worse:
        yield armed(Cause.WORSE, alarm.id, alarm.says)
    if facts.breached:
        for alarm in facts.changed:
            yield armed(Cause.CHANGED, alarm.id, f"{alarm.says}, and {facts.breached}")
    since = facts.ended.ended_at if facts.ended else facts.champion_since
    if policy.new_feedback and facts.feedback >= policy.new_feedback:
        times = facts.feedback // policy.new_feedback
        yield armed(Cause.FEEDBACK, f"feedback:{since}:{times}", f"{facts.feedback} new ratings")
    if policy.every and now - since >= policy.every:
        times = (now - since) // policy.every
        yield armed(Cause.CALENDAR, f"calendar:{since}:{times}", f"{_hours(now - since)} without a run")


def _still_armed(
    triggers: Sequence[Armed], facts: Facts, policy: TriggerPolicy, now: int
) -> tuple[list[Armed], Sequence[Dropped]]:
    kept, dropped = [], []
    blocked = _blocked(facts, policy, now) is not None
    for armed in triggers:
        # Time spent behind another run or candidate is not time without data.
        current = replace(armed, expires_at=max(armed.expires_at, now + policy.expire_after)) if blocked else armed
        reason = _settled(current, facts, policy, now)
        if reason:
            dropped.append(Dropped(current, reason))
        else:
            kept.append(current)
    return kept, tuple(dropped)


def _settled(armed: Armed, facts: Facts, policy: TriggerPolicy, now: int) -> str | None:
    if facts.ended and armed.at <= facts.ended.started_at:
        return "its run has ended"
    if armed.at < facts.champion_since:
        return "the champion has changed since"
    if now >= armed.expires_at:
        return f"expired after {_hours(now - armed.at)}: {_missing(facts, policy) or 'no run could start'}"
    return None


def _blocked(facts: Facts, policy: TriggerPolicy, now: int) -> str | None:
    """What stands before any run, however urgent."""
    if facts.training:
        return f"run {facts.training} is open"
    waiting = facts.candidate
    if waiting is None:
        return None
    if waiting.held_since is not None and now - waiting.held_since >= policy.supersede_after:
        return None
    return f"waiting for candidate {waiting.version} at stage {waiting.stage}"


def _obstacle(facts: Facts, policy: TriggerPolicy, now: int) -> str | None:
    blocked = _blocked(facts, policy, now)
    if blocked:
        return blocked
    missing = _missing(facts, policy)
    if missing:
        return f"waiting for data: {missing}"
    return _failing(facts, policy, now) or _resting(facts, policy, now)


def _missing(facts: Facts, policy: TriggerPolicy) -> str | None:
    if facts.rows < policy.min_rows:
        return f"{facts.rows} of {policy.min_rows}"
    if facts.topics < policy.min_topics:
        return f"{facts.topics} of {policy.min_topics} topics"
    return None


def _failing(facts: Facts, policy: TriggerPolicy, now: int) -> str | None:
    failed = facts.failed
    if failed is None:
        return None
    if failed.count >= policy.max_failures:
        return f"{failed.count} runs failed in a row ({failed.says}); mend the cause and start one by hand"
    if now < failed.last_at + policy.retry_after:
        return f"trying again {_moment(failed.last_at + policy.retry_after)} after a failed run ({failed.says})"
    return None


def _resting(facts: Facts, policy: TriggerPolicy, now: int) -> str | None:
    if facts.ended and now < facts.ended.ended_at + policy.cool_down:
        return f"cooling down until {_moment(facts.ended.ended_at + policy.cool_down)}"
    if policy.off_peak and not in_window(now, policy.off_peak):
        return f"waiting for the off-peak hours {policy.off_peak[0]} to {policy.off_peak[1]} UTC"
    return None


def in_window(now: int, hours: tuple[int, int]) -> bool:
    """Whether a time lies from the first hour (UTC) to just before the second; the window may span midnight."""
    hour = now // HOUR % 24
    start, end = hours
    return start <= hour < end if start <= end else hour >= start or hour < end


def _name(armed: Armed) -> str:
    names = {
        Cause.WORSE: "answers got worse",
        Cause.CHANGED: "drift seen",
        Cause.FEEDBACK: "new feedback",
        Cause.CALENDAR: "calendar",
    }
    return names[armed.cause]


def _idle(facts: Facts) -> str:
    return "traffic changed, answers no worse: nothing to train" if facts.changed else "nothing armed"


def _hours(duration: int) -> str:
    return f"{duration / HOUR:.0f} h"


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at // SECOND, UTC).strftime("%Y-%m-%d %H:%M UTC")


def to_json(state: Triggers) -> JsonObject:
    rows = [{name: getattr(armed, name) for name in Armed.__slots__} for armed in state.armed]
    return {"armed": rows, "spent": list(state.spent)}


def triggers_of(stored: JsonObject) -> Triggers:
    """The state that `to_json` stored. Raises KeyError, TypeError or ValueError for anything else."""
    rows: Sequence[JsonObject] = stored["armed"]  # type: ignore[assignment]
    armed = [Armed(**{**row, "cause": Cause(str(row["cause"]))}) for row in rows]  # type: ignore[arg-type]
    return Triggers(tuple(armed), tuple(stored["spent"]))  # type: ignore[arg-type]
