"""/healthz, /readyz and /metrics: whether the process lives, whether a chat is answered, and the numbers."""

from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from agent.metrics import CONTENT_TYPE, Metrics
from agent.readiness import Readiness
from agent.routes import errors


class Alive(BaseModel):
    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """`missing` says what keeps chats from being answered; `degraded` that rows wait outside of the database."""

    ready: bool
    degraded: bool
    missing: list[str]


@dataclass(frozen=True, slots=True)
class HealthRoutes:
    """The three routes."""

    readiness: Readiness
    metrics: Metrics

    def router(self) -> APIRouter:
        router = APIRouter(tags=["health"])
        add = router.add_api_route
        add("/healthz", self.alive, methods=["GET"])
        add("/readyz", self.ready, methods=["GET"], responses={503: {"model": Ready}})
        add("/metrics", self.numbers, methods=["GET"], response_class=Response, responses=errors())
        return router

    async def alive(self) -> Alive:
        """The process is there."""
        return Alive()

    async def ready(self, response: Response) -> Ready:
        """200 only when a chat is answered."""
        missing = list(self.readiness.missing())
        response.status_code = 503 if missing else 200
        return Ready(ready=not missing, degraded=self.readiness.degraded, missing=missing)

    def numbers(self) -> Response:
        """The metrics of this process, as Prometheus reads them."""
        return Response(self.metrics.render(), media_type=CONTENT_TYPE)
