"""How traffic and answers are, over all streams: two states, told apart, and the one thing that is to be done.

    traffic   warming | ok | changed    what people ask, and how the answers look
    answers   warming | ok | worse      what was said of the answers, and what is wrong with them by itself

Pure. Changed traffic is no harm, and harm may come without any change of traffic, so neither state is made from the
other. Knows streams only by what their watches say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from core.clock import SECOND
from core.types import JsonObject, Verdict

PACE = 60 * SECOND
"""Time after which new words for the same states are published."""


class Side(StrEnum):
    """Which of the two states a stream speaks about, as it is published."""

    TRAFFIC = "traffic"
    ANSWERS = "answers"


class Action(StrEnum):
    """What an alarm asks for, the most pressing first."""

    RETRAIN = "retrain"
    RECALIBRATE = "recalibrate"
    LABELS = "ask for labels"
    IGNORE = "ignore"
    NONE = "none"


WRONG = {Side.TRAFFIC: "changed", Side.ANSWERS: "worse"}


@dataclass(frozen=True, slots=True)
class Reading:
    """What the watch over one stream says. `since` is the time of its alarm, None without one.

    A `vital` stream has to be like its reference before its state is ok; the others can only raise an alarm. `side` is
    None for a stream that asks for something but speaks about neither state.
    """

    stream: str
    side: Side | None
    vital: bool
    verdict: Verdict
    since: int | None
    says: str
    action: Action
    reason: str


def condition(readings: Sequence[Reading], family_run_length: float, at: int) -> JsonObject:
    """The document; `readings` are of streams that had a value at least. Times are microseconds.

    `family_run_length` is the number of observations of each stream between two false alarms of any of them.
    """
    alarmed = [reading for reading in readings if reading.since is not None]
    pressing = min(alarmed, key=lambda reading: tuple(Action).index(reading.action), default=None)
    return {
        **{side.value: _state(side, [reading for reading in readings if reading.side is side]) for side in Side},
        "action": pressing.action if pressing else Action.NONE,
        "reason": f"{pressing.stream}: {pressing.reason}" if pressing else "",
        "family_run_length": family_run_length,
        "at": at,
    }


def _state(side: Side, readings: Sequence[Reading]) -> JsonObject:
    alarmed = sorted((r for r in readings if r.since is not None), key=lambda r: (r.since or 0, r.stream))
    if alarmed:
        return _document(WRONG[side], alarmed, "; ".join(f"{r.stream} {r.says}" for r in alarmed))
    vital = [reading for reading in readings if reading.vital]
    warming = [reading for reading in vital if reading.verdict is Verdict.WARMING]
    if not vital:
        return _document("warming", (), "no values yet")
    if warming:
        return _document("warming", (), "; ".join(f"{r.stream} {_short(r.says)}" for r in warming))
    return _document("ok", (), "like the reference")


def _document(state: str, alarmed: Sequence[Reading], says: str) -> JsonObject:
    since = alarmed[0].since if alarmed else None
    return {"state": state, "since": since, "streams": [reading.stream for reading in alarmed], "says": says}


def _short(says: str) -> str:
    """The sentence of a watch that warms, without the word that the state has already."""
    return says.removeprefix("warming: ")


def is_news(before: JsonObject | None, found: JsonObject) -> bool:
    """Whether a document is to be published: at once when a state or the action is another one, words now and then."""
    if before is None or _core(before) != _core(found):
        return True
    earlier, later = int(str(before["at"])), int(str(found["at"]))
    return later - earlier >= PACE and {**before, "at": later} != found


def _core(document: JsonObject) -> Sequence[object]:
    sides: Sequence[JsonObject] = [document[side.value] for side in Side]  # type: ignore[misc]
    plain = [document["action"], document["reason"], document["family_run_length"]]
    return [*plain, *([side[name] for name in ("state", "since", "streams")] for side in sides)]
