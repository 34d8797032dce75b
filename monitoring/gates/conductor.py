"""The conductor of candidates: at each tick it looks where each version stands and takes the one step that is due.

candidate -> shadow -> A/B (a small step, then the final split) -> awaiting approval, where the evidence is frozen and
watched; after a promotion it watches the hold-back. It keeps nothing that the ledger does not hold: a tick that is
repeated changes nothing, one that was cut short is completed by the next. Whether a step is deserved is for gate.py.
"""

from collections.abc import Callable, Iterator, Sequence

from core.clock import HOUR, Clock, now
from core.errors import Conflict, LeaseLost
from core.experiments import Experiments
from core.lifecycle import Mover, Stage
from core.registry import Registry
from core.settings import Settings
from core.store import Store
from core.types import Experiment, ExperimentKind, Model
from core.versions import MAX_REASON
from monitoring.gates import contest, gate
from monitoring.gates.evidence import Trial
from monitoring.gates.ruling import Decision, Reason, Ruling
from monitoring.gates.rulings import Rulings, Stay
from monitoring.gates.weights import Check, Weights
from monitoring.gates.witness import Witness
from monitoring.terms import terms

ACTOR = "system:gate"
LIVE = (Stage.SHADOW, Stage.AB, Stage.AWAITING_APPROVAL)
"""One version at a time is at one of these."""


