"""How far the loop is, for /api/status: the candidate and what it waits for, the run, what is armed, the comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from agent import dossier, experiments_api, runs_api
from agent.loop_documents import CheckDocument, ExperimentDetails, RunDocument
from agent.status_documents import ArmedDocument, CandidateDocument, HoldbackDocument, LoopDocument, NextRunDocument
from core import approval, checks, reports, states, versions
from core.experiments import Experiments
from core.lifecycle import Stage
from core.runs import Runs
from core.states import State
from core.store import Store
from core.types import Experiment, ExperimentKind, Model, Plan

FOREMOST = (Stage.AWAITING_APPROVAL, Stage.AB, Stage.SHADOW, Stage.CANDIDATE)
"""The stages of a version that is on its way, the nearest to the end first."""

EARLIER = "earlier"
"""What a gate said at the stages before: for those who look at the version."""


@dataclass(frozen=True, slots=True)
class Overview:
    """Reads what the processes of the loop have written down."""

    store: Store
    runs: Runs
    experiments: Experiments

    def loop(self, plan: Plan | None) -> LoopDocument:
        """Everything about the loop at this moment."""
        running = self.experiments.running()
        with self.store.read() as conn:
            triggers = states.read(conn, states.TRIGGERS)
            candidate, looked, condition = _candidate(conn), checks.latest(conn), reports.condition(conn)
        champion = plan.champion if plan else None
        return LoopDocument(
            candidate=candidate,
            run=self._run(),
            triggers=_armed(triggers),
            next_run=_next_run(triggers),
            experiment=self._trial(running),
            holdback=_holdback(plan, running),
            # What was found of a version before it is history.
            checks=[CheckDocument.model_validate(check) for check in looked if check.version in (None, champion)],
            condition=condition,
        )

    def _run(self) -> RunDocument | None:
        run = self.runs.open()
        return runs_api.document(run) if run else None

    def _trial(self, running: Mapping[ExperimentKind, Experiment]) -> ExperimentDetails | None:
        trial = running.get(ExperimentKind.AB)
        return experiments_api.details(self.experiments, trial, looks=1) if trial else None


def _candidate(conn: Connection) -> CandidateDocument | None:
    model = _foremost(versions.at_stage(conn, *FOREMOST))
    if model is None:
        return None
    evidence, ruling = approval.read(conn, model.id), dossier.gate(conn, model)
    void = evidence.void if evidence else None
    return CandidateDocument(
        id=model.id,
        stage=model.stage,
        run=model.run,
        requester=approval.requester(conn, model),
        waits_for=dossier.waits_for(model, ruling, void),
        gate=ruling and {name: value for name, value in ruling.items() if name != EARLIER},
        evidence_digest=evidence and evidence.digest,
        evidence_void=void,
    )


def _foremost(models: Sequence[Model]) -> Model | None:
    return min(models, key=lambda model: FOREMOST.index(model.stage), default=None)


def _armed(triggers: State | None) -> list[ArmedDocument]:
    rows = triggers.body.get("armed") if triggers else None
    return [ArmedDocument.model_validate(row) for row in rows] if isinstance(rows, Sequence) else []


def _next_run(triggers: State | None) -> NextRunDocument | None:
    if triggers is None:
        return None
    says, waits, dropped = (triggers.body.get(name) for name in ("says", "waits", "dropped"))
    return NextRunDocument(
        says=says if isinstance(says, str) else "",
        waits=waits if isinstance(waits, Mapping) else {},
        dropped=list(dropped) if isinstance(dropped, list) else [],
        looked_at=triggers.updated_at,
    )


def _holdback(plan: Plan | None, running: Mapping[ExperimentKind, Experiment]) -> HoldbackDocument | None:
    if plan is None or plan.holdback is None:
        return None
    trial = running.get(ExperimentKind.HOLDBACK)
    return HoldbackDocument(
        version=plan.holdback.version, share=plan.holdback.share, experiment=trial.id if trial else None
    )
