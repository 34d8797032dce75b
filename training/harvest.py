"""From the ledger: what people said of answers in a span of time, each word beside the answer that it is about.

Reads page by page, each page one short transaction that sees one snapshot, so that any thread may harvest while Hone
serves. Judgements that can teach nothing by their origin are set aside with the reason. Decides nothing about content.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from core import interactions, judgements
from core.interactions import measures
from core.judgements import stands
from core.store import Store
from core.twins import OVER
from core.types import Arm, Feedback, Interaction
from training.rows import Reason

PAGE = 500


@dataclass(frozen=True, slots=True)
class Judged:
    """A judgement, the answer it is about, and for a preference the answer that lost. None: not in the ledger."""

    feedback: Feedback
    interaction: Interaction | None
    loser: Interaction | None = None

    @property
    def preference(self) -> bool:
        return isinstance(self.feedback.tags.get(OVER), str)


@dataclass(frozen=True, slots=True)
class Harvest:
    """What can be curated, and the rest with the reason; together every judgement of the span once."""

    judged: Sequence[Judged] = ()
    barred: Sequence[tuple[Feedback, Reason]] = ()


def harvest(store: Store, since: int = 0, until: int | None = None) -> Harvest:
    """All judgements given from `since` on and before `until` (microseconds). Raises Unavailable.

    Which of them stand is told by everything that was said later, the time after `until` included.
    """
    judged: list[Judged] = []
    barred: list[tuple[Feedback, Reason]] = []
    for each in read(store, since, until):
        reason = bar(each)
        if reason is None:
            judged.append(each)
        else:
            barred.append((each.feedback, reason))
    return Harvest(judged, barred)


def read(store: Store, since: int = 0, until: int | None = None, page: int = PAGE) -> Iterator[Judged]:
    """The same without a verdict, oldest first, `page` judgements a transaction. Raises Unavailable."""
    after: tuple[int, str] | None = None
    while True:
        with store.read() as conn:
            found = judgements.since(conn, since, until, after, page)
            wanted = {feedback.interaction for feedback in found} | set(filter(None, map(_loser, found)))
            answers = interactions.find_all(conn, wanted)
        yield from (_judged(feedback, answers) for feedback in found)
        if len(found) < page:
            return
        after = found[-1].created_at, found[-1].id


def bar(judged: Judged) -> Reason | None:
    """Why a judgement can teach nothing whatever it says; None when it can."""
    answers = [judged.interaction, judged.loser] if judged.preference else [judged.interaction]
    if judged.feedback.retracted_at is not None:
        return Reason.RETRACTED
    if not stands(judged.feedback):
        return Reason.SUPERSEDED
    return next(filter(None, (_bar_answer(answer, judged.preference) for answer in answers)), None)


def _bar_answer(answer: Interaction | None, preference: bool) -> Reason | None:
    if answer is None:
        return Reason.UNKNOWN_ANSWER
    if not answer.stored:
        return Reason.NOT_STORED
    if measures(answer):
        return Reason.MEASUREMENT
    if answer.arm is Arm.SHADOW and not preference:
        return Reason.SHADOW
    # A stored call has at least one message until its subject is erased.
    return None if answer.messages else Reason.ERASED


def _judged(feedback: Feedback, answers: Mapping[str, Interaction]) -> Judged:
    return Judged(feedback, answers.get(feedback.interaction), answers.get(_loser(feedback) or ""))


def _loser(feedback: Feedback) -> str | None:
    loser = feedback.tags.get(OVER)
    return loser if isinstance(loser, str) else None
