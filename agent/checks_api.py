"""/api/checks: looks at streams of scores and labels, newest first."""

from dataclasses import dataclass
from enum import StrEnum

from fastapi import APIRouter

from agent.loop_documents import Acknowledged, Because, CheckDocument, CheckList
from agent.routes import Caller, Cursor, Limit, errors
from core import checks
from core.clock import Clock
from core.store import Store


class CheckKind(StrEnum):
    """What a check is about."""

    DRIFT = "drift"
    CALIBRATION = "calibration"
    EXPLANATION = "explanation"


@dataclass(frozen=True, slots=True)
class CheckRoutes:
    """The two routes."""

    store: Store
    clock: Clock

    def router(self) -> APIRouter:
        router = APIRouter(tags=["checks"])
        router.add_api_route("/api/checks", self.list, methods=["GET"], responses=errors())
        router.add_api_route("/api/checks/acknowledge", self.acknowledge, methods=["POST"], responses=errors())
        return router

    def list(self, kind: CheckKind | None = None, limit: Limit = 50, cursor: Cursor = None) -> CheckList:
        """All checks, or those of one kind; `warming` says that the reference is not complete."""
        with self.store.read() as conn:
            page = checks.page(conn, kind, cursor, limit)
        return CheckList(data=[CheckDocument.model_validate(check) for check in page.items], next=page.next)

    def acknowledge(self, request: Because, caller: Caller) -> Acknowledged:
        """Say that the alarms up to now are dealt with; their streams are watched anew."""
        at = self.clock()
        with self.store.write() as conn:
            checks.acknowledge(conn, caller.root, request.reason, at)
        return Acknowledged(at=at)
