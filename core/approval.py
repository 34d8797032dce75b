"""A person's agreement to a promotion: bound to the evidence that was frozen, and not to one's own run.

Works inside the transaction that promotes, so that what was agreed to is what happens.
"""

import hashlib
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection, select, update

from core.clock import HOUR
from core.errors import Conflict, Forbidden
from core.schema import models, runs
from core.types import JsonObject, Model

OWN_RUN = "own_run"
STALE = "evidence_stale"


@dataclass(frozen=True, slots=True)
class Consent:
    """Who agrees to which evidence, and why. `max_age` is in microseconds; `actor` whom the key counts as."""

    actor: str
    reason: str
    evidence_digest: str
    four_eyes: bool = True
    max_age: int = 168 * HOUR


@dataclass(frozen=True, slots=True)
class Evidence:
    """The snapshot that was frozen when a version arrived at approval; `void` says why it counts no more."""

    snapshot: JsonObject
    digest: str
    at: int
    void: str | None = None


def freeze(conn: Connection, model: Model, snapshot: JsonObject, at: int) -> str:
    """Keep what speaks for a version, in the place of an older snapshot; the digest over it."""
    digest = hashlib.sha256(orjson.dumps(snapshot, option=orjson.OPT_SORT_KEYS)).hexdigest()
    values = {"evidence": snapshot, "evidence_digest": digest, "evidence_at": at, "evidence_void": None}
    conn.execute(update(models).where(models.c.id == model.id).values(**values))
    return digest


def read(conn: Connection, version: str) -> Evidence | None:
    """The snapshot of a version, if one was ever frozen."""
    columns = [models.c[name] for name in ("evidence", "evidence_digest", "evidence_at", "evidence_void")]
    row = conn.execute(select(*columns).where(models.c.id == version)).one_or_none()
    return Evidence(*row) if row and row.evidence_digest is not None else None


def void(conn: Connection, model: Model, reason: str) -> None:
    """Make a frozen snapshot worthless for a promotion; the first reason stays."""
    frozen = models.c.evidence_digest.is_not(None), models.c.evidence_void.is_(None)
    conn.execute(update(models).where(models.c.id == model.id, *frozen).values(evidence_void=reason))


def check(conn: Connection, model: Model, consent: Consent, now: int) -> JsonObject:
    """What the audit row says of a valid consent. Raises Conflict for evidence that is not that of now, Forbidden."""
    evidence = read(conn, model.id)
    if evidence is None:
        raise Conflict(f"There is no evidence for {model.id}; the gate freezes it on arrival at approval.", code=STALE)
    if evidence.void is not None:
        raise Conflict(f"The evidence for {model.id} is void: {evidence.void}. It must be gathered anew.", code=STALE)
    if evidence.digest != consent.evidence_digest:
        raise Conflict(
            f"The evidence for {model.id} is {evidence.digest}, not {consent.evidence_digest[:64]}. Look at it again "
            f"(`hone models show {model.id}`), then decide.",
            code=STALE,
        )
    if now - evidence.at > consent.max_age:
        hours = consent.max_age / HOUR
        raise Conflict(f"The evidence for {model.id} is older than {hours:g} h (approval.max_age_hours).", code=STALE)
    own = requester(conn, model) == consent.actor
    if own and consent.four_eyes:
        raise Forbidden(
            f"You asked for the run that made {model.id}, so another one must approve it: use a second operator's key, "
            "or set approval.four_eyes = false, which records and shows that it was self-approved.",
            code=OWN_RUN,
        )
    return {"evidence_digest": evidence.digest, "self_approved": own}


def requester(conn: Connection, model: Model) -> str | None:
    """Who asked for the run that made a version; None for one that no run made."""
    return conn.scalar(select(runs.c.requester).where(runs.c.id == model.run)) if model.run else None
