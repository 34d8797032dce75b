"""/api/review: pairs of answers for blind comparison, and single ones to rate. Who gave which is told by nothing.

The order of the two answers is a keyed digest of the pair and the reviewer, so that it needs no memory and cannot be
guessed. A judgement becomes feedback on the better answer (see core/twins.py), once a pair and principal.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Query

from agent import rating
from agent.bell import Bell
from agent.loop_documents import PairDocument, PairJudged
from agent.messages import Wire
from agent.metrics import Metrics
from agent.rating import FeedbackRequest
from agent.routes import Caller, errors
from agent.singles import AnswerDocument, Singles
from core import config, twins
from core.clock import Clock
from core.errors import Conflict, NotFound
from core.ids import new_id
from core.ledger import Ledger, feedback_id
from core.registry import Registry
from core.secret import Secret
from core.store import Store
from core.twins import OVER, PREFERENCE, Pair
from core.types import Feedback, Interaction, Plan, Principal, Version

Better = Literal["a", "b", "neither"]
Kind = Annotated[
    Literal["pair", "answer"], Query(description="A pair to compare, or a single answer to rate by POST /v1/feedback.")
]
NEITHER = 0.5
"""The value of a preference that prefers nothing."""


class ReviewRequest(Wire):
    """Which of the two answers is better."""

    better: Better


@dataclass(frozen=True, slots=True)
class ReviewRoutes:
    """The two routes. `settings` declares the names that feedback may carry, `singles` draws single answers."""

    store: Store
    ledger: Ledger
    registry: Registry
    secret: Secret
    settings: config.FeedbackNames
    metrics: Metrics
    bell: Bell
    singles: Singles
    clock: Clock

    def router(self) -> APIRouter:
        router = APIRouter(tags=["review"])
        add = router.add_api_route
        add("/api/review/next", self.next, methods=["GET"], responses=errors(404))
        add("/api/review/{pair_id}", self.judge, methods=["POST"], status_code=201, responses=errors(404, 409))
        return router

    def next(self, caller: Caller, kind: Kind = "pair") -> PairDocument | AnswerDocument:
        """A pair to judge or an answer to rate; 404 while there is none. An answer comes again until it is rated."""
        return self._pair_for(caller) if kind == "pair" else self._answer_for(caller)

    def _answer_for(self, caller: Principal) -> AnswerDocument:
        answer = self.singles.next(caller.root)
        if answer is None:
            raise _nothing("No answer is left that no reviewer has seen")
        return answer

    def _pair_for(self, caller: Principal) -> PairDocument:
        candidate = _candidate(self.registry.plan())
        if candidate is None:
            raise _nothing("No version is on trial, so there is nothing to compare")
        with self.store.read() as conn:
            waiting = twins.waiting(conn, candidate, caller.root)
        if waiting is None:
            raise _nothing("You have compared all pairs that there are")
        pair = waiting.pair
        a, b = self._ordered(pair, caller)
        return PairDocument(
            id=pair.twin.id, messages=pair.served.messages, a=a.reply or {}, b=b.reply or {}, left=waiting.left
        )

    async def judge(self, pair_id: str, request: ReviewRequest, caller: Caller) -> PairJudged:
        """Say which answer of a pair is better, once."""
        pair = await asyncio.to_thread(self._pair, pair_id)
        feedback = self._feedback(pair, request.better, caller)
        await self._keep(feedback, pair_id)
        self.metrics.rated(PREFERENCE, rating.kind(self.settings.names[PREFERENCE], feedback.value or 0.0))
        return PairJudged(id=pair_id, better=request.better, feedback=feedback.id)

    def _pair(self, pair_id: str) -> Pair:
        with self.store.read() as conn:
            pair = twins.find(conn, pair_id)
        if pair is None:
            raise NotFound(f"There is no pair {pair_id[:64]!r}; GET /api/review/next gives one.", param="pair_id")
        return pair

    def _ordered(self, pair: Pair, caller: Principal) -> tuple[Interaction, Interaction]:
        """The answers as `a` and `b`."""
        digest = self.secret.digest("review-order", f"{pair.twin.id}:{caller.root}")
        return (pair.served, pair.twin) if int(digest[-1], 16) % 2 else (pair.twin, pair.served)

    def _feedback(self, pair: Pair, better: Better, caller: Principal) -> Feedback:
        a, b = self._ordered(pair, caller)
        winner, loser = {"a": (a, b), "b": (b, a), "neither": (pair.served, pair.twin)}[better]
        value = NEITHER if better == "neither" else 1.0
        rating.check(FeedbackRequest(response_id=winner.id, name=PREFERENCE, value=value), self.settings)
        return Feedback(
            id=feedback_id(self.secret, caller.root, f"review:{pair.twin.id}"),
            created_at=self.clock(),
            interaction=winner.id,
            name=PREFERENCE,
            value=value,
            label=None,
            actor=caller.root,
            key_id=caller.id,
            role=caller.role,
            tags={OVER: loser.id},
        )

    async def _keep(self, feedback: Feedback, pair_id: str) -> None:
        """Raises Conflict when this principal has judged the pair, NotStored."""
        mark = new_id()
        known: Callable[[], tuple[Feedback, str] | None] = lambda: self.ledger.feedback_by_id(feedback.id)  # noqa: E731
        if await asyncio.to_thread(known) is None:
            await self.bell.wait(self.ledger.rate(feedback, mark))
            # Of two judgements at the same time, the ledger took one: look which.
            kept = await asyncio.to_thread(known)
            if kept is None or kept[1] == mark:
                return
        raise Conflict(f"You have judged the pair {pair_id[:64]} already.", code="judged")


def _candidate(plan: Plan | None) -> Version | None:
    if plan is None:
        return None
    return plan.split.challenger if plan.split else plan.shadow


def _nothing(says: str) -> NotFound:
    return NotFound(f"{says}; ask again later.", code="nothing_to_review")
