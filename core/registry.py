"""The registry: which versions exist, at which stage, which one is champion, and who carries that out.

Every change is one transaction of plan, versions, experiments and audit, in that order, so that two changes never wait
for each other in a circle; each row changes by compare-and-swap. Which moves exist is in core/lifecycle.py, what they
do to the plan in core/plan.py; whether one is deserved is for others to decide.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, select

from core import approval, audit, experiments, plan, versions, workers
from core.approval import Consent, Evidence
from core.clock import Clock, now
from core.errors import Conflict, SetupError
from core.lifecycle import Mover, Stage, check_advance
from core.page import Page
from core.schema import audit as audit_table
from core.store import Store
from core.types import ExperimentState, Holdback, Json, JsonObject, Model, Plan
from core.versions import Decision
from core.workers import Worker, WorkerBeat

_SUCCESSIONS = ("plan.install", "plan.adopt", "plan.promote", "plan.rollback")
_UNDECIDED = (Stage.CANDIDATE, Stage.SHADOW, Stage.AB, Stage.AWAITING_APPROVAL)
_COMPARED = (Stage.AB, Stage.AWAITING_APPROVAL)
"""Stages whose evidence compares with the champion of its time."""


class Registry:
    """Reads and moves versions; every change names its actor and its reason."""

    def __init__(self, store: Store, clock: Clock = now) -> None:
        self._store = store
        self._clock = clock

    def plan(self) -> Plan | None:
        """Who answers whom; None before the first start."""
        with self._store.read() as conn:
            return plan.read(conn)

    def model(self, version: str) -> Model:
        """Raises NotFound."""
        with self._store.read() as conn:
            return versions.find(conn, version)

    def models(self, before: str | None = None, limit: int = 100) -> Page[Model]:
        """Up to `limit` versions, newest first, from behind the cursor `before`."""
        with self._store.read() as conn:
            return versions.page(conn, before, limit)

    def install(self, model: Model, actor: str) -> Plan:
        """Make version 0 of a base the first champion; with the base already in place, change nothing.

        Raises SetupError when the data belongs to another base.
        """
        found = self.plan() or self._start(model, Decision(Mover.SETUP, actor, "first start", self._clock()))
        base = self.model(found.champion)
        if base.base_digest != model.base_digest:
            raise SetupError(
                f"The data belongs to the base {base.base}, not to {model.base}. Run `hone models adopt` to go "
                "on with the new base and all records, set the old one again, or choose another folder with HONE_DATA."
            )
        return found

    def adopt(self, model: Model, actor: str, reason: str) -> Plan:
        """Make version 0 of another base the champion: what is in the running is rejected, and no rollback leads back.

        Raises Conflict when the champion is on that base already.
        """
        decision = Decision(Mover.OPERATOR, actor, reason, self._clock())
        with self._store.write() as conn:
            old = plan.current(conn)
            champion = versions.find(conn, old.champion)
            if champion.base_digest == model.base_digest:
                raise Conflict(f"The champion {champion.id} is on the base {model.base} already; nothing to adopt.")
            new = Plan(old.revision + 1, model.id)
            plan.swap(conn, old, new, decision.at)
            for other in versions.at_stage(conn, *_UNDECIDED):
                versions.move(conn, other, Stage.REJECTED, decision.in_turn())
            versions.move(conn, champion, Stage.RETIRED, decision)
            if versions.exists(conn, model.id):
                versions.move(conn, versions.find(conn, model.id), Stage.CHAMPION, decision)
            else:
                setup = replace(decision, mover=Mover.SETUP)
                versions.move(conn, versions.enter(conn, model), Stage.CHAMPION, setup)
            experiments.end_all(conn, ExperimentState.INVALIDATED, decision.in_turn())
            _record(conn, "plan.adopt", new, decision)
        return new

    def register(self, model: Model, actor: str) -> Model:
        """Enter a new version as a candidate. Raises Conflict when its name is taken or its base is not served."""
        with self._store.write() as conn:
            champion = versions.find(conn, plan.current(conn).champion)
            if champion.base_digest != model.base_digest:
                raise Conflict(f"{model.id} was made for the base {model.base}, but {champion.base} is being served.")
            entered = versions.enter(conn, model)
            body: JsonObject = {"digest": model.digest, "parent": model.parent, "run": model.run}
            audit.append(conn, actor, "model.register", model.id, body, at=self._clock())
        return entered

    def evidence(self, version: str) -> Evidence | None:
        """What was frozen for a version on its arrival at approval."""
        with self._store.read() as conn:
            return approval.read(conn, version)

    def void(self, version: str, reason: str) -> None:
        """Make the frozen evidence of a version worthless."""
        with self._store.write() as conn:
            approval.void(conn, versions.find(conn, version), reason)

    def advance(
        self, version: str, target: Stage, *, mover: Mover, actor: str, reason: str, evidence: JsonObject | None = None
    ) -> Model:
        """Move a version that is not the champion to another stage, and in the plan where that follows from it.

        To approval it takes the `evidence` along, which is frozen. Raises Conflict or Forbidden as the lifecycle table
        says; the champion changes by `promote` and `rollback` only, an A/B begins in core/experiments.py.
        """
        decision = Decision(mover, actor, reason, self._clock())
        with self._store.write() as conn:
            model = versions.find(conn, version)
            check_advance(model.stage, target, mover)
            if Stage.CHAMPION in (model.stage, target):
                raise Conflict("The champion changes by promotion or rollback only, so that there is always one.")
            if target is Stage.AB:
                raise Conflict("An A/B begins with its split of the subjects, not by a move alone.")
            old = plan.current(conn)
            new = plan.advanced(old, model.id, target)
            if new != old:
                plan.swap(conn, old, new, decision.at)
            moved = versions.move(conn, model, target, decision)
            if target in (Stage.SHADOW, Stage.REJECTED):
                approval.void(conn, model, f"it went back to {target}: {reason}"[: versions.MAX_REASON])
                experiments.end_all(conn, _ending(decision), decision, challenger=model.id)
            body: dict[str, Json] = {
                "from": model.stage,
                "to": target,
                "mover": mover,
                "reason": reason,
                "revision": new.revision,
            }
            if target is Stage.AWAITING_APPROVAL:
                body["evidence_digest"] = _frozen(conn, model, evidence, decision.at)
            audit.append(conn, actor, "model.advance", model.id, body, at=decision.at)
        return moved

    def promote(
        self,
        version: str,
        consent: Consent,
        *,
        revision: int | None = None,
        holdback: float = 0.0,
        mover: Mover = Mover.OPERATOR,
    ) -> Plan:
        """Make a version that awaits approval the champion; a share of the subjects stays on the old one.

        `revision` is that of the plan the decision was made on, if that matters. Raises Conflict when the plan moved on
        or the evidence is not what was agreed to, Forbidden when the mover is not a person or the run their own.
        """
        decision = Decision(mover, consent.actor, consent.reason, self._clock())
        with self._store.write() as conn:
            model = versions.find(conn, version)
            if model.stage is not Stage.AWAITING_APPROVAL:
                raise Conflict(
                    f"{model.id} is at {model.stage}; only a version at {Stage.AWAITING_APPROVAL} is promoted."
                )
            agreed = approval.check(conn, model, consent, decision.at)
            old = plan.current(conn) if revision is None else plan.seen(conn, revision)
            return _succeed(conn, old, model, "plan.promote", decision, holdback, agreed)

    def rollback(self, *, mover: Mover, actor: str, reason: str, revision: int | None = None) -> Plan:
        """Swap the champion with the one before it. `revision` is that of the plan the decision was made on, if that
        matters.

        Raises Conflict when the plan moved on, there is nothing to go back to, or the one before it left for harm.
        """
        decision = Decision(mover, actor, reason, self._clock())
        with self._store.write() as conn:
            old = plan.current(conn) if revision is None else plan.seen(conn, revision)
            previous = old.previous
            if previous is None:
                raise Conflict("There is no previous champion to go back to.")
            if _left_for_harm(conn):
                raise Conflict(f"{previous} was rolled back automatically for harm; only a newer version may follow.")
            return _succeed(conn, old, versions.find(conn, previous), "plan.rollback", decision)

    def beat(self, beat: WorkerBeat) -> None:
        """A worker's sign of life."""
        with self._store.write() as conn:
            workers.note(conn, beat, self._clock())

    def workers(self, since: int) -> Sequence[Worker]:
        """The workers heard at or after `since`."""
        with self._store.read() as conn:
            return workers.heard(conn, since)

    def _start(self, model: Model, decision: Decision) -> Plan:
        with self._store.write() as conn:
            audit.lock(conn)  # of several processes that start at once, one goes first
            if found := plan.read(conn):
                return found
            first = Plan(revision=1, champion=model.id)
            plan.place(conn, first, decision.at)
            versions.move(conn, versions.enter(conn, model), Stage.CHAMPION, decision)
            _record(conn, "plan.install", first, decision)
        return first


