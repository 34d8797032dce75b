"""Hone's operations API as the demo uses it: the public documents, read in a thread so that customers go on."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from agent.cli.api_client import ApiClient, segment
from agent.loop_documents import (
    ExperimentDetails,
    ExperimentList,
    ModelDetails,
    PromotionDocument,
    RunDetails,
    RunList,
    SuccessionDocument,
)
from agent.status_documents import StatusDocument
from core.types import ExperimentKind, JsonObject, Role

TIMEOUT = 20.0


@dataclass(frozen=True, slots=True)
class Operations:
    """Reads and decides with an operator's key. Every call raises the error that the API's answer stands for."""

    client: ApiClient

    async def status(self) -> StatusDocument:
        return StatusDocument.model_validate(await self._get("/api/status"))

    async def run(self, run_id: str) -> RunDetails:
        return RunDetails.model_validate(await self._get(f"/api/runs/{segment(run_id)}"))

    async def newest_run(self) -> str | None:
        """The id of the last run that anybody asked for, open or not."""
        runs = RunList.model_validate(await self._get("/api/runs?limit=1"))
        return runs.data[0].id if runs.data else None

    async def model(self, version: str) -> ModelDetails:
        return ModelDetails.model_validate(await self._get(f"/api/models/{segment(version)}"))

    async def trial(self, version: str) -> ExperimentDetails | None:
        """The last A/B in which a version was the challenger."""
        listed = ExperimentList.model_validate(await self._get("/api/experiments?limit=20"))
        own = (each.id for each in listed.data if each.kind is ExperimentKind.AB and each.challenger == version)
        found = next(own, None)
        return ExperimentDetails.model_validate(await self._get(f"/api/experiments/{found}")) if found else None

    async def approve(self, version: str, digest: str, reason: str) -> PromotionDocument:
        body: JsonObject = {"reason": reason, "evidence_digest": digest}
        return PromotionDocument.model_validate(await self._post(f"/api/models/{segment(version)}/approve", body))

    async def rollback(self, reason: str) -> SuccessionDocument:
        return SuccessionDocument.model_validate(await self._post("/api/rollback", {"reason": reason}))

    async def make_key(self, name: str, role: Role) -> str:
        return str((await self._post("/api/keys", {"name": name, "role": role}))["key"])

    async def _get(self, path: str) -> JsonObject:
        return await _in_thread(lambda: self.client.get(path))

    async def _post(self, path: str, body: JsonObject) -> JsonObject:
        return await _in_thread(lambda: self.client.post(path, body))


def connect(url: str, key: str) -> Operations:
    return Operations(ApiClient(url, key, TIMEOUT))


async def _in_thread(call: Callable[[], JsonObject]) -> JsonObject:
    return await asyncio.to_thread(call)
