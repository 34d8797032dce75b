"""One call carried to the engine and its answer back: relayed at once, parsed at the end, durable before it ends.

Every call that was assigned a version leaves a row, however it went. A version that fails before its first byte is
replaced by the champion once; nothing is ever repeated after that.
"""

import asyncio
import logging
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

from agent import failures
from agent.bell import Bell
from agent.call import Call
from agent.fallback import Fallback
from agent.line import Line
from agent.metrics import Metrics
from agent.mirror import Mirror
from agent.readiness import Readiness
from agent.relay import DONE, Blinding, Relay
from core.errors import DeadlineExceeded, EngineFailed, EngineUnavailable, HoneError, NotStored, Unavailable
from core.ledger import Ledger
from core.types import Finish, Version
from core.writer import Kept
from serving.client import EngineClient

FAREWELL = 1.0
"""Seconds for the error event at the end of a broken stream; a client that does not read gets none."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Exchange:
    """Answers calls; each may take `deadline` seconds."""

    engine: EngineClient
    ledger: Ledger
    readiness: Readiness
    metrics: Metrics
    fallback: Fallback
    bell: Bell
    mirror: Mirror
    deadline: float

    async def answer(self, call: Call, line: Line) -> None:
        """Answer the client and write the row. Raises what the client must be told if nothing was sent yet."""
        try:
            async with asyncio.timeout(self.deadline) as limit:
                with line.watched(limit):
                    await self._serve(call, line)
        except TimeoutError:
            if line.gone:
                self._note(call, Finish.CANCELLED)
            else:
                await self._fail(call, line, DeadlineExceeded(f"The answer took more than {self.deadline:g} seconds."))
        except asyncio.CancelledError:
            self._note(call, Finish.CANCELLED)
            raise
        except HoneError as error:
            await self._fail(call, line, error)

    async def _serve(self, call: Call, line: Line) -> None:
        whole = await self._ask_versions(call, line)
        answer = call.transcript.read(call.ask.choices)
        self.metrics.counted(answer.prompt_tokens, answer.completion_tokens)
        call.recorded = True
        if whole is not None and answer.has_text:
            call.invite()
        row = call.outcome(answer)
        await self.bell.wait(self.ledger.record(row))
        self.mirror.offer(call, row)
        if call.provider is None:
            self.readiness.answered()
        if whole is None:
            await line.end(DONE)
        else:
            await line.whole(whole, call.headers())

    async def _ask_versions(self, call: Call, line: Line) -> bytes | None:
        """Ask the assigned version, the champion if that one fails before its first byte, and at last the fallback."""
        assignment = call.assignment
        try:
            return await self._ask(call, assignment.version, line)
        except (Unavailable, EngineFailed) as error:
            if line.begun:
                raise
            call.setback = f"{assignment.version}: {error.code}"
            if assignment.reserve is None:
                return await self._stand_in(call, line, error)
        try:
            return await self._ask(call, assignment.reserve, line)
        except Unavailable as error:
            return await self._stand_in(call, line, error)

    async def _stand_in(self, call: Call, line: Line, error: HoneError) -> bytes | None:
        """Have the fallback answer where the engine is not there; raises its error where there is none."""
        if line.begun or not isinstance(error, Unavailable) or not self.fallback.may_answer(call):
            raise error
        self.readiness.failed()
        return await self.fallback.ask(call, line)

    async def _ask(self, call: Call, version: Version, line: Line) -> bytes | None:
        """The whole answer of a version; None when it was a stream, which has then gone out up to its end mark."""
        blind = Blinding(version, call.ask.model)
        async with self.engine.post(call.surface.path, call.ask.body(version), call.id) as upstream:
            if upstream.status != 200:
                raise failures.of_engine(upstream.status, await upstream.read(), version, call.ask.model)
            if call.ask.stream:
                pass_on = _Outlet(call, version, line, self.metrics)
                await Relay(pass_on, blind, call.ask.usage, call.transcript).run(upstream.chunks())
                return None
            whole = await upstream.read()
        try:
            call.transcript.add_whole(whole)
        except ValueError:
            raise EngineFailed("The engine sent something that is not JSON.") from None
        call.served = version
        return blind(whole)

    async def _fail(self, call: Call, line: Line, error: HoneError) -> None:
        """Write down that the call failed, and tell the client as far as it can still be told."""
        match error:
            case NotStored():
                self.readiness.unstored()
            case EngineUnavailable():
                self.readiness.failed()
            case Unavailable() | EngineFailed():
                self.readiness.doubt()
        # The engine's own words about a bad request may quote it, so only the code is kept.
        self._note(call, Finish.ERROR, error.code or error.type)
        if not line.begun:
            raise error
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await line.end(failures.event(error))

    def _note(self, call: Call, cut: Finish, error: str | None = None) -> None:
        """Write the row of a call that did not come to its end; nobody waits for it."""
        if call.recorded:
            return
        call.recorded = True
        answer = call.transcript.read(call.ask.choices)
        finish = answer.finish if cut is Finish.CANCELLED and answer.finish else cut
        row = call.outcome(answer, cut=finish, error=error)
        self.ledger.record(row).add_done_callback(_complain)
        self.mirror.offer(call, row)


@dataclass(frozen=True, slots=True)
class _Outlet:
    """Passes events on to the client; the first ones open the line and name who speaks."""

    call: Call
    version: Version
    line: Line
    metrics: Metrics

    async def __call__(self, events: bytes) -> None:
        if not self.line.begun:
            self.metrics.began(self.call.arm, self.call.begin(self.version))
            await self.line.begin(self.call.headers())
        await self.line.piece(events)


def _complain(future: Future[Kept]) -> None:
    if error := future.exception():
        log.error("the row of a call that broke off was not kept: %s", error)
