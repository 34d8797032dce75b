"""What /api/status answers, as documents."""

from collections.abc import Mapping, Sequence
from typing import Any

from agent.documents import Document
from agent.loop_documents import CheckDocument, ExperimentDetails, RunDocument
from core.lifecycle import Stage


class WorkerDocument(Document):
    id: str
    kind: str
    host: str
    pid: int
    started_at: int
    seen_at: int
    revision: int
    loaded: Sequence[str]


class QueuesDocument(Document):
    """How the ledger's writer in the gateway that answered is, in rows, bytes and seconds since its start."""

    queued: int
    committed: int
    spooled: int
    replayed: int
    rejected: int
    refused: int
    unlogged: int
    held: int
    spool_bytes: int
    commit_seconds_sum: float
    commit_seconds_count: int
    degraded: bool
    trouble: str | None


class AuditHeadDocument(Document):
    seq: int
    head: str


class BaseDocument(Document):
    base: str | None
    built_in: bool


class CandidateDocument(Document):
    """The version that is on its way to be champion, and what keeps it where it is."""

    id: str
    stage: Stage
    run: str | None
    requester: str | None
    waits_for: str
    gate: Mapping[str, Any] | None
    """What each control at its stage said at the last look."""
    evidence_digest: str | None
    evidence_void: str | None


class ArmedDocument(Document):
    """A reason to train that waits."""

    cause: str
    source: str
    reason: str
    at: int
    expires_at: int


class NextRunDocument(Document):
    """What stands between now and the next run by itself."""

    says: str
    waits: Mapping[str, Any]
    """What there is to train on, and what a run needs."""
    dropped: list[Mapping[str, Any]]
    """The last triggers that are armed no more, and why."""
    looked_at: int


class HoldbackDocument(Document):
    """The subjects that stay on the version before a promotion."""

    version: str
    share: float
    experiment: str | None


class LoopDocument(Document):
    """How far the loop is. What is not there yet is null or empty."""

    candidate: CandidateDocument | None = None
    run: RunDocument | None = None
    triggers: list[ArmedDocument] = []
    next_run: NextRunDocument | None = None
    experiment: ExperimentDetails | None = None
    """The A/B that runs, with its newest look."""
    holdback: HoldbackDocument | None = None
    checks: list[CheckDocument] = []
    """The newest of each stream."""
    condition: Mapping[str, Any] | None = None
    """Whether the traffic changed, and whether the answers got worse; null before the first look."""


class StatusDocument(LoopDocument):
    """How Hone is."""

    champion: str | None
    previous: str | None
    challenger: str | None
    shadow: str | None
    stage: Stage | None
    plan_revision: int | None
    queues: QueuesDocument
    workers: list[WorkerDocument]
    audit: AuditHeadDocument
    ready: bool
    degraded: bool
    model: BaseDocument
