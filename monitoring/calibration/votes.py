"""The votes on answers that have a confidence, by version, kept up with what is new in the ledger.

A vote changes when its actor says something else or takes it back, and counts once the answer has its score, so that
answers are read again whenever one of these happens. Reads rows; what votes are for is not known here.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence

from sqlalchemy import ColumnElement, Connection, Row, Select, select

from core.clock import HOUR, Clock, now
from core.interactions import not_measuring
from core.schema import feedback, interactions, retractions, scores
from core.types import Arm, Role, Version
from monitoring.calibration.labels import Label, ordered
from monitoring.drift.arrivals import LOOK_BACK, Arrivals
from monitoring.feedback.words import standing
from monitoring.scoring import sources
from monitoring.scoring.scores import row_id, sampled

ARMS = (Arm.CHAMPION, Arm.PINNED, Arm.CHALLENGER, Arm.HOLDBACK)
"""Subjects met the version by these, neither by name nor in another's place."""
AT_ONCE = 2000
"""Most words that are looked through in one tick."""
WAITED, AWAITED = 24 * HOUR, 5000
"""How long a rated answer is expected to get its score, and how many are at a time, the newest ones."""


class Votes:
    """What is known of the votes. `share` is that of the answers that get scores; of each version the newest `most`
    rated answers are kept."""

    def __init__(self, metric: str, source: str, share: float, most: int, clock: Clock = now) -> None:
        self._metric, self._source = metric, source
        self._share, self._most = share, most
        self._clock = clock
        self._said = Arrivals(clock() - LOOK_BACK)
        self._retracted = Arrivals(clock() - LOOK_BACK)
        self._votes: dict[Version, dict[str, Sequence[Label]]] = {}
        self._awaited: dict[str, int] = {}
        """Rated answers without a score, and since when."""

    def of(self, version: Version) -> Sequence[Label]:
        """The votes on a version's answers, oldest first."""
        return ordered([label for labels in self._votes.get(version, {}).values() for label in labels])

    def look(self, conn: Connection, versions: Sequence[Version]) -> None:
        """Take what is new about these versions, and all there is about those that were not followed before."""
        fresh = [version for version in versions if version not in self._votes]
        self._votes = {version: self._votes.get(version, {}) for version in versions}
        for version in fresh:
            newest = self._newest(version).subquery()
            self._take(conn, select(newest.c.interaction), ())
        touched = {*self._rated(conn), *self._taken_back(conn), *self._scored(conn)}
        if touched:
            self._take(conn, select(interactions.c.id).where(interactions.c.id.in_(touched)), touched)
        self._forget()

    def _rated(self, conn: Connection) -> Iterator[str]:
        floor, enough = self._said.look(AT_ONCE)
        query = select(feedback.c.id, feedback.c.created_at, feedback.c.interaction).where(
            *self._is_vote(), feedback.c.created_at > floor
        )
        return _fresh(self._said, conn.execute(query.order_by(feedback.c.created_at, feedback.c.id).limit(enough)))

    def _taken_back(self, conn: Connection) -> Iterator[str]:
        floor, enough = self._retracted.look(AT_ONCE)
        query = (
            select(feedback.c.id, retractions.c.created_at, feedback.c.interaction)
            .join_from(retractions, feedback, feedback.c.id == retractions.c.feedback)
            .where(retractions.c.created_at > floor)
        )
        return _fresh(self._retracted, conn.execute(query.order_by(retractions.c.created_at).limit(enough)))

    def _scored(self, conn: Connection) -> Sequence[str]:
        """Answers that waited for their score and have it."""
        wanted = [row_id(answer, self._source) for answer in self._awaited]
        return conn.scalars(select(scores.c.interaction).where(scores.c.id.in_(wanted))).all() if wanted else ()

    def _take(self, conn: Connection, answers: Select[tuple[str]], touched: Collection[str]) -> None:
        for labels in self._votes.values():
            for answer in touched:
                labels.pop(answer, None)
        found: dict[tuple[Version, str], list[Label]] = {}
        for row in conn.execute(self._standing(answers)):
            self._awaited.pop(row.interaction, None)
            if row.score is not None:
                label = _label(row, sources.confidence(self._source, row.score))
                found.setdefault((Version(row.served), row.interaction), []).append(label)
            elif sampled(row.interaction, self._share):
                self._awaited[row.interaction] = row.created_at
        for (version, answer), several in found.items():
            if version in self._votes:
                self._votes[version][answer] = several

    def _standing(self, answers: Select[tuple[str]]) -> Select[tuple[object, ...]]:
        """The votes that stand on these answers, as far as they count for a version, with the score if there is one."""
        said = standing(answers, *self._is_vote()).subquery()
        stated = (scores.c.interaction == said.c.interaction) & (scores.c.name == self._source)
        columns = [interactions.c[name] for name in ("served", "asked", "key_id", "completion_tokens")]
        return (
            select(said.c.interaction, said.c.actor, said.c.created_at, said.c.value, scores.c.value.label("score"))
            .add_columns(*columns)
            .join_from(said, interactions, interactions.c.id == said.c.interaction)
            .join(scores, stated, isouter=True)
            .where(interactions.c.arm.in_(ARMS), interactions.c.stored, not_measuring())
        )

    def _newest(self, version: Version) -> Select[tuple[str]]:
        """The answers of a version that were rated last and have a score."""
        stated = (scores.c.interaction == feedback.c.interaction) & (scores.c.name == self._source)
        return (
            select(feedback.c.interaction)
            .join(interactions, interactions.c.id == feedback.c.interaction)
            .join(scores, stated)
            .where(*self._is_vote(), interactions.c.served == version, interactions.c.arm.in_(ARMS))
            .order_by(feedback.c.created_at.desc())
            .limit(self._most)
        )

    def _is_vote(self) -> tuple[ColumnElement[bool], ...]:
        # Reviewers choose what they rate; what they say is no sample of what users think.
        return feedback.c.name == self._metric, feedback.c.role == Role.USER, feedback.c.value.is_not(None)

    def _forget(self) -> None:
        self._said.forget()
        self._retracted.forget()
        given_up = self._clock() - WAITED
        expected = sorted((since, answer) for answer, since in self._awaited.items() if since > given_up)
        self._awaited = {answer: since for since, answer in expected[-AWAITED:]}
        for version, votes in self._votes.items():
            if len(votes) > self._most:
                newest = sorted(votes.items(), key=lambda item: max(label.at for label in item[1]))[-self._most :]
                self._votes[version] = dict(newest)


def _fresh(arrivals: Arrivals, rows: Iterable[Row[tuple[str, int, str]]]) -> Iterator[str]:
    """The answers of rows that were not taken before, which now are."""
    for row in rows:
        if arrivals.is_new(row.id):
            arrivals.take(row.id, row.created_at)
            yield row.interaction


def _label(row: Row[tuple[object, ...]], confidence: float) -> Label:
    return Label(
        answer=row.interaction,
        actor=row.actor,
        at=row.created_at,
        confidence=confidence,
        liked=row.value >= 0.5,
        asked=row.asked,
        key=row.key_id,
        length=row.completion_tokens,
    )
