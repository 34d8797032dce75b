"""From a harvest to the rows of a dataset, as one pure function: the same input gives the same rows in any order.

Every judgement and every replayed row that goes in comes out once: behind a row, or with the reason why not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from training import replay, shares
from training.drafts import Draft, draft
from training.harvest import Harvest
from training.redaction import count
from training.rows import (
    OLDER,
    DpoExample,
    Example,
    Exclusion,
    KtoExample,
    Method,
    Part,
    Provenance,
    Reason,
    ReplayRow,
    Row,
    SftExample,
    record,
)
from training.rules import Rules
from training.split import split
from training.thinning import Thinner, precedence


@dataclass(frozen=True, slots=True)
class Material:
    """What a dataset may be made of: recent judgements, earlier ones to replay, and rows from elsewhere by source."""

    recent: Harvest
    older: Harvest = field(default_factory=Harvest)
    replays: Mapping[str, Sequence[ReplayRow]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Curated:
    """Rows in canonical order, what was left out and why, and how much personal data was taken out, by kind."""

    method: Method
    rows: Sequence[Row]
    exclusions: Sequence[Exclusion]
    redactions: Mapping[str, int]


def curate(material: Material, method: Method, rules: Rules) -> Curated:
    """The rows that `method` learns from, split, and the exclusions."""
    fresh, excluded = draft(material.recent, method, rules)
    older, excluded_older = draft(material.older, method, rules, OLDER)
    elsewhere, excluded_elsewhere = replay.pool(material.replays, method, rules)
    thinner = Thinner(rules)
    fresh, same = _thin(fresh, thinner)
    fresh, over = shares.cap(fresh, rules)
    older, over_older = shares.cap(older, rules)
    drawn, undrawn = replay.draw(fresh, [*older, *elsewhere], thinner, rules)
    placed, straddling = split([*fresh, *drawn], thinner.ties, rules)
    parts = {draft.id: part for draft, part in placed}
    # Shares are of the finished dataset, which has lost rows since they were looked at.
    kept, over_all = shares.cap([draft for draft, _ in placed], rules)
    rows = sorted((_row(draft, method, parts[draft.id]) for draft in kept), key=_order)
    lost = [excluded, excluded_older, excluded_elsewhere, same, over, over_older, undrawn, straddling, over_all]
    exclusions = sorted((one for some in lost for one in some), key=lambda one: (one.reason, one.source, one.item))
    return Curated(method, rows, exclusions, _redactions(rows))


def _thin(drafts: Sequence[Draft], thinner: Thinner) -> tuple[list[Draft], list[Exclusion]]:
    kept: list[Draft] = []
    excluded: list[Exclusion] = []
    for each in precedence(drafts):
        if thinner.admit(each):
            kept.append(each)
        else:
            excluded += each.exclude(Reason.NEAR_DUPLICATE)
    return kept, excluded


def _row(draft: Draft, method: Method, part: Part) -> Row:
    voices = tuple(backer.claim.voice for backer in draft.backers)
    item = draft.replay.item if draft.replay else None
    return Row(_example(draft, method), part, Provenance(draft.source, voices, item))


def _example(draft: Draft, method: Method) -> Example:
    messages, lesson = draft.messages, draft.lesson
    if method is Method.KTO:
        return KtoExample(messages, lesson.answer, lesson.label is True)
    if method is Method.DPO:
        return DpoExample(messages, lesson.answer, lesson.rejected or "")
    return SftExample(messages, lesson.answer)


def _order(row: Row) -> tuple[Part, bytes]:
    return row.part, orjson.dumps(record(row), option=orjson.OPT_SORT_KEYS)


def _redactions(rows: Sequence[Row]) -> Mapping[str, int]:
    return count(text for row in rows for text in _texts(row.example))


def _texts(example: Example) -> list[str]:
    turns = [message.content for message in example.messages]
    match example:
        case SftExample() | KtoExample():
            return [*turns, example.completion]
        case DpoExample():
            return [*turns, example.chosen, example.rejected]
