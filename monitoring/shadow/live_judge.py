"""A judge's mark for single live answers, 0..1, as one more score; what follows from its course is for the watches.

The judge of a version's answers is the same as long as the version is served, so that its marks compare: a learned one
knows only words from before the version, or from before there were first enough. One that fails or is slow rests, so
that the other scores need not wait for it.
"""

import asyncio
import logging
from collections.abc import Mapping

from sqlalchemy import Connection

from core import states, versions
from core.clock import SECOND, Clock, now
from core.errors import HoneError
from core.settings import Settings
from core.store import Store
from core.types import Interaction, Version
from monitoring import history
from monitoring.shadow.judge import Judge
from monitoring.shadow.judges import Judges
from monitoring.shadow.questions import text_of
from monitoring.shadow.rubric import Complete
from serving import providers

SCORE = "judge"
STATE = "live_judge/"
"""Prefix of the state that says from before when a version's judge knows."""
PAUSE = 60 * SECOND
"""After a failure."""
AGAIN = 600 * SECOND
"""Between two attempts to appoint a judge."""
SHARE = 0.2
"""Of the time that a slow judge may take from the other scores."""

log = logging.getLogger(__name__)


class LiveJudge:
    """A source of scores. Never raises what the judge raises: then there is no mark."""

    def __init__(
        self, store: Store, settings: Settings, clock: Clock = now, complete: Complete = providers.complete
    ) -> None:
        self._store, self._clock = store, clock
        self._judges = Judges(store, settings, complete)
        self._appointed: dict[Version, tuple[Judge | None, int]] = {}
        self._rests_until = 0

    @property
    def name(self) -> str:
        return SCORE

    async def of(self, answer: Interaction) -> Mapping[str, float]:
        """The mark of an answer; empty while the judge rests, or when it says nothing that can be understood."""
        said, began = text_of((answer.reply or {}).get("content")), self._clock()
        if not said or answer.served is None or began < self._rests_until:
            return {}
        judge = await self._judge(answer.served)
        if judge is None:
            return {}
        asked = self._clock()
        try:
            mark = await judge.rate(answer.messages, said)
        except HoneError as error:
            self._rests_until = self._clock() + PAUSE
            log.warning("the judge rests: %s", error.message)
            return {}
        ended = self._clock()
        self._rests_until = ended + round((ended - asked) * (1 - SHARE) / SHARE)
        return {} if mark is None else {SCORE: mark}

    async def _judge(self, version: Version) -> Judge | None:
        judge, at = self._appointed.get(version, (None, -AGAIN))
        if judge is None and self._clock() - at >= AGAIN:
            appointed: Judge | None = await asyncio.to_thread(self._appoint, version)
            self._appointed[version] = appointed, self._clock()
            return appointed
        return judge

    def _appoint(self, version: Version) -> Judge | None:
        """The judge that was appointed before, else the one that knows all from before the version's run, else the
        first one that there are words enough for."""
        with self._store.read() as conn:
            until = self._kept(conn, version) or history.asked_for(conn, versions.find(conn, version))
        judge = self._judges.appoint(until).judge
        if judge is None:
            until = self._clock()
            judge = self._judges.appoint(until).judge
        if judge is not None:
            with self._store.write() as conn:
                states.put(conn, STATE + version, {"until": until, "source": judge.name}, self._clock())
        return judge

    def _kept(self, conn: Connection, version: Version) -> int | None:
        state = states.read(conn, STATE + version)
        until = state.body.get("until") if state else None
        return until if isinstance(until, int) else None