def _succeed(
    conn: Connection,
    old: Plan,
    heir: Model,
    action: str,
    decision: Decision,
    held: float = 0.0,
    agreed: JsonObject | None = None,
) -> Plan:
    """Put another champion in place, with everything that follows from it."""
    compared = [model for model in versions.at_stage(conn, *_COMPARED) if model.id != heir.id]
    trial = experiments.hold_back(old.champion, heir.id, held, old.revision + 1, decision) if held else None
    holdback = Holdback(old.champion, held, trial.salt) if trial else None
    new = plan.succeeded(old, heir.id, [model.id for model in compared], holdback)
    plan.swap(conn, old, new, decision.at)
    versions.move(conn, versions.find(conn, old.champion), Stage.RETIRED, decision)
    versions.move(conn, heir, Stage.CHAMPION, decision)
    for model in compared:
        approval.void(conn, model, decision.in_turn().reason)
        versions.move(conn, model, Stage.SHADOW, decision.in_turn())
    experiments.end_all(conn, ExperimentState.CONCLUDED, decision, challenger=heir.id)
    experiments.end_all(conn, ExperimentState.INVALIDATED, decision.in_turn())
    if trial:
        experiments.enter(conn, trial)
    _record(conn, action, new, decision, agreed)
    return new


def _frozen(conn: Connection, model: Model, evidence: JsonObject | None, at: int) -> str:
    if not evidence:
        raise Conflict(f"{model.id} cannot await approval without evidence.")
    return approval.freeze(conn, model, evidence, at)


def _ending(decision: Decision) -> ExperimentState:
    """How the experiment of a version ends that leaves it: by what was found, or by hand."""
    return ExperimentState.CONCLUDED if decision.mover is Mover.MONITORING else ExperimentState.STOPPED


def _left_for_harm(conn: Connection) -> bool:
    """Whether the last change of champion was a rollback that no person asked for."""
    last = select(audit_table).where(audit_table.c.action.in_(_SUCCESSIONS)).order_by(audit_table.c.seq.desc()).limit(1)
    row = conn.execute(last).one()
    return bool(row.action == "plan.rollback" and row.body["mover"] == Mover.MONITORING)


def _record(conn: Connection, action: str, new: Plan, decision: Decision, agreed: JsonObject | None = None) -> None:
    body: JsonObject = {
        "mover": decision.mover,
        "reason": decision.reason,
        "revision": new.revision,
        "previous": new.previous,
        **(agreed or {}),
    }
    audit.append(conn, decision.actor, action, new.champion, body, at=decision.at)
