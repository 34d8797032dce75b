"""/v1/feedback: thumbs, ratings, comments and corrections, durable before they are acknowledged.

A user's key rates only answers that were given to it, and speaks for the subject of the answer; a reviewer's or an
operator's key may rate any answer, and speaks for its principal.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Annotated

import orjson
from fastapi import APIRouter, Header, Query, Response

from agent import rating
from agent.bell import Bell
from agent.documents import FeedbackAccepted, FeedbackDocument, FeedbackList, FeedbackRetracted
from agent.metrics import Metrics
from agent.rating import FeedbackRequest
from agent.routes import Answers, Caller, errors
from core import config
from core.clock import Clock
from core.errors import BadRequest, Conflict, NotFound
from core.ids import bare, new_id
from core.ledger import Ledger, Owner, feedback_id
from core.secret import Secret
from core.types import Arm, Feedback, Principal, Role
from core.writer import Kept

IDEMPOTENCY_KEY = re.compile(r"[\x20-\x7e]{1,255}")
IdempotencyKey = Annotated[str | None, Header(description="Makes a repeated request harmless: 1 to 255 characters.")]
ResponseId = Annotated[str, Query(min_length=1, max_length=64, description="The id of the answer.")]


@dataclass(frozen=True, slots=True)
class FeedbackRoutes:
    """The three routes. `settings` declares the names that feedback may carry."""

    ledger: Ledger
    secret: Secret
    settings: config.FeedbackNames
    metrics: Metrics
    bell: Bell
    clock: Clock

    def router(self) -> APIRouter:
        router = APIRouter(tags=["feedback"])
        add = router.add_api_route
        again: Answers = {200: {"model": FeedbackAccepted, "description": "Stored before, by the same request."}}
        add("/v1/feedback", self.post, methods=["POST"], status_code=201, responses=errors(404, 409) | again)
        add("/v1/feedback", self.list, methods=["GET"], responses=errors(404))
        add("/v1/feedback/{feedback_id}", self.retract, methods=["DELETE"], responses=errors(404))
        return router

    async def post(
        self, request: FeedbackRequest, response: Response, caller: Caller, idempotency_key: IdempotencyKey = None
    ) -> FeedbackAccepted:
        """Say what an answer was worth."""
        rating.check(request, self.settings)
        owner = await asyncio.to_thread(self._owner, request.response_id, caller)
        if not owner.stored and (texts := request.texts()):
            raise BadRequest(
                "The client asked not to store this answer, so only a value may be kept about it.",
                param=next(iter(texts)),
                code="not_stored",
            )
        feedback = self._feedback(request, caller, owner, self._id(caller, idempotency_key))
        body = FeedbackAccepted(
            id=feedback.id,
            response_id=request.response_id,
            name=feedback.name,
            value=rating.shown(self.settings.names[feedback.name], feedback),
        )
        if await self._keep(feedback, self._digest(request), repeatable=idempotency_key is not None):
            self.metrics.rated(request.name, rating.kind(self.settings.names[request.name], request.value))
        else:
            response.status_code = 200
        return body

    def list(self, response_id: ResponseId, caller: Caller, history: bool = False) -> FeedbackList:
        """What was said of an answer: everything for reviewers and operators, one's own for users."""
        owner = self._owner(response_id, caller)
        actor = owner.subject if caller.role is Role.USER else None
        found = self.ledger.feedback(bare(response_id), actor=actor, history=history)
        return FeedbackList(data=[FeedbackDocument.of(item, response_id, self.settings.names) for item in found])

    async def retract(self, feedback_id: str, caller: Caller) -> FeedbackRetracted:
        """Take back what was said; once more changes nothing."""
        found = await asyncio.to_thread(self.ledger.feedback_by_id, feedback_id)
        if found is None or not _may_retract(caller, found[0]):
            raise NotFound(f"There is no feedback {feedback_id[:64]!r} of yours.", param="feedback_id")
        await self.bell.wait(self.ledger.retract(feedback_id, caller.id))
        return FeedbackRetracted(id=feedback_id)

    def _owner(self, response_id: str, caller: Principal) -> Owner:
        owner = self.ledger.owner(bare(response_id))
        foreign = owner and caller.role is Role.USER and (owner.key_id != caller.id or owner.arm is Arm.SHADOW)
        if owner is None or foreign:
            raise NotFound(f"There is no response {response_id!r} of yours.", param="response_id")
        return owner

    def _id(self, caller: Principal, idempotency_key: str | None) -> str:
        if idempotency_key is None:
            return f"fb_{new_id()}"
        if not IDEMPOTENCY_KEY.fullmatch(idempotency_key):
            raise BadRequest("Idempotency-Key is 1 to 255 printable ASCII characters.", param="Idempotency-Key")
        return feedback_id(self.secret, caller.id, idempotency_key)

    def _feedback(self, request: FeedbackRequest, caller: Principal, owner: Owner, identity: str) -> Feedback:
        return Feedback(
            id=identity,
            created_at=self.clock(),
            interaction=bare(request.response_id),
            name=request.name,
            value=rating.number(request.value),
            label=request.value if isinstance(request.value, str) else None,
            actor=owner.subject if caller.role is Role.USER else caller.root,
            key_id=caller.id,
            role=caller.role,
            comment=request.comment,
            reasons=tuple(request.reasons or ()),
            correction=request.correction,
            tags=request.tags or {},
        )

    def _digest(self, request: FeedbackRequest) -> str:
        document = orjson.dumps(request.model_dump(), option=orjson.OPT_SORT_KEYS)
        return self.secret.digest("feedback-request", document.decode())

    async def _keep(self, feedback: Feedback, digest: str, *, repeatable: bool) -> bool:
        """Whether the judgement is new; False when the same request was kept before. Raises Conflict, NotStored."""
        if repeatable and await self._known(feedback, digest):
            return False
        kept = await self.bell.wait(self.ledger.rate(feedback, digest))
        # Of two requests under one key at the same time, the database took one: look which.
        return not (repeatable and kept is Kept.COMMITTED and await self._known(feedback, digest))

    async def _known(self, feedback: Feedback, digest: str) -> bool:
        found = await asyncio.to_thread(self.ledger.feedback_by_id, feedback.id)
        if found is None:
            return False
        earlier, request = found
        if request != digest:
            raise Conflict("This Idempotency-Key was used for another request.", code="idempotency_conflict")
        return earlier.created_at != feedback.created_at


def _may_retract(caller: Principal, feedback: Feedback) -> bool:
    return caller.role is Role.OPS or feedback.key_id == caller.id or feedback.actor == caller.root
