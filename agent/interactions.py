"""/api/interactions: what was asked and answered, for reviewers and operators."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from agent.documents import (
    FeedbackDocument,
    InteractionDetails,
    InteractionDocument,
    InteractionList,
    Lineage,
    ModelDocument,
    ScoreDocument,
    response_id,
)
from agent.routes import LARGEST_PAGE, errors
from core import config
from core.errors import BadRequest, NotFound
from core.ids import bare
from core.ledger import InteractionFilter, Ledger
from core.registry import Registry
from core.types import Arm, Finish, Interaction, Subject, Version

MICROS = Field(None, ge=0, lt=2**62, description="Microseconds since the epoch.")
NAME = Field(None, max_length=128)


class InteractionQuery(BaseModel):
    """Which interactions to list; an unknown filter is refused."""

    model_config = ConfigDict(extra="forbid")

    subject: str | None = NAME
    served: str | None = NAME
    arm: Arm | None = None
    finish: Finish | None = None
    key_id: str | None = NAME
    experiment: str | None = NAME
    parent: str | None = NAME
    since: int | None = MICROS
    until: int | None = MICROS
    tag: str | None = Field(None, max_length=600, description="name:value of the request's metadata.")
    limit: int = Field(50, ge=1, le=LARGEST_PAGE)
    cursor: str | None = Field(None, max_length=64, description="`next` of the page before.")

    def wanted(self) -> InteractionFilter:
        """Raises BadRequest for a tag without a colon."""
        return InteractionFilter(
            subject=Subject(self.subject) if self.subject is not None else None,
            served=Version(self.served) if self.served is not None else None,
            arm=self.arm,
            finish=self.finish,
            key_id=self.key_id,
            experiment=self.experiment,
            parent=bare(self.parent) if self.parent is not None else None,
            since=self.since,
            until=self.until,
            tag=self._tag(),
        )

    def _tag(self) -> tuple[str, str] | None:
        if self.tag is None:
            return None
        name, colon, value = self.tag.partition(":")
        if not colon:
            raise BadRequest("tag is name:value.", param="tag")
        return name, value


@dataclass(frozen=True, slots=True)
class InteractionRoutes:
    """The two routes. `settings` declares the names that feedback carries."""

    ledger: Ledger
    registry: Registry
    settings: config.FeedbackNames

    def router(self) -> APIRouter:
        router = APIRouter(tags=["interactions"])
        add = router.add_api_route
        add("/api/interactions", self.list, methods=["GET"], responses=errors())
        add("/api/interactions/{interaction_id}", self.show, methods=["GET"], responses=errors(404))
        return router

    def list(self, query: Annotated[InteractionQuery, Query()]) -> InteractionList:
        """Interactions, newest first."""
        page = self.ledger.interactions(query.wanted(), query.cursor, query.limit)
        return InteractionList(data=[InteractionDocument.of(item) for item in page.items], next=page.next)

    def show(self, interaction_id: str) -> InteractionDetails:
        """One interaction with its feedback, its shadow answers, its scores and where it comes from."""
        found = self.ledger.interaction(bare(interaction_id))
        if found is None:
            raise NotFound(f"There is no interaction {interaction_id[:64]!r}.", param="interaction_id")
        details = InteractionDetails.of(found)
        told = self.ledger.feedback(found.id, history=True)
        shadow = self.ledger.interactions(InteractionFilter(parent=found.id), limit=LARGEST_PAGE).items
        return details.model_copy(
            update={
                "feedback": [FeedbackDocument.of(item, response_id(found), self.settings.names) for item in told],
                "shadow": [InteractionDocument.of(item) for item in shadow],
                "scores": [ScoreDocument.model_validate(score) for score in self.ledger.scores(found.id)],
                "lineage": self._lineage(found),
            }
        )

    def _lineage(self, interaction: Interaction) -> Lineage:
        if interaction.served is None:
            return Lineage(model=None, run=None)
        model = self.registry.model(interaction.served)
        return Lineage(model=ModelDocument.model_validate(model), run=model.run)
