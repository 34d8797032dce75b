"""Scores: what each source says of an answer, for a sample of the answers, taken after the fact.

Whether an answer is in the sample depends on its id alone. While the engine does not answer, scores wait; an answer
that a source refuses has none of it. Knows neither what a score means nor what follows.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import cast

from sqlalchemy import Connection, Select, select

from core import interactions, states
from core.clock import Clock, now
from core.errors import EngineFailed
from core.interactions import not_measuring
from core.rules import Monitoring
from core.schema import interactions as answers
from core.schema import scores
from core.store import Store, insert_new
from core.types import Arm, Finish, Interaction, Json, Score, Subject
from monitoring.drift.arrivals import LOOK_BACK, Arrivals, id_behind, time_of
from monitoring.scoring.sources import LOGPROB as LOGPROB
from monitoring.scoring.sources import PROMPT as PROMPT
from monitoring.scoring.sources import Source, text
from serving.router import bucket

STATE = "scores"
SALT = "score"
AT_ONCE = 2000
"""Most answers that are looked through in one tick."""

log = logging.getLogger(__name__)


def sampled(interaction_id: str, share: float) -> bool:
    """Whether an answer is to be scored; the same whoever asks."""
    return bucket(SALT, Subject(interaction_id)) < share


def row_id(answer: str, name: str) -> str:
    """The id of a score, the same whenever it is made: a tick that is done again writes nothing twice."""
    return f"{answer}-{name}"


@dataclass(frozen=True, slots=True)
class Sample:
    """An answer that was looked through: with its text when it is to be scored."""

    id: str
    answer: Interaction | None = None


@dataclass(slots=True)
class Count:
    """How many answers a source gave a score, and how many none."""

    scored: int = 0
    refused: int = 0


class Scores:
    """The job that scores. Make a new one for each leader: it remembers what it took."""

    def __init__(self, store: Store, sources: Sequence[Source], settings: Monitoring, clock: Clock = now) -> None:
        self._store = store
        self._sources = sources
        self._share = settings.score_share
        self._limit = settings.scores_per_tick
        self._clock = clock
        self._arrivals: Arrivals | None = None
        self._counts: dict[str, Count] = {}

    async def tick(self) -> None:
        """Score what is new, oldest first, up to `scores_per_tick`. Raises EngineUnavailable; the rest then waits."""
        if self._share == 0:
            return
        done: list[Sample] = []
        rows: list[Score] = []
        try:
            for sample in await asyncio.to_thread(self._look):
                if sample.answer:
                    rows += await self._score(sample.answer)
                done.append(sample)
        finally:
            await asyncio.to_thread(self._keep, done, rows)

    def _look(self) -> Sequence[Sample]:
        with self._store.read() as conn:
            arrivals = self._arrivals or self._resume(conn)
            floor, enough = arrivals.look(AT_ONCE)
            query = _finished().where(answers.c.id >= id_behind(floor)).limit(enough)
            fresh = [identity for identity in conn.scalars(query) if arrivals.is_new(identity)]
            chosen = [identity for identity in fresh if sampled(identity, self._share)]
            if len(chosen) > self._limit:
                fresh = fresh[: fresh.index(chosen[self._limit])]
            found = interactions.find_all(conn, chosen[: self._limit])
        self._arrivals = arrivals
        return [Sample(identity, found.get(identity)) for identity in fresh]

    def _resume(self, conn: Connection) -> Arrivals:
        state = states.read(conn, STATE)
        if state is None:
            return Arrivals(self._clock() - LOOK_BACK)
        counts = cast(Mapping[str, Mapping[str, int]], state.body.get("counts", {}))
        self._counts = {name: Count(**count) for name, count in counts.items()}
        return Arrivals(int(str(state.body["cursor"])))

    async def _score(self, answer: Interaction) -> Sequence[Score]:
        """The rows about one answer; none when it cannot be scored. Raises EngineUnavailable."""
        if answer.served is None or not (text(answer) or (answer.reply or {}).get("tool_calls")):
            return ()
        found = [(source.name, await _values(source, answer)) for source in self._sources]
        for name, values in found:
            count = self._counts.setdefault(name, Count())
            count.scored, count.refused = count.scored + bool(values), count.refused + (not values)
        at, version = self._clock(), answer.served
        return [
            Score(row_id(answer.id, name), at, answer.id, version, source, name, value)
            for source, values in found
            for name, value in values.items()
        ]

    def _keep(self, done: Sequence[Sample], rows: Sequence[Score]) -> None:
        arrivals = self._arrivals
        if arrivals is None or not done:
            return
        cursor = max(arrivals.cursor, *(time_of(sample.id) for sample in done))
        if any(sample.answer for sample in done):
            counts: dict[str, Json] = {name: asdict(count) for name, count in self._counts.items()}
            with self._store.write() as conn:
                insert_new(conn, scores, [asdict(row) for row in rows])
                states.put(conn, STATE, {"cursor": cursor, "counts": counts}, self._clock())
        for sample in done:
            arrivals.take(sample.id, time_of(sample.id))
        arrivals.forget()


async def _values(source: Source, answer: Interaction) -> Mapping[str, float]:
    try:
        return await source.of(answer)
    except EngineFailed as error:
        # It may have broken down over this very answer, so the others do not wait for it.
        log.warning("%s", error.message, extra={"interaction": answer.id, "source": source.name})
        return {}


def _finished() -> Select[str]:
    """Answers that came to their end and were seen by somebody, oldest first."""
    return (
        select(answers.c.id)
        .where(
            answers.c.kind == "chat",
            answers.c.arm != Arm.SHADOW,
            answers.c.served.is_not(None),
            answers.c.stored,
            answers.c.erased_at.is_(None),
            not_measuring(),
            answers.c.finish.in_((Finish.STOP, Finish.LENGTH, Finish.TOOL_CALLS)),
        )
        .order_by(answers.c.id)
    )
