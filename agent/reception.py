"""From a checked request to a call with a version: who asks, what may be named, and which way the plan sends it."""

import asyncio
from dataclasses import dataclass, field

from agent.ask import Ask, Surface
from agent.call import Call
from agent.invitation import Invitations
from agent.pins import Pins
from agent.plans import Plans
from agent.visit import Visit
from core.clock import Clock
from core.errors import NotFound
from core.ids import new_id
from core.registry import Registry
from core.secret import Secret
from core.types import Principal, Role, Version
from serving.router import assign

PUBLIC_MODEL = "hone"
"""The one model that everybody may name; which version is behind it, the plan says."""


@dataclass(slots=True)
class Reception:
    """Opens calls. `config_digest` goes into each row; without `pins` conversations move with the plan."""

    plans: Plans
    registry: Registry
    secret: Secret
    config_digest: str
    clock: Clock
    invitations: Invitations
    pins: Pins | None = None
    _versions: set[Version] = field(default_factory=set)

    async def open(self, visit: Visit, surface: Surface, ask: Ask) -> Call:
        """A call to be made. Raises NotFound for a model that the caller may not name, Unavailable without a plan."""
        principal = visit.caller()
        named = await self._named(principal, ask.model) if ask.model != PUBLIC_MODEL else None
        subject = self.secret.subject(principal.id, ask.user)
        plan = self.plans.current()
        pinned = await self.pins.find(subject, ask.messages) if self.pins and not named else None
        assignment = assign(plan, subject, named=named, pinned=pinned)
        visit.arm = assignment.arm
        identity = new_id()
        return Call(
            id=identity,
            created_at=self.clock(),
            started=visit.started,
            surface=surface,
            ask=ask,
            principal=principal,
            subject=subject,
            assignment=assignment,
            request_id=visit.request_id,
            config_digest=self.config_digest,
            arm=assignment.arm,
            invitation=self.invitations.draw(identity, ask, more=self.plans.wants_ratings),
        )

    async def _named(self, principal: Principal, model: str) -> Version:
        if principal.role is Role.OPS:
            if model in self._versions:
                return Version(model)
            try:
                version = (await asyncio.to_thread(self.registry.model, model)).id
            except NotFound:
                raise unknown(model) from None
            # A version's name is never given to another, so it may be remembered.
            self._versions.add(version)
            return version
        raise unknown(model)


def unknown(model: str) -> NotFound:
    """What everybody hears who names a model that is not theirs to name."""
    return NotFound(f"The model {model!r} does not exist; use {PUBLIC_MODEL!r}.", param="model", code="model_not_found")
