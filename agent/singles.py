"""Single answers for reviewers: drawn where a word is worth most, shown without a version, noted with their propensity.

The reviewer answers by POST /v1/feedback like everybody; until then the same answer comes again. The reason of a draw
stays in its row, since knowing it would colour the judgement.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from agent import worth
from agent.documents import Document, response_id
from core import asking, interactions, plan, reports
from core.asking import Draw
from core.clock import Clock
from core.ids import new_id
from core.store import Store
from core.types import Interaction

ALARMED = {"traffic": "changed", "answers": "worse"}
"""What is wrong with each of the two states of the loop, where something is."""


class AnswerDocument(Document):
    """One answer to be rated, which may be the work of any version."""

    id: str
    """The key for feedback, as `response_id`."""
    messages: Sequence[Mapping[str, Any]]
    answer: Mapping[str, Any]
    name: str
    """The metric to rate it by."""
    left: int
    """Answers that no reviewer has seen, this one included."""


@dataclass(frozen=True, slots=True)
class Singles:
    """Draws for reviewers. `confidence` names the score of how sure a version was; `roll` is uniform on [0, 1)."""

    store: Store
    metric: str
    confidence: str
    clock: Clock
    roll: Callable[[], float]

    def next(self, actor: str) -> AnswerDocument | None:
        """What this reviewer should rate now; None while there is nothing. Raises Unavailable."""
        with self.store.read() as conn:
            open_draw = asking.waiting(conn, actor, self.metric)
            answer = interactions.find(conn, open_draw.interaction) if open_draw else None
            left = len(self._unreviewed(conn))
        if answer is not None:
            return self._document(answer, left + 1)
        with self.store.write() as conn:
            answer, left = self._draw(conn, actor)
        return self._document(answer, left) if answer else None

    def _draw(self, conn: Connection, actor: str) -> tuple[Interaction | None, int]:
        answers = self._unreviewed(conn)
        drawn = worth.draw(answers, _drift_since(conn), self.roll())
        if drawn is None:
            return None, 0
        at = self.clock()
        asking.note(conn, Draw(new_id(at // 1000), at, drawn.answer, actor, drawn.propensity, drawn.reason))
        return interactions.find(conn, drawn.answer), len(answers)

    def _unreviewed(self, conn: Connection) -> Sequence[asking.Unreviewed]:
        found = plan.read(conn)
        return asking.unreviewed(conn, found.champion, self.metric, self.confidence) if found else ()

    def _document(self, answer: Interaction, left: int) -> AnswerDocument:
        return AnswerDocument(
            id=response_id(answer), messages=answer.messages, answer=answer.reply or {}, name=self.metric, left=left
        )


def _drift_since(conn: Connection) -> int | None:
    """Since when traffic or answers are not what they were; None while they are."""
    condition = reports.condition(conn) or {}
    parts = [(condition.get(name), word) for name, word in ALARMED.items()]
    begun = [part.get("since") for part, word in parts if isinstance(part, Mapping) and part.get("state") == word]
    return min((since for since in begun if isinstance(since, int)), default=None)
