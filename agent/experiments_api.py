"""/api/experiments: comparisons on live subjects, as their newest look sees them; operators may stop one."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter

from agent.loop_documents import (
    ArmDocument,
    ArmsDocument,
    Because,
    ExperimentDetails,
    ExperimentDocument,
    ExperimentList,
    IntervalDocument,
    LookDocument,
)
from agent.plans import Plans
from agent.routes import Caller, Cursor, Limit, errors
from core.experiments import Experiments
from core.types import Experiment, Json, JsonObject

LOOKS = 50


@dataclass(frozen=True, slots=True)
class ExperimentRoutes:
    """The three routes."""

    experiments: Experiments
    plans: Plans

    def router(self) -> APIRouter:
        router = APIRouter(tags=["experiments"])
        add = router.add_api_route
        add("/api/experiments", self.list, methods=["GET"], responses=errors())
        add("/api/experiments/{experiment_id}", self.show, methods=["GET"], responses=errors(404))
        add("/api/experiments/{experiment_id}/stop", self.stop, methods=["POST"], responses=errors(404, 409))
        return router

    def list(self, limit: Limit = 50, cursor: Cursor = None) -> ExperimentList:
        """All experiments, newest first."""
        page = self.experiments.page(cursor, limit)
        return ExperimentList(data=[ExperimentDocument.model_validate(e) for e in page.items], next=page.next)

    def show(self, experiment_id: str) -> ExperimentDetails:
        """One experiment: arms, counts, estimate, interval, split check, and its last looks."""
        return details(self.experiments, self.experiments.find(experiment_id))

    async def stop(self, experiment_id: str, request: Because, caller: Caller) -> ExperimentDetails:
        """End a running experiment: a candidate returns to shadow, a hold-back's subjects meet the champion."""
        stop = self.experiments.stop
        stopped = await asyncio.to_thread(stop, experiment_id, actor=caller.root, reason=request.reason)
        await self.plans.refresh()
        return await asyncio.to_thread(details, self.experiments, stopped)


def details(experiments: Experiments, experiment: Experiment, looks: int = LOOKS) -> ExperimentDetails:
    """An experiment with its last looks, and what the newest one says."""
    seen = [LookDocument.model_validate(look) for look in experiments.looks(experiment.id, looks)]
    plain = ExperimentDocument.model_validate(experiment).model_dump()
    return ExperimentDetails(**plain, **_found(experiment, seen[0].findings if seen else {}), looks=seen)


def _found(experiment: Experiment, findings: JsonObject) -> Mapping[str, Any]:
    """The figures of a look; what it does not say is None."""
    comparison = _dig(findings, "primary", "comparison")
    low, high = (_number(comparison, "interval", end) for end in ("low", "high"))
    return {
        "rule": _text(findings, "primary", "rule"),
        "metric": _text(comparison, "metric"),
        "arms": ArmsDocument(
            champion=_arm(experiment.champion, _dig(comparison, "champion"), _dig(findings, "rating", "champion")),
            challenger=_arm(
                experiment.challenger, _dig(comparison, "challenger"), _dig(findings, "rating", "challenger")
            ),
        ),
        "estimate": _number(comparison, "estimate"),
        "interval": None if low is None or high is None else IntervalDocument(low=low, high=high),
        "effect": _text(findings, "primary", "effect"),
        "outlook": _text(findings, "primary", "outlook"),
        **{name: found if isinstance(found := findings.get(name), Mapping) else None for name in ("split", "rating")},
    }


def _arm(version: str, side: Json, voice: Json) -> ArmDocument:
    subjects, measured = (_number(side, name) for name in ("subjects", "measured"))
    return ArmDocument(
        version=version,
        subjects=None if subjects is None else int(subjects),
        measured=None if measured is None else int(measured),
        mean=_number(side, "mean"),
        **{name: _number(voice, name) for name in ("up", "down", "rate")},
    )


def _dig(value: Json, *path: str) -> Json:
    """What lies at a path of names inside JSON; None where there is no such place."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _number(value: Json, *path: str) -> float | None:
    found = _dig(value, *path)
    return float(found) if isinstance(found, int | float) else None


def _text(value: Json, *path: str) -> str | None:
    found = _dig(value, *path)
    return found if isinstance(found, str) else None
