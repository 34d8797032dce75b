"""One call from its assignment to its row: the facts it began with, and what came of it.

Knows neither engine nor client; turns both sides' facts into the ledger's record.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.answer import Answer, Transcript
from agent.ask import Ask, Surface
from agent.invitation import Invitation
from agent.visit import Header
from core.types import Arm, Assignment, Finish, Interaction, Principal, Role, Subject, Version

MICROS = 1_000_000


@dataclass(slots=True)
class Call:
    """`started` and `first` are in seconds of `time.perf_counter()`, `created_at` in microseconds since the epoch."""

    id: str
    created_at: int
    started: float
    surface: Surface
    ask: Ask
    principal: Principal
    subject: Subject
    assignment: Assignment
    request_id: str
    config_digest: str
    arm: Arm
    invitation: Invitation | None = None
    """What the client is asked once there is an answer."""
    asked: float | None = None
    served: Version | None = None
    provider: str | None = None
    cost: float | None = None
    setback: str | None = None
    """What went wrong with the assigned version before another answered."""
    first: float | None = None
    recorded: bool = False
    transcript: Transcript = field(default_factory=Transcript)

    def leave_house(self, provider: str) -> None:
        """From here on a provider answers."""
        self.arm, self.provider = Arm.EXTERNAL, provider

    def begin(self, version: Version | None) -> float:
        """The first token of a stream is there, by a version or by a provider; returns the seconds that it took."""
        self.served = version
        self.invite()
        self.first = time.perf_counter()
        return self.first - self.started

    def invite(self) -> None:
        """From here on the client is asked for a rating, if this call was drawn for that."""
        self.asked = self.invitation.probability if self.invitation else None

    def headers(self) -> Sequence[Header]:
        """Above the answer: that a rating is asked for, and for an operator who spoke, which others must not learn."""
        asking = (self.invitation.header,) if self.invitation and self.asked is not None else ()
        if self.principal.role is not Role.OPS:
            return asking
        version = self.provider or self.served or self.assignment.version
        return (*asking, (b"x-hone-version", version.encode()), (b"x-hone-arm", self.arm.encode()))

    def outcome(self, answer: Answer, *, cut: Finish | None = None, error: str | None = None) -> Interaction:
        """The row. `cut` says why the answer did not come to its end, if it did not."""
        ask, assignment, stored = self.ask, self.assignment, self.ask.stored
        return Interaction(
            id=self.id,
            created_at=self.created_at,
            kind=self.surface.kind,
            key_id=self.principal.id,
            subject=self.subject,
            arm=self.arm,
            assigned=assignment.version,
            served=self.served,
            propensity=assignment.propensity,
            revision=assignment.revision,
            experiment=assignment.experiment,
            finish=cut or answer.finish or Finish.ERROR,
            config_digest=self.config_digest,
            messages=ask.messages if stored else (),
            reply=answer.reply if stored else None,
            request_id=self.request_id,
            params=ask.params,
            tags=ask.tags,
            error=error or self.setback,
            stream=ask.stream,
            stored=stored,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            first_token=None if self.first is None else round((self.first - self.started) * MICROS),
            duration=round((time.perf_counter() - self.started) * MICROS),
            provider=self.provider,
            cost=self.cost,
            asked=self.asked,
        )
