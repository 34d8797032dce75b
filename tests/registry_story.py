"""A registry with a short way to every situation, and the check of what must be true in all of them."""

from collections.abc import Mapping
from typing import Any, Literal

from sqlalchemy import select

from core import audit, plan
from core.approval import Consent
from core.experiments import Experiments
from core.lifecycle import Mover, Stage
from core.registry import Registry
from core.schema import audit as audit_table
from core.schema import experiments, metadata, models, moves
from core.store import Store
from core.types import Experiment, JsonObject, Model, Plan, Split, Version

BASE = "tiny"
OPERATOR, MONITORING = Mover.OPERATOR, Mover.MONITORING


class Story:
    """Versions are called v0, v1, ...; v0 is the first champion on the base `tiny`."""

    def __init__(self, store: Store, *, started: bool = True) -> None:
        self.store, self.time = store, 1_790_000_000_000_000
        self.registry = Registry(store, clock=lambda: self.time)
        self.experiments = Experiments(store, clock=lambda: self.time)
        if started:
            self.registry.install(self.made("v0"), "system:setup")

    def name(self, name: str) -> Version:
        return Version(name)

    def made(
        self,
        name: str,
        *,
        base: str = BASE,
        stage: Stage = Stage.CANDIDATE,
        revision: int = 0,
        at: int = 1,
        parent: str | None = None,
        run: str | None = None,
        manifest: JsonObject | None = None,
    ) -> Model:
        """A version as a trainer hands it in."""
        return Model(
            id=Version(name),
            created_at=at,
            stage=stage,
            revision=revision,
            base=base,
            base_digest=f"digest of {base}",
            digest=f"digest of {name}",
            path=f"artifacts/{name}",
            parent=Version(parent) if parent else None,
            run=run,
            manifest=manifest or {},
        )

    def row(self, name: str) -> dict[str, Any]:
        return {field: getattr(self.made(name), field) for field in Model.__dataclass_fields__}

    def enter(self, name: str, *, base: str = BASE, at: int = 1) -> Model:
        return self.registry.register(self.made(name, base=base, at=at), "run_1")

    def advance(self, name: str, target: Stage, mover: Mover) -> Model:
        actor = "key_ops" if mover is OPERATOR else "system:gate"
        evidence: JsonObject | None = {"for": name} if target is Stage.AWAITING_APPROVAL else None
        return self.registry.advance(name, target, mover=mover, actor=actor, reason="it is time", evidence=evidence)

    def begin(self, name: str) -> Experiment:
        """Begin the A/B of a version in shadow."""
        return self.experiments.begin(Version(name), 0.1, actor="system:gate", reason="it is time")

    def await_approval(self, name: str) -> None:
        """Bring a version to approval, from shadow as under `rollout = review`."""
        self.enter(name)
        for target in (Stage.SHADOW, Stage.AWAITING_APPROVAL):
            self.advance(name, target, MONITORING)

    def compare(self, name: str) -> None:
        """Bring a version into a running A/B, as the conductor does."""
        self.enter(name)
        self.advance(name, Stage.SHADOW, MONITORING)
        self.begin(name)
        self._replace_plan(shadow=None, split=self.plan.split)

    def clear_shadow(self) -> None:
        """Make room for another candidate, as if the one in shadow were not mirrored any more."""
        self._replace_plan(shadow=None, split=self.plan.split)

    def _replace_plan(self, *, shadow: Version | None, split: Split | None) -> None:
        old = self.plan
        new = Plan(old.revision + 1, old.champion, old.previous, shadow, split, old.holdback)
        with self.store.write() as conn:
            plan.swap(conn, old, new, self.time)

    def void(self, name: str, reason: str) -> None:
        """Make the evidence of a version worthless."""
        self.registry.void(name, reason)

    def promote(
        self,
        name: str,
        *,
        revision: int | None = None,
        mover: Mover = OPERATOR,
        reason: str = "it is better",
        digest: str | None = None,
        holdback: float = 0.0,
    ) -> Plan:
        seen = self.plan.revision if revision is None else revision
        frozen = self.registry.evidence(name)
        consent = Consent("key_ops", reason, digest or (frozen.digest if frozen else ""))
        return self.registry.promote(name, consent, revision=seen, mover=mover, holdback=holdback)

    def rollback(self, *, revision: int | None = None, mover: Mover = OPERATOR, reason: str = "it is worse") -> Plan:
        seen = self.plan.revision if revision is None else revision
        return self.registry.rollback(revision=seen, mover=mover, actor="key_ops", reason=reason)

    @property
    def plan(self) -> Plan:
        found = self.registry.plan()
        assert found is not None
        return found

    def stage(self, name: str) -> Stage:
        return self.registry.model(name).stage

    def experiment(self, challenger: str) -> tuple[str, str]:
        """How the experiment of a challenger ended, and why."""
        with self.store.read() as conn:
            row = conn.execute(select(experiments).where(experiments.c.challenger == challenger)).one()
        assert row.ended_at is not None
        return row.state, row.reason

    def running(self) -> list[str]:
        """The challengers of running experiments."""
        query = select(experiments.c.challenger).where(experiments.c.state == "running")
        with self.store.read() as conn:
            return list(conn.execute(query).scalars())

    def evidence_void(self, name: str) -> object:
        with self.store.read() as conn:
            row = conn.execute(select(models.c.evidence_void).where(models.c.id == name)).one()
        return row.evidence_void

    def trail(self) -> list[str]:
        with self.store.read() as conn:
            rows = conn.execute(select(audit_table).order_by(audit_table.c.seq)).all()
        return [f"{row.action} {row.target}" for row in rows]

    def everything(self) -> Mapping[str, list[Any]]:
        """Every row of every table."""
        with self.store.read() as conn:
            return {table.name: sorted(map(repr, conn.execute(select(table)))) for table in metadata.sorted_tables}

    def check(self) -> Literal[True]:
        """One champion, its forerunner at rest, each move and each change written down, the chain unbroken."""
        with self.store.read() as conn:
            stages = {row.id: row.stage for row in conn.execute(select(models.c.id, models.c.stage))}
            counted = sum(conn.execute(select(models.c.revision)).scalars())
            written = conn.execute(select(moves)).all()
            running = conn.execute(select(experiments).where(experiments.c.state == "running")).all()
            now = plan.current(conn)
        assert [name for name, stage in stages.items() if stage == Stage.CHAMPION] == [now.champion]
        assert now.previous is None or stages[now.previous] == Stage.RETIRED
        assert now.shadow is None or stages[now.shadow] in {Stage.SHADOW, Stage.AB, Stage.AWAITING_APPROVAL}
        trials = {row.kind: row for row in running}
        assert len(trials) == len(running)
        assert ("ab" in trials) == (now.split is not None) and ("holdback" in trials) == (now.holdback is not None)
        for kind, row in trials.items():
            assert now.champion == (row.champion if kind == "ab" else row.challenger)
        assert counted == len(written)
        report = audit.verify(self.store)
        assert report.ok, report.reason
        entries = [entry.partition(" ")[0] for entry in self.trail()]
        assert entries.count("plan.install") == 1
        changes = len([row for row in written if row.target == Stage.CHAMPION])
        assert changes == len([entry for entry in entries if entry.startswith("plan.")])
        return True


def await_approval(registry: Registry, version: Version, *, shadowed: bool = False) -> None:
    """Bring a version that is a candidate, or in shadow already, to approval."""
    if not shadowed:
        registry.advance(version, Stage.SHADOW, mover=MONITORING, actor="test", reason="a test")
    registry.advance(
        version,
        Stage.AWAITING_APPROVAL,
        mover=MONITORING,
        actor="test",
        reason="a test",
        evidence={"for": version},
    )
