"""/api/subjects: erase what one subject said, for operators."""

from dataclasses import dataclass

from fastapi import APIRouter

from agent.documents import SubjectErased
from agent.erasures import Erasures
from agent.routes import Caller, errors
from core.types import Subject


@dataclass(frozen=True, slots=True)
class SubjectRoutes:
    """The one route."""

    erasures: Erasures

    def router(self) -> APIRouter:
        router = APIRouter(tags=["subjects"])
        router.add_api_route("/api/subjects/{subject}", self.erase, methods=["DELETE"], responses=errors(404))
        return router

    def erase(self, subject: str, caller: Caller) -> SubjectErased:
        """Take away every word of a subject and about its answers, for good; once more takes what came since."""
        erased = self.erasures.erase(Subject(subject), caller.root)
        return SubjectErased(id=erased.subject, **erased.account())
