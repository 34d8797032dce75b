"""What the operations API answers, as documents. Times are microseconds since the epoch, durations microseconds."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from agent import rating
from core import config
from core.ids import CHAT_PREFIX, COMPLETION_PREFIX
from core.lifecycle import Stage
from core.types import Arm, Feedback, Finish, Interaction, Role


class Document(BaseModel):
    """Built from the domain's record by attribute."""

    model_config = ConfigDict(from_attributes=True)


class KeyDocument(Document):
    id: str
    name: str
    role: Role
    created_at: int
    created_by: str
    revoked_at: int | None


class KeyList(Document):
    data: list[KeyDocument]
    next: str | None = None


class KeyMade(Document):
    """The one time that a key is shown."""

    id: str
    name: str
    role: Role
    key: str
    created_at: int


class KeyRevoked(Document):
    id: str
    revoked: Literal[True] = True


class ModelDocument(Document):
    """A version."""

    id: str
    created_at: int
    stage: Stage
    revision: int
    base: str
    base_digest: str
    digest: str
    parent: str | None
    run: str | None
    manifest: Mapping[str, Any]


class AuditDocument(Document):
    """One link of the chain."""

    seq: int
    created_at: int
    actor: str
    action: str
    target: str
    body: Mapping[str, Any]
    previous: str
    digest: str


class AuditList(Document):
    data: list[AuditDocument]
    next: str | None = None


class FeedbackAccepted(Document):
    """The same for the first request and for every repetition of it."""

    id: str
    object: Literal["feedback"] = "feedback"
    response_id: str
    name: str
    value: bool | float | str | None


class FeedbackRetracted(Document):
    id: str
    object: Literal["feedback"] = "feedback"
    retracted: Literal[True] = True


class FeedbackDocument(Document):
    """One judgement as it stands."""

    id: str
    response_id: str
    created_at: int
    name: str
    value: bool | float | str | None
    comment: str | None
    reasons: Sequence[str]
    correction: str | None
    tags: Mapping[str, Any]
    actor: str
    role: Role
    superseded_by: str | None
    retracted_at: int | None

    @classmethod
    def of(cls, feedback: Feedback, response_id: str, names: Mapping[str, config.Metric]) -> Self:
        return cls(
            id=feedback.id,
            response_id=response_id,
            created_at=feedback.created_at,
            name=feedback.name,
            value=rating.shown(names.get(feedback.name), feedback),
            comment=feedback.comment,
            reasons=feedback.reasons,
            correction=feedback.correction,
            tags=feedback.tags,
            actor=feedback.actor,
            role=feedback.role,
            superseded_by=feedback.superseded_by,
            retracted_at=feedback.retracted_at,
        )


class FeedbackList(Document):
    data: list[FeedbackDocument]
    next: str | None = None


class InteractionDocument(Document):
    """One call and its answer; without text where the client asked not to store it."""

    id: str
    created_at: int
    kind: str
    key_id: str
    subject: str
    arm: Arm
    assigned: str
    served: str | None
    propensity: float
    revision: int
    experiment: str | None
    conversation: str | None
    parent: str | None
    finish: Finish
    error: str | None
    messages: Sequence[Mapping[str, Any]]
    reply: Mapping[str, Any] | None
    params: Mapping[str, Any]
    tags: Mapping[str, Any]
    stream: bool
    stored: bool
    prompt_tokens: int | None
    completion_tokens: int | None
    first_token: int | None
    duration: int | None
    request_id: str | None
    config_digest: str
    provider: str | None
    cost: float | None
    asked: float | None

    @classmethod
    def of(cls, interaction: Interaction) -> Self:
        values = {name: getattr(interaction, name) for name in InteractionDocument.model_fields}
        return cls(**{**values, "id": response_id(interaction), "parent": _parent(interaction)})


class Lineage(Document):
    """Where an answer comes from: the version that gave it, and the training run that made that version."""

    model: ModelDocument | None
    run: str | None


class ScoreDocument(Document):
    """One number about an answer, by the version that `source` asked."""

    name: str
    value: float
    source: str
    version: str
    created_at: int


class InteractionDetails(InteractionDocument):
    """One interaction with everything that hangs on it."""

    feedback: list[FeedbackDocument] = []
    shadow: list[InteractionDocument] = []
    """What other versions answered to the same messages, unseen by the client."""
    scores: list[ScoreDocument] = []
    """What monitoring measured of it, oldest first."""
    lineage: Lineage = Lineage(model=None, run=None)


class SubjectErased(Document):
    """How many rows lost their words now, and what was ever trained on them."""

    id: str
    interactions: int
    feedback: int
    messages: int
    datasets: Sequence[str]
    versions: Sequence[str]


class InteractionList(Document):
    data: list[InteractionDocument]
    next: str | None = None


def response_id(interaction: Interaction) -> str:
    """The id that the client got; a shadow answer, which no client got, has the bare one."""
    if interaction.arm is Arm.SHADOW:
        return interaction.id
    return (COMPLETION_PREFIX if interaction.kind == "completion" else CHAT_PREFIX) + interaction.id


def _parent(interaction: Interaction) -> str | None:
    if interaction.parent is None:
        return None
    return (COMPLETION_PREFIX if interaction.kind == "completion" else CHAT_PREFIX) + interaction.parent
