"""/api/models/{version}/approve and /reject, /api/rollback: the decisions about the champion that only people make.

The gateway that takes one acts on it at once, and answers when every live gateway worker does.
"""

import asyncio
import time
from dataclasses import dataclass

from fastapi import APIRouter
from pydantic import Field

from agent import dossier
from agent.loop_documents import Because, ModelDetails, PromotionDocument, SuccessionDocument
from agent.plans import Plans
from agent.routes import Caller, errors
from core.approval import Consent
from core.clock import HOUR
from core.lifecycle import Mover, Stage
from core.registry import Registry
from core.rules import Approval
from core.store import Store
from core.types import Plan

PATIENCE = 10.0
"""Seconds in which every live gateway worker should have taken over a new plan."""


class ApprovalRequest(Because):
    """Agreement to a promotion on this evidence and no other."""

    evidence_digest: str = Field(min_length=1, max_length=128, description="As `GET /api/models/{version}` shows it.")


@dataclass(frozen=True, slots=True)
class ApprovalRoutes:
    """The three routes."""

    store: Store
    registry: Registry
    plans: Plans
    settings: Approval

    def router(self) -> APIRouter:
        router = APIRouter(tags=["approval"])
        add = router.add_api_route
        add("/api/models/{version}/approve", self.approve, methods=["POST"], responses=errors(404, 409))
        add("/api/models/{version}/reject", self.reject, methods=["POST"], responses=errors(404, 409))
        add("/api/rollback", self.rollback, methods=["POST"], responses=errors(409))
        return router

    async def approve(self, version: str, request: ApprovalRequest, caller: Caller) -> PromotionDocument:
        """Make a version that awaits approval the champion.

        409 when the evidence is not that of now or the stage does not allow it, 403 for a run of one's own.
        """
        consent = Consent(
            actor=caller.root,
            reason=request.reason,
            evidence_digest=request.evidence_digest,
            four_eyes=self.settings.four_eyes,
            max_age=int(self.settings.max_age_hours * HOUR),
        )
        began = time.perf_counter()
        plan = await asyncio.to_thread(self.registry.promote, version, consent, holdback=self.settings.holdback)
        succession = await self._carried_out(plan, began)
        approval = (await asyncio.to_thread(self._details, version)).approval
        return PromotionDocument(
            **succession.model_dump(),
            evidence_digest=request.evidence_digest,
            self_approved=approval is not None and approval.self_approved,
        )

    async def reject(self, version: str, request: Because, caller: Caller) -> ModelDetails:
        """End a candidate's way at any stage; 409 when it is the champion or has come to an end already."""
        await asyncio.to_thread(
            self.registry.advance,
            version,
            Stage.REJECTED,
            mover=Mover.OPERATOR,
            actor=caller.root,
            reason=request.reason,
        )
        await self.plans.refresh()
        return await asyncio.to_thread(self._details, version)

    async def rollback(self, request: Because, caller: Caller) -> SuccessionDocument:
        """Swap the champion with the one before; once more swaps back. 409 when there is none, or it left for harm."""
        began = time.perf_counter()
        plan = await asyncio.to_thread(
            self.registry.rollback, mover=Mover.OPERATOR, actor=caller.root, reason=request.reason
        )
        return await self._carried_out(plan, began)

    async def _carried_out(self, plan: Plan, began: float) -> SuccessionDocument:
        self.plans.adopt(plan)
        acknowledged = await self.plans.acknowledged_by_all(plan.revision, PATIENCE)
        return SuccessionDocument(
            champion=plan.champion,
            previous=plan.previous,
            revision=plan.revision,
            acknowledged=acknowledged,
            seconds=round(time.perf_counter() - began, 4),
        )

    def _details(self, version: str) -> ModelDetails:
        model = self.registry.model(version)
        with self.store.read() as conn:
            return dossier.details(conn, model)
