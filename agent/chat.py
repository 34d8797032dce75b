"""POST /v1/chat/completions and /v1/completions: the hot path, as plain ASGI inside the application's routes."""

from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from agent.ask import Surface, understand
from agent.exchange import Exchange
from agent.inbound import read_body
from agent.line import Line
from agent.plans import Plans
from agent.reception import Reception
from agent.visit import visit_of


@dataclass(frozen=True, slots=True)
class ChatEndpoint:
    """Understands a request, gives it a version, and has it answered."""

    surface: Surface
    reception: Reception
    exchange: Exchange
    plans: Plans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit = visit_of(scope)
        ask = understand(self.surface, await read_body(receive))
        call = await self.reception.open(visit, self.surface, ask)
        self.plans.enter(call.assignment.revision)
        try:
            await self.exchange.answer(call, Line(receive, send))
        finally:
            visit.arm = call.arm
            self.plans.leave(call.assignment.revision)
