"""All that the ledger knows of one version: its evidence, what its gate waits for, who asked for it, who agreed."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from agent.documents import ModelDocument
from agent.loop_documents import ApprovalDocument, ModelDetails
from core import approval, audit, reports, states
from core.lifecycle import Stage
from core.types import JsonObject, Model

GATE = "gate/"
"""Prefix of the state in which the conductor keeps what a version's gate said last."""
UNSAID = {
    Stage.CANDIDATE: "the first look of its gate",
    Stage.SHADOW: "the first look of its gate",
    Stage.AB: "the first look of its gate",
    Stage.AWAITING_APPROVAL: "a person's approval",
}


def details(conn: Connection, model: Model) -> ModelDetails:
    """A version with everything that hangs on it."""
    evidence = approval.read(conn, model.id)
    return ModelDetails(
        **ModelDocument.model_validate(model).model_dump(),
        requester=approval.requester(conn, model),
        gate=gate(conn, model),
        evidence=evidence and evidence.snapshot,
        evidence_digest=evidence and evidence.digest,
        evidence_at=evidence and evidence.at,
        evidence_void=evidence and evidence.void,
        approval=_approval(conn, model),
        confidence_map=reports.confidence_map(conn, model.id),
    )


def gate(conn: Connection, model: Model) -> JsonObject | None:
    """What the gate of a version said last; None before its first look."""
    found = states.read(conn, f"{GATE}{model.id}")
    return found.body if found else None


def waits_for(model: Model, ruling: JsonObject | None, void: str | None) -> str:
    """What keeps a version where it is, in words."""
    if model.stage is Stage.AWAITING_APPROVAL:
        return f"new evidence, for its own is void: {void}" if void else UNSAID[model.stage]
    if ruling is None or ruling.get("stage") != model.stage:
        return UNSAID.get(model.stage, "nothing")
    reasons = ruling.get("reasons")
    missing = [
        f"{reason.get('control')}: {reason.get('says')}"
        for reason in (reasons if isinstance(reasons, Sequence) else ())
        if isinstance(reason, Mapping) and reason.get("ruling") == "hold"
    ]
    return "; ".join(missing) or str(ruling.get("says") or UNSAID[model.stage])


def _approval(conn: Connection, model: Model) -> ApprovalDocument | None:
    row = audit.last(conn, "plan.promote", model.id)
    if row is None:
        return None
    body: Mapping[str, Any] = row.body
    return ApprovalDocument(
        actor=row.actor,
        at=row.created_at,
        reason=body["reason"],
        evidence_digest=body.get("evidence_digest"),
        self_approved=body.get("self_approved") is True,
    )
