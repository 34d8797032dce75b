"""The acts: from an empty Hone that says ready to a promotion, a rollback and the way forward again.

Every step waits for what Hone itself says by its operations API; nothing is decided here but the operator's consent.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TypeVar

import openai

from agent.demo import findings, scenario
from agent.demo.measurement import by_phase, measure
from agent.demo.operations import Operations
from agent.demo.record import Act, Measured, Record, Share, Sign
from agent.demo.scenario import Scenario
from agent.demo.succession import Change, timed
from agent.demo.telling import Telling
from agent.demo.town import BESIDE, BUSY, TRICKLE, Town
from agent.loop_documents import ModelDetails, RunDetails, SuccessionDocument
from agent.status_documents import StatusDocument
from core.errors import Conflict, HoneError, Unavailable
from core.lifecycle import Stage
from core.types import RunState

T = TypeVar("T")
Words = Callable[[StatusDocument], str] | None

LOOKING = 0.5
"""Seconds between two looks at what Hone says."""
LIMITS = {Act.ORDINARY: 30.0, Act.SHIFT: 300.0, Act.TRAINING: 1800.0, Act.GATE: 300.0, Act.SHADOW: 600.0, Act.AB: 600.0}
"""Seconds that an act may wait for Hone before the demo gives up."""
REASON = "the evidence speaks for it"
PROOFS = ((Act.GATE, Stage.CANDIDATE, TRICKLE), (Act.SHADOW, Stage.SHADOW, BESIDE), (Act.AB, Stage.AB, BUSY))
FOLLOWING = {
    Stage.CANDIDATE: (Stage.SHADOW,),
    Stage.SHADOW: (Stage.AB, Stage.AWAITING_APPROVAL),
    Stage.AB: (Stage.AWAITING_APPROVAL,),
}
SIGNS = {Stage.SHADOW: Sign.SHADOW, Stage.AB: Sign.AB, Stage.AWAITING_APPROVAL: Sign.EVIDENCE}


class Stuck(Conflict):
    """Hone did not come to a promotion, for a reason that it says."""


@dataclass(frozen=True, slots=True)
class Cast:
    """Who takes part: customers, an operator who watches and measures, another one who decides."""

    town: Town
    watching: Operations
    measuring: openai.AsyncOpenAI
    deciding: Operations
    agree: Callable[[ModelDetails], bool]


class Story:
    """One demo on a Hone that is ready."""

    def __init__(
        self,
        played: Scenario,
        cast: Cast,
        telling: Telling,
        *,
        limits: Mapping[Act, float] = LIMITS,
        looking: float = LOOKING,
        seed: int = 0,
    ) -> None:
        self._limits = limits
        self._looking = looking
        self._scenario = played
        self._cast = cast
        self._telling = telling
        self._crowd = scenario.crowd(played, seed)

    @property
    def _record(self) -> Record:
        return self._telling.record

    async def play(self) -> None:
        """All acts; what ends them early is in the record. Raises HoneError when something failed."""
        await self._measure(Act.BEFORE)
        try:
            await self._loop()
        except Conflict as stuck:
            self._record.ending = stuck.message
            self._telling.end(stuck.message)
        await self._look_back()
        await self._measure(Act.AFTER)
        if self._record.promoted:
            await self._return()

    async def _loop(self) -> None:
        await self._ordinary()
        version = await self._train(await self._shift())
        await self._prove(version)
        await self._approve(version)

    async def _measure(self, act: Act) -> None:
        self._telling.begin(act)
        rows, version = self._scenario.held_back, await self._champion()
        answered = await measure(
            self._cast.measuring,
            version,
            rows,
            lambda n: self._telling.say(f"{n} of {len(rows)} held-back questions asked of {version}", n / len(rows)),
        )
        failures = [one.failure for one in answered if one.failure]
        self._telling.failed(len(failures), next(iter(failures), None))
        shares = dict(by_phase(answered, [phase.name for phase in self._scenario.phases]))
        if act is Act.BEFORE:
            self._record.measured = [Measured(name, share) for name, share in shares.items()]
        else:
            self._record.measured = [replace(each, after=shares[each.phase]) for each in self._record.measured]
        self._telling.end(", ".join(f"{name} {share}" for name, share in shares.items()) + " right")

    async def _champion(self) -> str:
        champion = (await self._cast.watching.status()).champion
        if champion is None:
            raise HoneError("Hone is ready but has no champion; see `hone status`.")
        self._record.champion = champion
        return champion

    async def _ordinary(self) -> None:
        self._telling.begin(Act.ORDINARY)
        rows = scenario.visits(self._scenario.ordinary.played)
        self._telling.say(f"{len(rows)} customers ask what the model knows")
        await self._cast.town.play(rows)
        content = f"{self._record.asked} customers, {Share(self._record.asked, self._record.right)} content"
        try:
            await self._until(_is_watched, lambda status: f"{content}; {findings.waiting_words(status)}")
        except Stuck:
            content += "; the thumbs have no reference yet"
        self._telling.end(content)

    async def _shift(self) -> RunDetails:
        """The shift as traffic, and customers from all phases after it, until Hone starts a run by itself."""
        self._telling.begin(Act.SHIFT)
        rows = scenario.visits([row for phase in self._scenario.shifted for row in phase.played])
        async with self._cast.town.busy(chain(rows, self._crowd), BUSY):
            run = await self._until(self._started, findings.waiting_words)
        self._record.requester = run.requester
        self._telling.mark(Sign.RUN, f"asked for by {run.requester}: {run.reason}")
        self._telling.end(f"run {run.id} started by the trigger {run.trigger or run.requester}")
        return run

    async def _started(self, status: StatusDocument) -> RunDetails | None:
        found = findings.alarm(status)
        if found and not self._record.moment(Sign.DRIFT):
            self._telling.mark(Sign.DRIFT, findings.check_words(found))
        run = await self._cast.watching.newest_run()
        return await self._cast.watching.run(run) if run else None

    async def _train(self, run: RunDetails) -> str:
        self._telling.begin(Act.TRAINING)
        async with self._cast.town.busy(self._crowd, TRICKLE):
            ended = await self._until(partial(self._trained, run.id))
        if ended.state is not RunState.DONE or ended.model is None:
            raise HoneError(f"Run {ended.id} is {ended.state}: {ended.error}")
        self._record.candidate = ended.model
        self._telling.mark(Sign.CANDIDATE, ended.model)
        self._telling.end(f"candidate {ended.model}")
        return ended.model

    async def _trained(self, run_id: str, _: StatusDocument) -> RunDetails | None:
        run = await self._cast.watching.run(run_id)
        self._telling.say(*findings.progress(run))
        if told := findings.loss(run):
            self._telling.trained(*told)
        return None if run.state in (RunState.REQUESTED, RunState.RUNNING) else run

    async def _prove(self, version: str) -> None:
        """Offline, in shadow, and in the A/B, with as many customers as it takes."""
        for act, stage, pace in PROOFS:
            self._telling.begin(act)
            async with self._cast.town.busy(self._crowd, pace):
                model = await self._until(partial(self._left, version, stage))
            self._record.controls = list(findings.controls(model))
            if model.stage not in FOLLOWING[stage]:
                raise Stuck(f"{version} is at {model.stage}, after {stage}: {findings.gate_words(model)}")
            self._telling.mark(SIGNS[model.stage], self._verdict(stage))
            self._telling.end(self._verdict(stage))
            if model.stage is Stage.AWAITING_APPROVAL:
                return

    async def _left(self, version: str, stage: Stage, status: StatusDocument) -> ModelDetails | None:
        """The version once it is at another stage; until then what its gate says is told."""
        model = await self._cast.watching.model(version)
        if model.stage is not stage:
            return model
        self._telling.say(findings.trial_words(status.experiment) if stage is Stage.AB else findings.gate_words(model))
        return None

    def _verdict(self, stage: Stage) -> str:
        said = [control for control in self._record.controls if control.stage == stage]
        return f"{len(said)} controls advance it" if said else f"past {stage}"

    async def _approve(self, version: str) -> None:
        self._telling.begin(Act.APPROVAL)
        model = await self._cast.watching.model(version)
        self._record.controls = list(findings.controls(model))
        self._record.evidence_digest = model.evidence_digest or ""
        self._record.compared = list(findings.comparisons(model))
        self._telling.say(f"{version} awaits a person's approval")
        self._telling.pause()
        if not self._cast.agree(model):
            raise Stuck(f"nobody agreed; {version} goes on waiting for `hone promote approve`")
        digest = model.evidence_digest or ""
        change = await self._switch(lambda: self._cast.deciding.approve(version, digest, REASON))
        self._record.promoted, self._record.promotion_seconds = True, change.seconds
        self._record.champion = change.champion
        self._telling.mark(Sign.PROMOTED, "by the demo's operator")
        self._telling.end(f"every gateway worker answers with {version} after {change.seconds:.2f} s")

    async def _look_back(self) -> None:
        """Keep every look at the A/B, if there was one."""
        trial = await self._cast.watching.trial(self._record.candidate) if self._record.candidate else None
        if trial:
            self._record.ab = findings.looks(trial, self._telling.began_at)

    async def _return(self) -> None:
        """Back to the version before, and forward again: a second rollback swaps back."""
        self._telling.begin(Act.RETURN)
        back = await self._switch(lambda: self._cast.deciding.rollback("to show that it takes a moment"))
        self._record.rollback_seconds = back.seconds
        self._telling.mark(Sign.BACK, f"{back.champion} answers again")
        forth = await self._switch(lambda: self._cast.deciding.rollback("a second rollback swaps back"))
        self._record.champion = forth.champion
        self._telling.mark(Sign.AGAIN, f"{forth.champion} answers again")
        self._telling.end(f"back in {back.seconds:.2f} s, forward in {forth.seconds:.2f} s")

    async def _switch(self, request: Callable[[], Awaitable[SuccessionDocument]]) -> Change:
        """A change of champion while customers are being served."""
        async with self._cast.town.busy(self._crowd, BESIDE):
            return await timed(self._cast.watching, self._cast.measuring, request)

    async def _until(
        self,
        what: Callable[[StatusDocument], Awaitable[T | None]],
        words: Callable[[StatusDocument], str] | None = None,
    ) -> T:
        """Look until there is something; raises Stuck when the act's limit has passed."""
        act, began = self._telling.act, self._telling.now
        while True:
            # A gateway that is being restarted is no reason to end; the limit is.
            with suppress(Unavailable):
                status = await self._cast.watching.status()
                if words:
                    self._telling.say(words(status))
                if (found := await what(status)) is not None:
                    return found
            if self._telling.now - began > self._limits[act]:
                raise Stuck(f"{act} waited for {self._limits[act]:.0f} s: {self._record.scenes[-1].says}")
            await asyncio.sleep(self._looking)


async def _is_watched(status: StatusDocument) -> bool | None:
    """True once a fall of the thumbs would be noticed."""
    return findings.has_reference(status) or None
