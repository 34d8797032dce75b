"""/v1/models: the one model that everybody may name, and for operators the versions behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from agent.reception import PUBLIC_MODEL, unknown
from agent.routes import LARGEST_PAGE, Caller, errors
from core.errors import NotFound
from core.registry import Registry
from core.types import Model, Principal, Role

OWNER = "hone"


class CatalogueModel(BaseModel):
    """A model as OpenAI's clients know it; `created` is in seconds since the epoch."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = OWNER


class CatalogueList(BaseModel):
    object: Literal["list"] = "list"
    data: list[CatalogueModel]


@dataclass(frozen=True, slots=True)
class CatalogueRoutes:
    """The two routes. `created` is when this Hone first knew a model, in seconds since the epoch."""

    registry: Registry

    def router(self) -> APIRouter:
        router = APIRouter(tags=["models"])
        add = router.add_api_route
        add("/v1/models", self.list, methods=["GET"], responses=errors())
        add("/v1/models/{model}", self.show, methods=["GET"], responses=errors(404))
        return router

    def list(self, caller: Caller) -> CatalogueList:
        """The models that the caller may name."""
        versions = self._versions() if caller.role is Role.OPS else ()
        return CatalogueList(data=[self._public(), *map(_entry, versions)])

    def show(self, model: str, caller: Caller) -> CatalogueModel:
        """One model."""
        if model == PUBLIC_MODEL:
            return self._public()
        return _entry(self._version(model, caller))

    def _public(self) -> CatalogueModel:
        plan = self.registry.plan()
        born = self.registry.model(plan.champion).created_at if plan else 0
        return CatalogueModel(id=PUBLIC_MODEL, created=born // 1_000_000)

    def _versions(self) -> Sequence[Model]:
        return self.registry.models(None, LARGEST_PAGE).items

    def _version(self, model: str, caller: Principal) -> Model:
        if caller.role is not Role.OPS:
            raise unknown(model)
        try:
            return self.registry.model(model)
        except NotFound:
            raise unknown(model) from None


def _entry(model: Model) -> CatalogueModel:
    return CatalogueModel(id=model.id, created=model.created_at // 1_000_000)