class Conductor:
    """Takes candidates through their stages. `store` should be fenced, so that only one conductor's writes count."""

    def __init__(self, store: Store, settings: Settings, clock: Clock = now, weights: Check | None = None) -> None:
        self._terms, self._clock = terms(settings), clock
        self._registry, self._experiments = Registry(store, clock), Experiments(store, clock)
        self._witness = Witness(store, self._terms, clock, weights or Weights(settings))
        self._rulings = Rulings(store)

    def tick(self) -> Sequence[str]:
        """Take the steps that are due; what was done, a sentence each. Raises Unavailable and LeaseLost."""
        if self._witness.plan() is None:
            return ()
        done: list[str] = []
        for step in (self._hold_back, self._live, self._candidates):
            try:
                done += step()
            except LeaseLost:
                raise
            except Conflict as error:
                # Somebody moved a version meanwhile, perhaps a person; the next tick sees what is due then.
                done.append(f"put off: {error.message}")
        return done

    def _hold_back(self) -> Iterator[str]:
        """Watch the champion against those who stayed on the version before; harm to the answers takes it back."""
        champion, plan = self._witness.at(Stage.CHAMPION)[0], self._witness.plan()
        experiment = self._witness.running(ExperimentKind.HOLDBACK, champion)
        if experiment is None or plan is None:
            return
        findings = self._witness.looked(experiment)
        decision = contest.hold_back(findings)
        self._witness.note(experiment, findings, decision)
        self._rulings.put(champion, decision, Stay(experiment.created_at), self._clock())
        if decision.ruling is Ruling.REJECT:
            reason = _short(decision.says)
            self._registry.rollback(mover=Mover.MONITORING, actor=ACTOR, reason=reason, revision=plan.revision)
            yield f"{champion.id}: {decision.says}"

    def _live(self) -> Iterator[str]:
        steps: dict[Stage, Callable[[Model], Iterator[str]]] = {
            Stage.SHADOW: self._shadow,
            Stage.AB: self._ab,
            Stage.AWAITING_APPROVAL: self._awaiting,
        }
        for model in self._witness.at(*LIVE):
            yield from steps[model.stage](model)

    def _candidates(self) -> Iterator[str]:
        """Let the oldest candidate that its evaluation speaks for into the shadow, if the place is free."""
        taken = next(iter(self._witness.at(*LIVE)), None)
        for model in self._witness.at(Stage.CANDIDATE):
            if taken is not None:
                self._rule(model, _waiting(taken), model.created_at)
                continue
            decision = self._screen(model)
            self._rule(model, decision, model.created_at)
            if decision.target is not None:
                moved = self._move(model, decision.target, decision.says)
                taken = moved if moved.stage is Stage.SHADOW else None
                yield f"{model.id}: {decision.says}"

    def _shadow(self, model: Model) -> Iterator[str]:
        since = self._witness.entered(model)
        decision = gate.shadow(self._witness.mirrored(model), since, self._terms.gate, self._clock())
        self._rule(model, decision, since, held_since=since)
        if decision.target is None:
            yield from self._supersede(model, decision, since)
            return
        if decision.target is Stage.AB:
            self._experiments.begin(model.id, self._terms.first_share, actor=ACTOR, reason=_short(decision.says))
        else:
            self._move(model, decision.target, decision.says)
        yield f"{model.id}: {decision.says}"

    def _ab(self, model: Model) -> Iterator[str]:
        experiment = self._witness.running(ExperimentKind.AB, model)
        if experiment is None:
            yield self._send_back(model, "its experiment does not run any more")
            return
        findings = self._witness.looked(experiment)
        trial, since = Trial(experiment, findings), self._witness.entered(model)
        decision, held_since = self._judge(trial, since)
        self._witness.note(experiment, findings, decision)
        counted = contest.held_from(since, self._split_since(experiment), self._terms.gate)
        self._rule(model, decision, since, held_since, counted)
        if decision.target is None:
            yield from self._supersede(model, decision, held_since)
            return
        if decision.target is Stage.AB:
            share, reason = self._terms.share, _short(decision.says)
            self._experiments.widen(experiment.id, share, actor=ACTOR, reason=reason)
        else:
            self._move(model, decision.target, decision.says, trial)
        yield f"{model.id}: {decision.says}"

    def _awaiting(self, model: Model) -> Iterator[str]:
        """Watch what a person is asked to agree to."""
        guards = self._guards(model)
        frozen = self._registry.evidence(model.id)
        if fault := self._fault(model, guards):
            yield self._send_back(model, fault)
        elif frozen is not None:
            says = "waits for a person's approval: every gate is passed"
            stay = Stay(self._witness.entered(model), frozen.at + self._terms.max_age)
            self._rulings.put(model, Decision(Ruling.HOLD, None, guards, says), stay, self._clock())

    def _judge(self, trial: Trial, since: int) -> tuple[Decision, int]:
        """The ruling on an A/B, and since when nothing but evidence is missing."""
        policy, split_since = self._terms.gate, self._split_since(trial.experiment)
        if split_since is None:
            return contest.ramp(trial.findings, since, policy, self._clock()), since
        decision = contest.ab(trial.findings, since, split_since, policy, self._clock())
        return decision, split_since + policy.min_time

    def _split_since(self, experiment: Experiment) -> int | None:
        """When the final split began; None in the small first step."""
        return experiment.steps[-1].at if experiment.share >= self._terms.share else None

    def _screen(self, model: Model) -> Decision:
        return gate.candidate(self._witness.screened(model), model.created_at, self._terms.gate, self._clock())

    def _guards(self, model: Model) -> Sequence[Reason]:
        """The controls that must go on advancing while a person decides."""
        experiment = self._witness.running(ExperimentKind.AB, model)
        if experiment is None:
            return gate.shadow_guards(self._witness.mirrored(model), self._terms.gate)
        findings = self._witness.looked(experiment)
        guards = contest.guards(findings)
        watched = Decision(Ruling.HOLD, None, guards, "watched while a person decides")
        self._witness.note(experiment, findings, watched)
        return guards

    def _fault(self, model: Model, guards: Sequence[Reason]) -> str | None:
        """Why the frozen evidence of a version counts no more."""
        frozen = self._registry.evidence(model.id)
        if frozen is None or frozen.void is not None:
            return frozen.void if frozen and frozen.void else "there is no evidence"
        if frozen.snapshot.get("terms_digest") != self._terms.digest:
            return "the settings that the evidence was gathered under were changed"
        if (weights := self._witness.weights(model)).ruling is not Ruling.ADVANCE:
            return f"the artifact changed: {weights.says}"
        if self._clock() - frozen.at >= self._terms.max_age:
            return f"nobody decided within {self._terms.max_age / HOUR:g} h (approval.max_age_hours)"
        left = [f"{guard.control}: {guard.says}" for guard in guards if guard.ruling is not Ruling.ADVANCE]
        return "; ".join(left) or None

    def _supersede(self, model: Model, decision: Decision, held_since: int) -> Iterator[str]:
        """Make room for a newer candidate that its evaluation speaks for, if this one has been held for long."""
        held = self._clock() - held_since
        if held < self._terms.supersede_after:
            return
        newer = [other for other in self._witness.at(Stage.CANDIDATE) if other.created_at > model.created_at]
        if heir := next((other for other in newer if self._screen(other).ruling is Ruling.ADVANCE), None):
            says = f"superseded by {heir.id} after {held / HOUR:.3g} h: {decision.says}"
            self._move(model, Stage.REJECTED, says)
            yield f"{model.id}: {says}"

    def _rule(
        self, model: Model, decision: Decision, since: int, held_since: int | None = None, counted: int | None = None
    ) -> None:
        """Publish a ruling before it is carried out, so that it is known also if that is cut short.

        `counted` is from when on a hold counts towards its deadline, where that is not `since`.
        """
        deadline = (since if counted is None else counted) + self._terms.gate.max_hold
        stay = Stay(since, deadline, held_since if decision.target is None else None)
        self._rulings.put(model, decision, stay, self._clock())

    def _move(self, model: Model, target: Stage, says: str, trial: Trial | None = None) -> Model:
        frozen = self._witness.snapshot(model, trial) if target is Stage.AWAITING_APPROVAL else None
        return self._registry.advance(
            model.id, target, mover=Mover.MONITORING, actor=ACTOR, reason=_short(says), evidence=frozen
        )

    def _send_back(self, model: Model, reason: str) -> str:
        """To shadow, where the evidence is gathered anew; what was frozen is void with it."""
        self._move(model, Stage.SHADOW, reason)
        return f"{model.id}: back to shadow: {reason}"


def _waiting(taken: Model) -> Decision:
    reason = Reason("place", Ruling.HOLD, f"{taken.id} is at {taken.stage}, and one version at a time may be")
    return Decision(Ruling.HOLD, None, (reason,), f"waits: {reason.says}")


def _short(says: str) -> str:
    return says[:MAX_REASON]
