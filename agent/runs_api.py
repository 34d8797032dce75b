"""/api/runs: training runs, asked for, watched and cancelled by operators. Knows not how a run is carried out."""

from dataclasses import dataclass, replace
from typing import Annotated, get_args

from fastapi import APIRouter
from pydantic import Field

from agent.loop_documents import Because, Reason, RunDetails, RunDocument, RunList
from agent.messages import Wire
from agent.routes import Caller, Cursor, Limit, errors
from core.errors import BadRequest
from core.rules import Training
from core.runs import Runs
from core.types import Run

METHODS: tuple[str, ...] = get_args(Training.model_fields["method"].annotation)
LOG = "log"
BY_HAND = "by hand"
FieldName = Annotated[str, Field(min_length=1, max_length=64)]
FieldText = Annotated[str, Field(max_length=200)]


class RunRequest(Because):
    """A run to start. Which fields a recipe has is known to the trainer, who refuses others by name."""

    method: str | None = Field(None, max_length=16, description="sft, kto, dpo or auto; the setting's if not given.")
    recipe: Annotated[dict[FieldName, bool | int | float | FieldText], Field(max_length=64)] | None = Field(
        None, description="Fields of the recipe to change, each a number, a text or a boolean."
    )


class CancelRequest(Wire):
    """Why a run is cancelled, if there is more to say than that a person did."""

    reason: Reason = BY_HAND


@dataclass(frozen=True, slots=True)
class RunRoutes:
    """The four routes."""

    runs: Runs
    settings: Training

    def router(self) -> APIRouter:
        router = APIRouter(tags=["runs"])
        add = router.add_api_route
        add("/api/runs", self.list, methods=["GET"], responses=errors())
        add("/api/runs", self.start, methods=["POST"], status_code=201, responses=errors(409))
        add("/api/runs/{run_id}", self.show, methods=["GET"], responses=errors(404))
        add("/api/runs/{run_id}/cancel", self.cancel, methods=["POST"], responses=errors(404, 409))
        return router

    def list(self, limit: Limit = 50, cursor: Cursor = None) -> RunList:
        """All runs, newest first."""
        page = self.runs.page(cursor, limit)
        return RunList(data=[document(run) for run in page.items], next=page.next)

    def start(self, request: RunRequest, caller: Caller) -> RunDocument:
        """Ask for a run; a worker takes it up at once. 409 while another one is open."""
        method = request.method or self.settings.method
        if method not in METHODS:
            raise BadRequest(f"A method is one of {', '.join(METHODS)}.", param="method", code="unknown_method")
        run = self.runs.request(
            method=method, recipe=request.recipe or {}, reason=request.reason, requester=caller.root
        )
        return document(run)

    def show(self, run_id: str) -> RunDetails:
        """One run with its live progress and the end of its log."""
        run = self.runs.find(run_id)
        log = run.progress.get(LOG)
        return RunDetails(**document(run).model_dump(), log=log if isinstance(log, list) else [])

    def cancel(self, run_id: str, caller: Caller, request: CancelRequest | None = None) -> RunDocument:
        """End an open run; its worker stops within seconds. 409 when it has ended already."""
        reason = request.reason if request else BY_HAND
        return document(self.runs.cancel(run_id, caller.root, reason))


def document(run: Run) -> RunDocument:
    """A run without the end of its log, which is for those who look at it alone."""
    told = {name: value for name, value in run.progress.items() if name != LOG}
    return RunDocument.model_validate(replace(run, progress=told))
