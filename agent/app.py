"""The gateway as one ASGI application: the hot path in front, the other routes behind it, the edge around all."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, NoReturn

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from agent import failures, openapi
from agent.approvals_api import ApprovalRoutes
from agent.ask import CHAT, COMPLETION
from agent.catalogue import CatalogueRoutes
from agent.chat import ChatEndpoint
from agent.checks_api import CheckRoutes
from agent.edge import Edge
from agent.exchange import Exchange
from agent.experiments_api import ExperimentRoutes
from agent.feedback import FeedbackRoutes
from agent.health import HealthRoutes
from agent.interactions import InteractionRoutes
from agent.invitation import Invitations
from agent.keys_api import KeyRoutes
from agent.operations import OperationRoutes
from agent.overview import Overview
from agent.parts import Parts
from agent.pins import Pins
from agent.reception import Reception
from agent.reports_api import ReportRoutes
from agent.review_api import ReviewRoutes
from agent.roles import POLICY, Policy, enforce
from agent.runs_api import RunRoutes
from agent.singles import Singles
from agent.subjects_api import SubjectRoutes
from agent.visit import visit_of
from core.experiments import Experiments
from core.runs import Runs

LEAVING = 2.0
"""Seconds for calls that were broken off at shutdown to hand in their rows."""

log = logging.getLogger(__name__)


def create_app(parts: Parts, policy: Policy = POLICY) -> FastAPI:
    """The application. Raises SetupError when a route and the table of roles do not match."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running(parts):
            yield

    limit = int(parts.settings.gateway.max_body_mib * 2**20)
    app = FastAPI(
        title="Hone",
        version=version("hone"),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        routes=_hot_path(parts),
        middleware=[Middleware(Edge, parts.metrics, parts.gate, limit)],
        exception_handlers={HTTPException: _reject, RequestValidationError: _reject},
        lifespan=lifespan,
    )
    for router in _routers(parts):
        app.include_router(router)
    app.add_api_route("/openapi.json", lambda: JSONResponse(openapi.describe(app, policy)), include_in_schema=False)
    enforce(app.routes, policy, parts.authenticator)
    return app


@asynccontextmanager
async def running(parts: Parts) -> AsyncIterator[None]:
    """The parts at work; at the end every row that was accepted is on the disk."""
    parts.writer.start()
    try:
        async with parts.engine:
            await parts.plans.refresh()
            tasks = [_background(work, parts.abort) for work in _duties(parts)]
            yield
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await _handed_in(parts)
    finally:
        await asyncio.to_thread(parts.writer.close)


def _duties(parts: Parts) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    plans, mirror = parts.plans, parts.mirror
    return [plans.follow, plans.report, parts.readiness.watch, parts.erasures.follow, mirror.queue.run]


def _background(work: Callable[[], Coroutine[Any, Any, None]], abort: Callable[[], None]) -> asyncio.Task[None]:
    """Work that goes on for ever; when it fails, so does the process, whose supervisor starts another one."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.critical("a background task failed", exc_info=error)
            abort()

    task = asyncio.create_task(work())
    task.add_done_callback(ended)
    return task


async def _handed_in(parts: Parts) -> None:
    for _ in range(100):
        if not parts.plans.running:
            return
        await asyncio.sleep(LEAVING / 100)


def _hot_path(parts: Parts) -> list[BaseRoute]:
    settings, feedback = parts.settings, parts.settings.feedback
    pins = Pins(parts.ledger, parts.secret) if settings.experiment.conversations == "pin" else None
    invitations = Invitations(settings.experiment.metric, feedback.ask, feedback.ask_more)
    reception = Reception(parts.plans, parts.registry, parts.secret, settings.digest(), parts.clock, invitations, pins)
    deadline = settings.gateway.deadline
    exchange = Exchange(
        parts.engine, parts.ledger, parts.readiness, parts.metrics, parts.fallback, parts.bell, parts.mirror, deadline
    )
    return [
        Route(surface.path, ChatEndpoint(surface, reception, exchange, parts.plans), methods=["POST"])
        for surface in (CHAT, COMPLETION)
    ]


def _routers(parts: Parts) -> list[APIRouter]:
    names, ledger, registry = parts.settings.feedback, parts.ledger, parts.registry
    return [
        FeedbackRoutes(ledger, parts.secret, names, parts.metrics, parts.bell, parts.clock).router(),
        CatalogueRoutes(registry).router(),
        InteractionRoutes(ledger, registry, names).router(),
        SubjectRoutes(parts.erasures).router(),
        KeyRoutes(parts.keys).router(),
        HealthRoutes(parts.readiness, parts.metrics).router(),
        *_loop_routers(parts),
    ]


def _loop_routers(parts: Parts) -> list[APIRouter]:
    settings, store, clock, registry = parts.settings, parts.store, parts.clock, parts.registry
    runs, experiments = Runs(store, clock), Experiments(store, clock)
    overview = Overview(store, runs, experiments)
    singles = Singles(store, settings.experiment.metric, settings.calibration.confidence, clock, random.random)
    blind = ReviewRoutes(
        store, parts.ledger, registry, parts.secret, settings.feedback, parts.metrics, parts.bell, singles, clock
    )
    return [
        OperationRoutes(store, registry, parts.writer, parts.readiness, overview, clock).router(),
        RunRoutes(runs, settings.training).router(),
        ExperimentRoutes(experiments, parts.plans).router(),
        CheckRoutes(store, clock).router(),
        ReportRoutes(store).router(),
        ApprovalRoutes(store, registry, parts.plans, settings.approval).router(),
        blind.router(),
    ]


def _reject(request: Request, error: Exception) -> NoReturn:
    """Hand the framework's own refusals to the edge, where all errors end; what they say in headers goes along."""
    if isinstance(error, RequestValidationError):
        raise failures.of_request(error) from None
    if isinstance(error, HTTPException):
        told = (error.headers or {}).items()
        visit_of(request.scope).extra += [(name.lower().encode(), value.encode()) for name, value in told]
        raise failures.of_http(error) from None
    raise error
