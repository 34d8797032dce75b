"""What the routes share: who calls, how lists are paged, and which errors the documentation names."""

from typing import Annotated, Any

from fastapi import Depends, Query, Request
from pydantic import BaseModel

from agent.visit import visit_of
from core.types import Principal

LARGEST_PAGE = 100


class ErrorDetails(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorDocument(BaseModel):
    """Every error of every route."""

    error: ErrorDetails


def _caller(request: Request) -> Principal:
    return visit_of(request.scope).caller()


Caller = Annotated[Principal, Depends(_caller)]
Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="How many at most.")]
Cursor = Annotated[str | None, Query(max_length=200, description="`next` of the page before.")]


Answers = dict[int | str, dict[str, Any]]


def errors(*statuses: int) -> Answers:
    """The error answers of a route, for its documentation; those that every route has are always among them."""
    return {status: {"model": ErrorDocument} for status in (400, 401, 403, 429, 503, *statuses)}
