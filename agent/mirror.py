"""Finished calls answered once more by the version in shadow, each kept as a row beside the one that the client got.

Starts when the plan names a shadow and stops as soon as it does not, or an A/B runs. No call ever waits for it.
"""

import asyncio
from dataclasses import dataclass, replace
from functools import partial

from agent.answer import Answer, Transcript
from agent.bell import Bell
from agent.call import MICROS, Call
from agent.plans import Plans
from core.clock import Clock
from core.errors import NotStored, Unavailable
from core.ids import new_id
from core.ledger import Ledger
from core.rules import Shadow
from core.types import Arm, Finish, Interaction, Plan, Version
from serving import shadow
from serving.client import EngineClient
from serving.shadow import Copy, Echo, Result, ShadowQueue


@dataclass(frozen=True, slots=True)
class Mirror:
    """Mirrored calls of one gateway; each may take `deadline` seconds."""

    engine: EngineClient
    ledger: Ledger
    plans: Plans
    bell: Bell
    queue: ShadowQueue
    settings: Shadow
    deadline: float
    clock: Clock

    def offer(self, call: Call, row: Interaction) -> None:
        """Take in a call that ended, as its row tells it, if it is one to be mirrored; returns at once."""
        plan = self.plans.plan
        if plan is None or plan.shadow is None or plan.split is not None:
            return
        if shadow.is_sampled(row, plan.shadow, self.settings.share):
            copy = Copy(new_id(), call.surface.path, plan.shadow, call.ask.forward)
            self.queue.offer(partial(self._mirror, copy, call.ask.choices, row))

    async def _mirror(self, copy: Copy, choices: int, row: Interaction) -> Result:
        plan, started_at = self.plans.plan, self.clock()
        if plan is None or not _mirrors(plan, copy.version):
            return Result.DROPPED
        echo = await self._ask(copy, plan)
        if echo is None:
            return Result.DROPPED
        twin = replace(
            _twin(row, copy, echo, _read(echo, choices)),
            created_at=started_at,
            propensity=self.settings.share,
            revision=plan.revision,
        )
        if not await self._keep(twin):
            return Result.DROPPED
        return Result.FAILED if twin.finish is Finish.ERROR else Result.MIRRORED

    async def _ask(self, copy: Copy, plan: Plan) -> Echo | None:
        # As for every call, the adapter stays loaded until this one ended.
        self.plans.enter(plan.revision)
        try:
            return await shadow.ask(self.engine, copy, self.deadline)
        finally:
            self.plans.leave(plan.revision)

    async def _keep(self, twin: Interaction) -> bool:
        """Whether the row is kept: not one whose subject was erased since the client's call."""
        try:
            if not await asyncio.to_thread(self.ledger.stands, str(twin.parent)):
                return False
            await self.bell.wait(self.ledger.record(twin))
        except (Unavailable, NotStored):
            return False
        return True


def _mirrors(plan: Plan, version: Version) -> bool:
    return plan.shadow == version and plan.split is None


def _read(echo: Echo, choices: int) -> Answer:
    transcript = Transcript()
    try:
        transcript.add_whole(echo.body)
    except ValueError:
        return Answer()
    return transcript.read(choices)


def _twin(row: Interaction, copy: Copy, echo: Echo, answer: Answer) -> Interaction:
    """The row of the second answer: the same call, another version, nothing of how the first went."""
    failure = echo.failure or (None if answer.finish else "engine_failed")
    return replace(
        row,
        id=copy.id,
        arm=Arm.SHADOW,
        assigned=copy.version,
        served=copy.version,
        experiment=None,
        parent=row.id,
        reply=None if failure else answer.reply,
        finish=Finish.ERROR if failure else answer.finish or Finish.ERROR,
        error=failure,
        stream=False,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        first_token=None,
        duration=round(echo.seconds * MICROS),
        asked=None,
    )
