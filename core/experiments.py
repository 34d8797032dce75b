"""Comparisons on live subjects as rows: begun and widened by the conductor, stopped by an operator, looked at for ever.

The split itself is part of the plan, so each change here is one transaction with it, in the order of core/registry.py.
What a look finds is not judged here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

from sqlalchemy import Connection, Row, insert, select, update

from core import approval, audit, plan, versions
from core.clock import Clock, now
from core.errors import Conflict, NotFound
from core.ids import new_id
from core.lifecycle import Mover, Stage
from core.page import Page
from core.schema import experiments as table
from core.schema import looks
from core.store import Store
from core.types import Experiment, ExperimentKind, ExperimentState, JsonObject, Plan, ShareStep, Split, Version
from core.versions import Decision

_COLUMNS = [table.c[field.name] for field in fields(Experiment)]


@dataclass(frozen=True, slots=True)
class Look:
    """What was found at one time, as JSON."""

    id: str
    created_at: int
    experiment: str
    findings: JsonObject


class Experiments:
    """Reads and moves experiments; every change names its actor and its reason."""

    def __init__(self, store: Store, clock: Clock = now) -> None:
        self._store = store
        self._clock = clock

    def begin(self, challenger: Version, share: float, *, actor: str, reason: str) -> Experiment:
        """Take a version from shadow into an A/B with the champion, at a first share of the subjects.

        Raises Conflict when it is not in shadow or another experiment runs.
        """
        decision = Decision(Mover.MONITORING, actor, reason, self._clock())
        with self._store.write() as conn:
            old = plan.current(conn)
            if old.split is not None:
                raise Conflict(f"Experiment {old.split.experiment} is running already.")
            made = _made(ExperimentKind.AB, old.champion, challenger, share, old.revision + 1, decision)
            new = replace(old, revision=old.revision + 1, split=Split(made.id, challenger, share, made.salt))
            plan.swap(conn, old, new, decision.at)
            versions.move(conn, versions.find(conn, challenger), Stage.AB, decision)
            enter(conn, made)
            body: JsonObject = {"champion": old.champion, "challenger": challenger, "share": share, "reason": reason}
            audit.append(conn, actor, "experiment.begin", made.id, body, at=decision.at)
        return made

    def widen(self, experiment_id: str, share: float, *, actor: str, reason: str) -> Experiment:
        """Give the challenger a larger share. Raises Conflict when the experiment does not run or shrinks."""
        at = self._clock()
        with self._store.write() as conn:
            old = plan.current(conn)
            found = find(conn, experiment_id)
            if old.split is None or old.split.experiment != experiment_id or share <= found.share:
                raise Conflict(
                    f"Experiment {experiment_id} does not run, or has {found.share:g} of the subjects already."
                )
            new = replace(old, revision=old.revision + 1, split=replace(old.split, share=share))
            plan.swap(conn, old, new, at)
            steps = (*found.steps, ShareStep(new.revision, share, at))
            values = {"share": share, "steps": [asdict(step) for step in steps]}
            conn.execute(update(table).where(table.c.id == experiment_id).values(**values))
            audit.append(conn, actor, "experiment.widen", experiment_id, {"share": share, "reason": reason}, at=at)
        return replace(found, share=share, steps=steps)

    def stop(self, experiment_id: str, *, actor: str, reason: str) -> Experiment:
        """End a running experiment by hand: of an A/B the candidate returns to shadow, of a hold-back nobody is held.

        Raises NotFound, or Conflict when it has ended.
        """
        decision = Decision(Mover.OPERATOR, actor, reason, self._clock())
        with self._store.write() as conn:
            old = plan.current(conn)
            found = find(conn, experiment_id)
            if found.state is not ExperimentState.RUNNING:
                raise Conflict(f"Experiment {experiment_id} has ended already: {found.reason}.")
            plan.swap(conn, old, _without(old, found), decision.at)
            if found.kind is ExperimentKind.AB:
                model = versions.find(conn, found.challenger)
                approval.void(conn, model, f"its experiment was stopped: {reason}"[: versions.MAX_REASON])
                versions.move(conn, model, Stage.SHADOW, decision)
            end(conn, experiment_id, ExperimentState.STOPPED, decision)
            audit.append(conn, actor, "experiment.stop", experiment_id, {"reason": reason}, at=decision.at)
            return find(conn, experiment_id)

    def find(self, experiment_id: str) -> Experiment:
        """Raises NotFound."""
        with self._store.read() as conn:
            return find(conn, experiment_id)

    def page(self, before: str | None = None, limit: int = 50) -> Page[Experiment]:
        """Up to `limit` experiments, newest first, from behind the cursor."""
        query = select(*_COLUMNS).order_by(table.c.id.desc()).limit(limit + 1)
        if before is not None:
            query = query.where(table.c.id < before)
        with self._store.read() as conn:
            items = [_experiment(row) for row in conn.execute(query)]
        return Page(items[:limit], items[limit - 1].id if len(items) > limit else None)

    def running(self) -> Mapping[ExperimentKind, Experiment]:
        """What runs now: at most one of each kind."""
        query = select(*_COLUMNS).where(table.c.state == ExperimentState.RUNNING)
        with self._store.read() as conn:
            return {found.kind: found for found in map(_experiment, conn.execute(query))}

    def of_challenger(self, version: Version) -> Sequence[Experiment]:
        """All experiments of a challenger, newest first."""
        query = select(*_COLUMNS).where(table.c.challenger == version).order_by(table.c.id.desc())
        with self._store.read() as conn:
            return [_experiment(row) for row in conn.execute(query)]

    def note(self, experiment_id: str, findings: JsonObject) -> Look:
        """Keep what a look found."""
        at = self._clock()
        look = Look(new_id(at // 1000), at, experiment_id, findings)
        with self._store.write() as conn:
            conn.execute(insert(looks).values(**asdict(look)))
        return look

    def looks(self, experiment_id: str, limit: int = 100) -> Sequence[Look]:
        """The last looks at an experiment, newest first."""
        query = (
            select(looks)
            .where(looks.c.experiment == experiment_id)
            .order_by(looks.c.created_at.desc(), looks.c.id.desc())
            .limit(limit)
        )
        with self._store.read() as conn:
            return [Look(**row) for row in conn.execute(query).mappings()]


def hold_back(old: Version, promoted: Version, share: float, revision: int, decision: Decision) -> Experiment:
    """The comparison that follows a promotion; `share` of the subjects stay on the old version."""
    return _made(ExperimentKind.HOLDBACK, old, promoted, 1 - share, revision, decision)


def enter(conn: Connection, made: Experiment) -> None:
    """Write a new experiment down."""
    row = {field.name: getattr(made, field.name) for field in fields(Experiment)}
    conn.execute(insert(table).values(**{**row, "steps": [asdict(step) for step in made.steps]}))


def end(conn: Connection, experiment_id: str, state: ExperimentState, decision: Decision) -> None:
    """End one experiment that runs."""
    running = table.c.id == experiment_id, table.c.state == ExperimentState.RUNNING
    conn.execute(update(table).where(*running).values(state=state, ended_at=decision.at, reason=decision.reason))


def end_all(conn: Connection, state: ExperimentState, decision: Decision, challenger: Version | None = None) -> None:
    """End what is running, of one challenger or of all."""
    running = table.c.state == ExperimentState.RUNNING
    condition = running if challenger is None else running & (table.c.challenger == challenger)
    conn.execute(update(table).where(condition).values(state=state, ended_at=decision.at, reason=decision.reason))


def find(conn: Connection, experiment_id: str) -> Experiment:
    """Raises NotFound."""
    row = conn.execute(select(*_COLUMNS).where(table.c.id == experiment_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no experiment {experiment_id[:40]!r}; `hone experiments list` shows them.")
    return _experiment(row)


def _made(
    kind: ExperimentKind, champion: Version, challenger: Version, share: float, revision: int, decision: Decision
) -> Experiment:
    identity = new_id(decision.at // 1000)
    return Experiment(
        id=identity,
        created_at=decision.at,
        kind=kind,
        champion=champion,
        challenger=challenger,
        salt=identity,
        share=share,
        state=ExperimentState.RUNNING,
        steps=(ShareStep(revision, share, decision.at),),
    )


def _without(old: Plan, ended: Experiment) -> Plan:
    if ended.kind is ExperimentKind.AB:
        return replace(old, revision=old.revision + 1, split=None, shadow=ended.challenger)
    return replace(old, revision=old.revision + 1, holdback=None)


def _experiment(row: Row[tuple[object, ...]]) -> Experiment:
    values = {field.name: getattr(row, field.name) for field in fields(Experiment)}
    steps = tuple(ShareStep(**step) for step in values["steps"])
    kinds = {"kind": ExperimentKind(row.kind), "state": ExperimentState(row.state)}
    return Experiment(**{**values, **kinds, "steps": steps})
