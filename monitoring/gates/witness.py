"""What is known of a version at each stage, read from the ledger and from the disk. Decides nothing, moves nothing."""

from collections.abc import Sequence

from core import plan as plans
from core import reports, versions
from core.clock import Clock
from core.experiments import Experiments
from core.lifecycle import Mover, Stage
from core.store import Store
from core.types import Experiment, ExperimentKind, JsonObject, Model, Plan
from monitoring import history
from monitoring.experiments.findings import Findings
from monitoring.experiments.trials import Past, Trials
from monitoring.gates import evidence, offline
from monitoring.gates.evidence import Trial
from monitoring.gates.gate import Offline, Shadow
from monitoring.gates.ruling import Decision, Reason, Ruling
from monitoring.gates.rulings import Rulings
from monitoring.gates.weights import Check
from monitoring.shadow.mirrored import Mirror
from monitoring.terms import Terms


class Witness:
    """Reads evidence; what it finds at experiments it keeps as looks."""

    def __init__(self, store: Store, terms: Terms, clock: Clock, weights: Check) -> None:
        self._store, self._terms, self._clock = store, terms, clock
        self._experiments = Experiments(store, clock)
        self._past = Past(store, terms)
        self._trials = Trials(store, terms, self._past, clock)
        self._mirror = Mirror(store, terms)
        self._rulings = Rulings(store)
        self.weights = weights

    def plan(self) -> Plan | None:
        with self._store.read() as conn:
            return plans.read(conn)

    def at(self, *stages: Stage) -> Sequence[Model]:
        """The versions at these stages, oldest first."""
        with self._store.read() as conn:
            return versions.at_stage(conn, *stages)[::-1]

    def entered(self, model: Model) -> int:
        """When a version came to its present stage, in microseconds."""
        with self._store.read() as conn:
            return history.since(conn, model)

    def running(self, kind: ExperimentKind, challenger: Model) -> Experiment | None:
        """The running experiment of this kind, if it is about this version."""
        found = self._experiments.running().get(kind)
        return found if found and found.challenger == challenger.id else None

    def screened(self, model: Model) -> Offline:
        """What the run's own evaluation says."""
        return offline.read(model, self._champion().id, self.weights(model), self._terms)

    def mirrored(self, model: Model) -> Shadow:
        """What the mirror has shown since the version came into the shadow of the present champion."""
        with self._store.read() as conn:
            window = history.window(conn, model, plans.current(conn).champion)
        return self._mirror.read(window, self._past.before(model.id), self._stopped(model))

    def looked(self, experiment: Experiment) -> Findings:
        """What an experiment says now."""
        ab = experiment.kind is ExperimentKind.AB
        return self._trials.look(experiment, max(experiment.share, self._terms.share) if ab else experiment.share)

    def note(self, experiment: Experiment, findings: Findings, decision: Decision) -> None:
        """Keep a look that says something new."""
        self._trials.note(experiment, findings, decision)

    def snapshot(self, model: Model, trial: Trial | None) -> JsonObject:
        """Everything that speaks for a version, to be frozen."""
        with self._store.read() as conn:
            learned = reports.confidence_map(conn, model.id)
        return evidence.snapshot(
            model,
            self._champion(),
            self._terms,
            self.screened(model),
            self.mirrored(model),
            self._rulings.all(model.id),
            trial,
            self._clock(),
            learned,
        )

    def _champion(self) -> Model:
        with self._store.read() as conn:
            return versions.find(conn, plans.current(conn).champion)

    def _stopped(self, model: Model) -> Sequence[Reason]:
        """The control that an operator put there by stopping the A/B or by sending the version back."""
        with self._store.read() as conn:
            entry = history.entered(conn, model.id, Stage.SHADOW)
            change = history.entered(conn, plans.current(conn).champion, Stage.CHAMPION)
        # Another champion sends candidates back too, at the same moment and in the same person's name.
        if entry is None or entry.mover is not Mover.OPERATOR or (change and change.at == entry.at):
            return ()
        says = f"an operator stopped it ({entry.reason}); reject it by hand, or it ends at its deadline"
        return (Reason("operator", Ruling.HOLD, says),)
