"""What is watched of the champion's answers, read as streams: numbers of the answers, their scores, their thumbs.

One value for each question of a subject: a question that was asked before, word for word and after the same
conversation, brings none, nor does a rating that takes the place of an earlier one. Reads rows; knows no statistics.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log

from sqlalchemy import ColumnElement, Connection, Float, RowMapping, Select, and_, cast, exists, func, literal, select

from core.interactions import not_measuring
from core.lifecycle import Stage
from core.schema import feedback, interactions, moves, nodes, retractions, scores
from core.types import Arm, Finish, Role, Subject, Version
from monitoring.drift.arrivals import Arrivals, id_behind, time_of
from monitoring.scoring.sources import confidence

ARMS = (Arm.CHAMPION, Arm.PINNED)
"""A subject came to the champion by its own doing under no other arm: not by name, and not in another's place."""
AT_ONCE = 2000
"""Most rows that are taken in one tick."""
ENDED = (Finish.STOP, Finish.LENGTH)


@dataclass(frozen=True, slots=True)
class Observation:
    """One value of a stream: the row it came from, the time that orders it, the answer and its subject."""

    id: str
    at: int
    answer: str
    subject: Subject
    value: float
    confidence: float | None = None
    """How sure the version was of the answer, from 0 to 1, where that was asked."""


def lengths(conn: Connection, champion: Version, arrivals: Arrivals) -> Sequence[Observation]:
    """Tokens of the answers that came to their end."""
    tokens = interactions.c.completion_tokens
    return _fresh(conn, _told(champion, arrivals, tokens).where(interactions.c.finish.in_(ENDED)), arrivals)


def prompt_lengths(conn: Connection, champion: Version, arrivals: Arrivals) -> Sequence[Observation]:
    """Tokens of the prompts, the conversation before the question included."""
    return _fresh(conn, _told(champion, arrivals, interactions.c.prompt_tokens), arrivals)


def paces(conn: Connection, champion: Version, arrivals: Arrivals) -> Sequence[Observation]:
    """The natural log of the microseconds a token, of answers that the version gave which was asked first."""
    tokens, duration = interactions.c.completion_tokens, interactions.c.duration
    query = _told(champion, arrivals, cast(cast(duration, Float) / tokens, Float)).where(
        tokens > 0,
        duration > 0,
        interactions.c.finish.in_(ENDED),
        interactions.c.assigned == interactions.c.served,
    )
    return [replace(pace, value=log(pace.value)) for pace in _fresh(conn, query, arrivals)]


def questions(conn: Connection, champion: Version, arrivals: Arrivals) -> Sequence[Observation]:
    """Every new question, whatever became of its answer; the value says nothing."""
    return _fresh(conn, _told(champion, arrivals, literal(0.0)), arrivals)


def scored(conn: Connection, champion: Version, arrivals: Arrivals, name: str) -> Sequence[Observation]:
    """The scores of a name, in the order of their answers, with whose ids theirs begin."""
    floor, enough = arrivals.look(AT_ONCE)
    query = (
        _answers(champion, scores.c.value, scores.c.id)
        .join(scores, scores.c.interaction == interactions.c.id)
        # Both bounds, so that whichever table the database begins with, it reads what is new.
        .where(scores.c.name == name, scores.c.id >= id_behind(floor), interactions.c.id >= id_behind(floor))
    )
    return _fresh(conn, query.order_by(scores.c.id).limit(enough), arrivals)


def faultless(conn: Connection, champion: Version, arrivals: Arrivals, name: str) -> Sequence[Observation]:
    """The scores of a fault, turned around: 1 where there is none."""
    return [replace(fault, value=1 - fault.value) for fault in scored(conn, champion, arrivals, name)]


def thumbs(conn: Connection, champion: Version, arrivals: Arrivals, metric: str) -> Sequence[Observation]:
    """What the subjects themselves said of answers, from 0 to 1, in the order in which they said it.

    Reviewers choose what they rate, so that a change in their choice would look like one in the answers.
    """
    return _fresh(conn, _rated(champion, arrivals, metric), arrivals)


