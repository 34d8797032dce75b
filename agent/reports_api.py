"""/api/reports: what monitoring last found out about each version's traffic, calibration and quality."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query

from agent.loop_documents import ReportDocument, ReportList
from agent.routes import errors
from core import reports
from core.errors import NotFound
from core.reports import ReportKind
from core.store import Store
from core.types import Version


@dataclass(frozen=True, slots=True)
class ReportRoutes:
    """The two routes."""

    store: Store

    def router(self) -> APIRouter:
        router = APIRouter(tags=["reports"])
        router.add_api_route("/api/reports", self.list, methods=["GET"], responses=errors())
        router.add_api_route("/api/reports/{kind}/{version}", self.show, methods=["GET"], responses=errors(404))
        return router

    def list(
        self, kind: ReportKind | None = None, version: Annotated[str | None, Query(max_length=128)] = None
    ) -> ReportList:
        """The newest report of each kind on each version."""
        with self.store.read() as conn:
            found = reports.newest(conn, Version(version) if version else None)
        listed = [ReportDocument.model_validate(report) for report in found if kind in (None, report.kind)]
        return ReportList(data=listed)

    def show(self, kind: ReportKind, version: str) -> ReportDocument:
        """One report; 404 where nobody has looked yet."""
        with self.store.read() as conn:
            found = reports.find(conn, kind, Version(version))
        if found is None:
            raise NotFound(
                f"Nobody has looked at the {kind} of {version[:128]!r} yet; GET /api/reports shows what there is.",
                param="version",
            )
        return ReportDocument.model_validate(found)
