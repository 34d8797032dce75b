"""Where one watched stream stands between two looks: its watch, its alarm, and what was last written down of it.

Pure. An alarm's id stays the same while it lasts, so that it arms a trigger once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from core.clock import SECOND
from core.types import JsonObject, Verdict, Version
from monitoring.drift.streams import Observation
from monitoring.drift.watched import View, Watched
from monitoring.triggers.trigger import Sign

PACE = 60 * SECOND
"""Time between two checks of a stream that say the same."""
_PLAIN = ("values", "alarms", "alarm_at", "verdict", "told", "told_at")


@dataclass(frozen=True, slots=True)
class Standing:
    """`values` and `alarms` count them from the start; `verdict`, `told` and `told_at` are what was last written down
    and when."""

    watched: Watched
    values: int = 0
    alarms: int = 0
    alarm: Sign | None = None
    alarm_at: int = 0
    verdict: str | None = None
    told: str = ""
    told_at: int = 0

    def after(self, observed: Sequence[Observation], name: str, version: Version, now: int) -> "Standing":
        """The standing with these values, oldest first; a first alarm gets its name."""
        if not observed:
            return self
        current = replace(self, watched=self.watched.after(observed), values=self.values + len(observed))
        found = current.watched.view()
        if self.alarm or found.verdict is not Verdict.ALARM:
            return current
        number = self.alarms + 1
        alarm = Sign(f"{name}:{version}:{number}", f"{name}: {found.says}")
        return replace(current, alarms=number, alarm=alarm, alarm_at=now)

    def without_alarm(self) -> "Standing":
        """Watched anew: somebody has dealt with the alarm."""
        return replace(self, watched=self.watched.anew(), alarm=None)

    def is_due(self, found: View, now: int) -> bool:
        """Whether what it says is to be written down: a new verdict at once, other news now and then."""
        if found.verdict != self.verdict:
            return True
        return _words(found) != self.told and now - self.told_at >= PACE

    def noted(self, found: View, now: int) -> "Standing":
        """The standing after this was written down."""
        return replace(self, verdict=found.verdict, told=_words(found), told_at=now)

    def to_json(self, cursor: int) -> JsonObject:
        """To store, with the time of the newest value that is in it."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        alarm = asdict(self.alarm) if self.alarm else None
        watch, breached = self.watched.to_json(), self.watched.breach()
        return {**plain, "alarm": alarm, "watch": watch, "breached": breached, "cursor": cursor}

    def stored(self, body: JsonObject) -> "Standing":
        """What `to_json` made. Raises KeyError, TypeError or ValueError for anything else."""
        plain = {name: body[name] for name in _PLAIN}
        alarm: Mapping[str, str] | None = body["alarm"]  # type: ignore[assignment]
        watch: JsonObject = body["watch"]  # type: ignore[assignment]
        sign = Sign(**alarm) if alarm else None
        return Standing(self.watched.stored(watch), alarm=sign, **plain)  # type: ignore[arg-type]


def _words(found: View) -> str:
    return f"{found.count} {found.says}"
