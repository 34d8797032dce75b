"""The job that says when more ratings are to be asked for than usual, since then each is worth more.

That is while traffic or answers are not what they were, while the champion's confidence is not known to mean what it
says, and while an A/B is undecided. Gateways read it along with the plan. Every arm is asked the same share.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from core import asking, plan, reports, states
from core.clock import Clock, now
from core.schema import checks
from core.store import Store
from core.types import JsonObject, Plan, Verdict

CALIBRATION = "calibration"
"""The kind of checks that say whether the champion's confidence means what it says."""
_ALARMED = {"traffic": ("changed", "traffic changed"), "answers": ("worse", "answers got worse")}
_UNSURE = {
    Verdict.WARMING: "too few ratings to say what the champion's confidence means",
    Verdict.ALARM: "the champion's confidence does not mean what it says",
}


@dataclass(frozen=True, slots=True)
class Asking:
    """The job; it remembers nothing."""

    store: Store
    clock: Clock = now

    async def tick(self) -> None:
        """Write down whether more is to be asked, when that or its reason changed."""
        await asyncio.to_thread(self._look)

    def _look(self) -> None:
        with self.store.read() as conn:
            found = plan.read(conn)
            if found is None:
                return
            reason, kept = reason_for_more(conn, found), states.read(conn, asking.STATE)
        wanted: JsonObject = {"more": reason is not None, "reason": reason or "nothing asks for more ratings"}
        if kept and all(kept.body.get(name) == value for name, value in wanted.items()):
            return
        at = self.clock()
        with self.store.write() as conn:
            states.put(conn, asking.STATE, {**wanted, "at": at}, at)


def reason_for_more(conn: Connection, found: Plan) -> str | None:
    """Why ratings are worth more than usual now; None while they are not."""
    condition = reports.condition(conn) or {}
    for name, (state, reason) in _ALARMED.items():
        part = condition.get(name)
        if isinstance(part, Mapping) and part.get("state") == state:
            return reason
    if found.split is not None:
        return f"the comparison with {found.split.challenger} is undecided"
    newest = (
        select(checks.c.verdict)
        .where(checks.c.kind == CALIBRATION, checks.c.version == found.champion)
        .order_by(checks.c.id.desc())
        .limit(1)
    )
    verdict = conn.scalar(newest)
    return _UNSURE.get(Verdict(verdict)) if verdict else None
