"""What the operations API answers about the loop, as documents: runs, experiments, checks, approvals, blind pairs.

Times are microseconds since the epoch, durations in seconds where they are so called.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from agent.documents import Document, ModelDocument
from agent.messages import Wire
from core.reports import ReportKind
from core.types import ExperimentKind, ExperimentState, RunState, Verdict
from core.versions import MAX_REASON


def _says_something(reason: str) -> str:
    if not reason.strip() or not all(char.isprintable() or char in "\n\t" for char in reason):
        raise ValueError("a reason is printable characters, not only spaces")
    return reason


Reason = Annotated[
    str,
    Field(min_length=1, max_length=MAX_REASON, description="Why, for the audit log."),
    AfterValidator(_says_something),
]


class Because(Wire):
    """A decision by a person, who says why."""

    reason: Reason


class RunDocument(Document):
    """A training run; `progress` is where it stood when its worker last spoke."""

    id: str
    created_at: int
    state: RunState
    method: str
    recipe: Mapping[str, Any]
    reason: str
    requester: str
    trigger: str | None
    progress: Mapping[str, Any]
    attempts: int
    dataset: str | None
    model: str | None
    error: str | None
    started_at: int | None
    ended_at: int | None


class RunDetails(RunDocument):
    """A run as it is at this moment, with the end of its log."""

    log: list[str]


class RunList(Document):
    data: list[RunDocument]
    next: str | None = None


class StepDocument(Document):
    """The challenger's share from a revision of the plan on."""

    revision: int
    share: float
    at: int


class ExperimentDocument(Document):
    """A comparison on live subjects; of a hold-back the challenger is the version that was promoted."""

    id: str
    created_at: int
    kind: ExperimentKind
    champion: str
    challenger: str
    share: float
    state: ExperimentState
    steps: Sequence[StepDocument]
    ended_at: int | None
    reason: str | None


class ExperimentList(Document):
    data: list[ExperimentDocument]
    next: str | None = None


class ArmDocument(Document):
    """One side of a comparison: its subjects, those who rated, their mean on the deciding metric, and what it is of.

    `up` and `down` are mean shares of all answers, rated or not; `rate` is the share of subjects who rated.
    """

    version: str
    subjects: int | None = None
    measured: int | None = None
    mean: float | None = None
    up: float | None = None
    down: float | None = None
    rate: float | None = None


class ArmsDocument(Document):
    champion: ArmDocument
    challenger: ArmDocument


class IntervalDocument(Document):
    low: float
    high: float


class LookDocument(Document):
    """What was found at one time."""

    id: str
    created_at: int
    findings: Mapping[str, Any]


class ExperimentDetails(ExperimentDocument):
    """An experiment with what its newest look says: challenger minus champion on the deciding metric."""

    rule: str | None = None
    """anytime, or group_sequential with a planned number of looks."""
    metric: str | None = None
    arms: ArmsDocument
    estimate: float | None = None
    interval: IntervalDocument | None = None
    effect: str | None = None
    outlook: str | None = None
    """What is missing to decide it."""
    split: Mapping[str, Any] | None = None
    """Whether subjects fell into the arms as the split says."""
    rating: Mapping[str, Any] | None = None
    """Whether the subjects of both arms rate equally often."""
    looks: list[LookDocument] = []
    """The last ones, newest first."""


class CheckDocument(Document):
    """One look at a stream of scores or labels."""

    id: str
    created_at: int
    kind: str
    stream: str
    version: str | None
    statistic: float | None
    threshold: float | None
    verdict: Verdict
    count: int
    details: Mapping[str, Any]


class CheckList(Document):
    data: list[CheckDocument]
    next: str | None = None


class ReportDocument(Document):
    """What was last found out about a version; the body says what its figures mean."""

    kind: ReportKind
    version: str
    at: int
    body: Mapping[str, Any]


class ReportList(Document):
    data: list[ReportDocument]
    next: str | None = None


class Acknowledged(Document):
    """Until when the alarms are dealt with."""

    at: int


class ApprovalDocument(Document):
    """Who agreed to a promotion; `self_approved` where it was the one who asked for the run."""

    actor: str
    at: int
    reason: str
    evidence_digest: str | None
    self_approved: bool


class ModelDetails(ModelDocument):
    """A version with all that speaks for or against it."""

    requester: str | None = None
    """Who asked for the run that made it."""
    gate: Mapping[str, Any] | None = None
    """What each control at its stage said at the last look."""
    evidence: Mapping[str, Any] | None = None
    """What was frozen when it arrived at approval; `evidence_void` says why it counts no more."""
    evidence_digest: str | None = None
    evidence_at: int | None = None
    evidence_void: str | None = None
    approval: ApprovalDocument | None = None
    confidence_map: Mapping[str, Any] | None = None
    """What its raw confidence has proved to mean; null while there are too few ratings to tell."""


class ModelDetailsList(Document):
    data: list[ModelDetails]
    next: str | None = None


class SuccessionDocument(Document):
    """A change of champion, and how long it took until every live gateway worker went by it."""

    champion: str
    previous: str | None
    revision: int
    acknowledged: bool
    seconds: float


class PromotionDocument(SuccessionDocument):
    evidence_digest: str
    self_approved: bool


class PairDocument(Document):
    """Two answers to the same messages, in an order that says nothing about who gave which."""

    id: str
    messages: Sequence[Mapping[str, Any]]
    a: Mapping[str, Any]
    b: Mapping[str, Any]
    left: int
    """Pairs that the caller has not judged, this one included."""


class PairJudged(Document):
    id: str
    better: Literal["a", "b", "neither"]
    feedback: str
