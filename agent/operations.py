"""/api/status, /api/models and /api/audit: how Hone is, which versions there are, and who changed what."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query

from agent import dossier
from agent.documents import AuditDocument, AuditList
from agent.loop_documents import ModelDetails, ModelDetailsList
from agent.overview import Overview
from agent.readiness import Readiness
from agent.routes import Cursor, Limit, errors
from agent.status_documents import AuditHeadDocument, BaseDocument, QueuesDocument, StatusDocument, WorkerDocument
from core import audit
from core.clock import SECOND, Clock
from core.config import BUILT_IN_MODEL
from core.errors import NotFound
from core.registry import Registry
from core.store import Store
from core.types import Model
from core.writer import Writer

ALIVE = 15 * SECOND
"""A worker that was silent for longer counts as gone."""
After = Annotated[str | None, Query(max_length=20, description="The same as cursor: the number of the row before.")]


@dataclass(frozen=True, slots=True)
class OperationRoutes:
    """The four routes."""

    store: Store
    registry: Registry
    writer: Writer
    readiness: Readiness
    overview: Overview
    clock: Clock

    def router(self) -> APIRouter:
        router = APIRouter(tags=["operations"])
        add = router.add_api_route
        add("/api/status", self.status, methods=["GET"], responses=errors())
        add("/api/models", self.models, methods=["GET"], responses=errors())
        add("/api/models/{version}", self.model, methods=["GET"], responses=errors(404))
        add("/api/audit", self.audit, methods=["GET"], responses=errors())
        return router

    def status(self) -> StatusDocument:
        """Who answers, what is under way, and whether everything keeps up."""
        plan = self.registry.plan()
        with self.store.read() as conn:
            head = audit.head(conn)
        loop = self.overview.loop(plan)
        base = self._model(plan.champion if plan else None)
        workers = self.registry.workers(self.clock() - ALIVE)
        return StatusDocument(
            **dict(loop),
            champion=plan.champion if plan else None,
            previous=plan.previous if plan else None,
            challenger=plan.split.challenger if plan and plan.split else None,
            shadow=plan.shadow if plan else None,
            stage=loop.candidate.stage if loop.candidate else None,
            plan_revision=plan.revision if plan else None,
            queues=QueuesDocument.model_validate(self.writer.stats()),
            workers=[WorkerDocument.model_validate(worker) for worker in workers],
            audit=AuditHeadDocument(seq=head.seq, head=head.digest),
            ready=self.readiness.ready,
            degraded=self.readiness.degraded,
            model=BaseDocument(base=base and base.base, built_in=bool(base and base.base == BUILT_IN_MODEL)),
        )

    def models(self, limit: Limit = 50, cursor: Cursor = None) -> ModelDetailsList:
        """All versions, newest first."""
        page = self.registry.models(cursor, limit)
        return ModelDetailsList(data=self._details(page.items), next=page.next)

    def model(self, version: str) -> ModelDetails:
        """One version with its evidence, what its gate waits for, who asked for it and who agreed."""
        return self._details([self.registry.model(version)])[0]

    def audit(self, limit: Limit = 100, cursor: Cursor = None, after: After = None) -> AuditList:
        """Who changed what, oldest first; each row holds the digest of the one before."""
        with self.store.read() as conn:
            page = audit.page(conn, cursor or after, limit)
        return AuditList(data=[AuditDocument.model_validate(row) for row in page.items], next=page.next)

    def _details(self, models: Sequence[Model]) -> list[ModelDetails]:
        with self.store.read() as conn:
            return [dossier.details(conn, model) for model in models]

    def _model(self, version: str | None) -> Model | None:
        try:
            return self.registry.model(version) if version else None
        except NotFound:
            return None
