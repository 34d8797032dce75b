"""Feedback as rows: appended, never changed; a later word of the same actor under the same name takes the place of
the one before, and a retraction is a row of its own. Text sits in one column, so that erasing it is one update.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, select, tuple_

from core.schema import feedback, retractions
from core.types import Feedback, Role

_ORDER = feedback.c.created_at, feedback.c.id


def values(judgement: Feedback, request_digest: str) -> dict[str, object]:
    """The row of a judgement; `request_digest` tells a repeated request from another one under the same key."""
    return {
        "id": judgement.id,
        "created_at": judgement.created_at,
        "interaction": judgement.interaction,
        "name": judgement.name,
        "value": judgement.value,
        "label": judgement.label,
        "actor": judgement.actor,
        "key_id": judgement.key_id,
        "role": judgement.role.value,
        "corrected": judgement.correction is not None,
        "body": {
            "comment": judgement.comment,
            "reasons": list(judgement.reasons),
            "correction": judgement.correction,
            "tags": judgement.tags,
        },
        "request_digest": request_digest,
        "erased_at": None,
    }


def of_interaction(conn: Connection, interaction_id: str) -> Sequence[Feedback]:
    """Every judgement of one answer, oldest first, with what became of it."""
    if not interaction_id.isalnum():
        return []
    rows = conn.execute(_rows().where(feedback.c.interaction == interaction_id).order_by(*_ORDER))
    return superseded([_feedback(row) for row in rows.mappings()])


def find(conn: Connection, feedback_id: str) -> tuple[Feedback, str] | None:
    """One judgement and the digest of the request that made it; `superseded_by` is not looked up."""
    if not feedback_id.replace("_", "").isalnum():
        return None
    row = conn.execute(_rows().where(feedback.c.id == feedback_id)).mappings().one_or_none()
    return (_feedback(row), row["request_digest"]) if row else None


def since(
    conn: Connection, start: int, end: int | None, after: tuple[int, str] | None, limit: int
) -> Sequence[Feedback]:
    """Up to `limit` judgements given from `start` on and before `end`, oldest first, with what became of each.

    `after` is the time and id of the last one of the page before.
    """
    conditions = [feedback.c.created_at >= start]
    if end is not None:
        conditions.append(feedback.c.created_at < end)
    if after is not None:
        conditions.append(tuple_(*_ORDER) > tuple_(*after))
    wanted = conn.execute(
        select(feedback.c.id, feedback.c.interaction).where(*conditions).order_by(*_ORDER).limit(limit)
    )
    answers = {row.id: row.interaction for row in wanted}
    found = {judgement.id: judgement for judgement in _of_interactions(conn, set(answers.values()))}
    return [found[identity] for identity in answers]


def _of_interactions(conn: Connection, interaction_ids: Collection[str]) -> Iterator[Feedback]:
    """Every judgement of these answers, answer by answer."""
    rows = conn.execute(_rows().where(feedback.c.interaction.in_(interaction_ids)).order_by(*_ORDER))
    by_answer: dict[str, list[Feedback]] = {}
    for row in rows.mappings():
        by_answer.setdefault(row["interaction"], []).append(_feedback(row))
    for judgements in by_answer.values():
        yield from superseded(judgements)


def superseded(judgements: Iterable[Feedback]) -> Sequence[Feedback]:
    """The same judgements, in the given order, each with the id of the next one by its actor under its name."""
    result = list(judgements)
    later: dict[tuple[str, str], str] = {}
    for place in range(len(result) - 1, -1, -1):
        judgement = result[place]
        voice = judgement.actor, judgement.name
        result[place] = replace(judgement, superseded_by=later.get(voice))
        later[voice] = judgement.id
    return result


def stands(judgement: Feedback) -> bool:
    """Whether it counts: neither superseded nor retracted. Retracting one does not bring its predecessor back."""
    return judgement.superseded_by is None and judgement.retracted_at is None


def _rows() -> Select[tuple[object, ...]]:
    gone = retractions.c.created_at.label("retracted_at")
    return select(feedback, gone).join_from(
        feedback, retractions, feedback.c.id == retractions.c.feedback, isouter=True
    )


def _feedback(row: RowMapping) -> Feedback:
    text: Mapping[str, Any] = row["body"] or {}
    return Feedback(
        id=row["id"],
        created_at=row["created_at"],
        interaction=row["interaction"],
        name=row["name"],
        value=row["value"],
        label=row["label"],
        actor=row["actor"],
        key_id=row["key_id"],
        role=Role(row["role"]),
        comment=text.get("comment"),
        reasons=tuple(text.get("reasons", ())),
        correction=text.get("correction"),
        tags=text.get("tags", {}),
        retracted_at=row["retracted_at"],
    )