def confidences(
    conn: Connection, champion: Version, arrivals: Arrivals, metric: str, name: str
) -> Sequence[Observation]:
    """The same, for answers that have a score of this name, with the confidence that it states."""
    query = (
        _rated(champion, arrivals, metric)
        .add_columns(scores.c.value.label("score"))
        .join(scores, and_(scores.c.interaction == interactions.c.id, scores.c.name == name))
    )
    return _fresh(conn, query, arrivals, name)


def _rated(champion: Version, arrivals: Arrivals, metric: str) -> Select[tuple[object, ...]]:
    """The first word of each subject on each answer, unless it was taken back."""
    floor, enough = arrivals.look(AT_ONCE)
    earlier = feedback.alias("earlier")
    again = and_(
        earlier.c.interaction == feedback.c.interaction,
        earlier.c.name == feedback.c.name,
        earlier.c.actor == feedback.c.actor,
        earlier.c.created_at < feedback.c.created_at,
    )
    said = (
        select(feedback.c.id, feedback.c.created_at, feedback.c.interaction, feedback.c.value)
        .where(
            feedback.c.name == metric,
            feedback.c.role == Role.USER,
            feedback.c.value.is_not(None),
            feedback.c.created_at > floor,
            ~exists().where(again),
            ~exists().where(retractions.c.feedback == feedback.c.id),
        )
        .cte("said")
    )
    return (
        _answers(champion, said.c.value, said.c.id, said.c.created_at)
        .join(said, said.c.interaction == interactions.c.id)
        # Few words are new and answers are many; without this SQLite goes through all those of the champion.
        .where(interactions.c.id.in_(select(said.c.interaction)))
        .order_by(said.c.created_at, said.c.id)
        .limit(enough)
    )


def champion_since(conn: Connection, champion: Version) -> int:
    """When a version last became champion; 0 when that is not written down."""
    when = select(func.max(moves.c.created_at)).where(moves.c.model == champion, moves.c.target == Stage.CHAMPION)
    return conn.scalar(when) or 0


def _answers(
    champion: Version, value: ColumnElement[float], identity: ColumnElement[str], *at: ColumnElement[int]
) -> Select[tuple[object, ...]]:
    """Answers of the champion to questions that were new; the node of a question is as old as its first asking."""
    columns = interactions.c.id.label("answer"), interactions.c.subject
    return (
        select(*columns, value.label("value"), identity.label("id"), *(each.label("at") for each in at))
        .select_from(interactions)
        .join(nodes, and_(nodes.c.id == interactions.c.prompt, nodes.c.created_at == interactions.c.created_at))
        .where(interactions.c.served == champion, interactions.c.arm.in_(ARMS), interactions.c.stored, not_measuring())
    )


def _told(champion: Version, arrivals: Arrivals, value: ColumnElement[float]) -> Select[tuple[object, ...]]:
    """Answers by a number of their own row, where it has one, in the order of their ids."""
    floor, enough = arrivals.look(AT_ONCE)
    return (
        _answers(champion, cast(value, Float), interactions.c.id)
        .where(value.is_not(None), interactions.c.id >= id_behind(floor))
        .order_by(interactions.c.id)
        .limit(enough)
    )


def _fresh(
    conn: Connection, query: Select[tuple[object, ...]], arrivals: Arrivals, score: str = ""
) -> Sequence[Observation]:
    rows = conn.execute(query).mappings()
    return [_observation(row, score) for row in rows if arrivals.is_new(row["id"])]


def _observation(row: RowMapping, score: str) -> Observation:
    stated = confidence(score, row["score"]) if score else None
    at = row.get("at") or time_of(row["answer"])
    return Observation(row["id"], at, row["answer"], row["subject"], row["value"], stated)
