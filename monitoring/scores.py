"""Scores: how probable the version that gave an answer finds it, for a sample of the answers, taken after the fact.

Whether an answer is in the sample depends on its id alone. While the engine does not answer, scores wait; an answer
that it refuses has none. Knows neither what is normal nor what follows.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, Select, select

from core import interactions, states
from core.clock import Clock, now
from core.errors import EngineFailed
from core.interactions import not_measuring
from core.rules import Monitoring
from core.schema import interactions as answers
from core.schema import scores
from core.store import Store, insert_new
from core.types import Arm, Finish, Interaction, Score, Subject, Version
from monitoring.arrivals import LOOK_BACK, Arrivals, id_behind, time_of
from serving.router import bucket
from serving.scoring import Scorer

SOURCE = "engine"
LOGPROB, PROMPT = "logprob", "prompt"
"""Names of scores: mean log-probability a token of the answer, and of the prompt before it."""
STATE = "scores"
SALT = "score"
AT_ONCE = 2000
"""Most answers that are looked through in one tick."""

log = logging.getLogger(__name__)


def sampled(interaction_id: str, share: float) -> bool:
    """Whether an answer is to be scored; the same whoever asks."""
    return bucket(SALT, Subject(interaction_id)) < share


@dataclass(frozen=True, slots=True)
class Sample:
    """An answer that was looked through: with its text when it is to be scored."""

    id: str
    answer: Interaction | None = None


class Scores:
    """The job that scores. Make a new one for each leader: it remembers what it took."""

    def __init__(self, store: Store, scorer: Scorer, settings: Monitoring, clock: Clock = now) -> None:
        self._store = store
        self._scorer = scorer
        self._share = settings.score_share
        self._limit = settings.scores_per_tick
        self._clock = clock
        self._arrivals: Arrivals | None = None
        self._scored = self._refused = 0

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
        self._scored, self._refused = int(str(state.body["scored"])), int(str(state.body["refused"]))
        return Arrivals(int(str(state.body["cursor"])))

    async def _score(self, answer: Interaction) -> Sequence[Score]:
        """The rows about one answer; none when it cannot be scored."""
        reply = answer.reply or {}
        text, version = reply.get("content"), answer.served
        if not isinstance(text, str) or reply.get("tool_calls") or version is None:
            return ()
        try:
            found = await self._scorer.score(version, answer.messages, text, answer.params.get("tools"))
        except EngineFailed as error:
            log.warning("%s", error.message, extra={"interaction": answer.id})
            found = None
        if found is None:
            self._refused += 1
            return ()
        self._scored += 1
        values = {LOGPROB: found.answer, PROMPT: found.prompt}
        return [self._row(answer.id, version, name, value) for name, value in values.items() if value is not None]

    def _row(self, answer: str, version: Version, name: str, value: float) -> Score:
        # The same id whenever it is made, so that a tick that is done again writes nothing twice.
        return Score(f"{answer}-{name}", self._clock(), answer, version, SOURCE, name, value)

    def _keep(self, done: Sequence[Sample], rows: Sequence[Score]) -> None:
        arrivals = self._arrivals
        if arrivals is None or not done:
            return
        cursor = max(arrivals.cursor, *(time_of(sample.id) for sample in done))
        if any(sample.answer for sample in done):
            body = {"cursor": cursor, "scored": self._scored, "refused": self._refused}
            with self._store.write() as conn:
                insert_new(conn, scores, [asdict(row) for row in rows])
                states.put(conn, STATE, body, self._clock())
        for sample in done:
            arrivals.take(sample.id, time_of(sample.id))
        arrivals.forget()


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
            answers.c.finish.in_((Finish.STOP, Finish.LENGTH)),
        )
        .order_by(answers.c.id)
    )
