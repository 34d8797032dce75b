"""Programs kept running: started, watched, restarted after growing pauses, stopped in order.

Each program is a child in a process group of its own, so that a terminal's Ctrl-C reaches only the supervisor, and the
kernel sends it SIGTERM when the supervisor dies in whatever way. Knows nothing of what the programs do.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.cli.instance import ProcessView, State
from agent.cli.log_files import fields, make_room, readable, since, size
from core.clock import now
from core.errors import SetupError

STEADY = 10.0
"""Seconds after which a program counts as running well, and its next failure as the first again."""
HURRY = 2.0
"""Seconds that a program still has when somebody asks twice for the end."""
ATTEMPTS = 3
"""Failures in a row that end a start; once everything was ready, a program is restarted for ever."""
LAST_WORDS = 20
PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


@dataclass(frozen=True, slots=True)
class Program:
    """What to keep running. Higher tiers stop first; `grace` and `longest_pause` are seconds."""

    name: str
    command: tuple[str, ...]
    log: Path
    tier: int = 0
    grace: float = 10.0
    longest_pause: float = 30.0


def pause_before(failures: int, longest: float) -> float:
    """Seconds to wait before the restart after the n-th failure in a row: none, then 0.5 doubling up to `longest`."""
    return 0.0 if failures <= 1 else min(longest, 0.25 * 2.0 ** min(failures - 1, 30))


@dataclass(slots=True)
class _Child:
    """A program and how it is."""

    program: Program
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    state: State = State.RESTARTING
    pid: int | None = None
    restarts: int = 0
    since: int = field(default_factory=now)
    log_start: int = 0

    def view(self) -> ProcessView:
        return ProcessView(self.program.name, self.state, self.pid, self.restarts, self.since)


class Supervisor:
    """Runs programs until `stop`; `changed` is called after each change of any of them."""

    def __init__(
        self, programs: Sequence[Program], environment: Mapping[str, str], changed: Callable[[], None] = lambda: None
    ) -> None:
        self._children = [_Child(program) for program in programs]
        self._environment = environment
        self._changed = changed
        self._stopping = asyncio.Event()
        self._hurried = asyncio.Event()
        self._settled = False

    def views(self) -> tuple[ProcessView, ...]:
        return tuple(child.view() for child in self._children)

    def settle(self) -> None:
        """The start succeeded: from now on failures are mended, not reported as a failed start."""
        self._settled = True

    def stop(self) -> None:
        """Begin to stop everything; a second call shortens every grace."""
        if self._stopping.is_set():
            self._hurried.set()
        self._stopping.set()

    async def run(self) -> None:
        """Keep everything running until `stop`, then stop it, the highest tier first.

        Raises SetupError, after stopping the others, when a program says that it cannot run as things are set up, or
        keeps failing before `settle`.
        """
        keepers = {child.program.name: asyncio.create_task(self._keep(child)) for child in self._children}
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({stopping, *keepers.values()}, return_when=asyncio.FIRST_COMPLETED)
        self._stopping.set()
        for tier in sorted({child.program.tier for child in self._children}, reverse=True):
            leaving = [child for child in self._children if child.program.tier == tier]
            for child in leaving:
                child.ending.set()
            await asyncio.wait({keepers[child.program.name] for child in leaving})
        await stopping
        for keeper in keepers.values():
            keeper.result()

    async def _keep(self, child: _Child) -> None:
        failures = 0
        while not child.ending.is_set():
            born = time.monotonic()
            code = await self._live(child)
            self._become(child, State.STOPPED)
            if child.ending.is_set():
                return
            failures = 1 if time.monotonic() - born > STEADY else failures + 1
            self._judge(child, code, failures)
            child.restarts += 1
            self._become(child, State.RESTARTING)
            await _until(child.ending, pause_before(failures, child.program.longest_pause))
        self._become(child, State.STOPPED)

    async def _live(self, child: _Child) -> int:
        """One life of a program, from its start to its exit status."""
        try:
            process = await self._start(child)
        except OSError:
            # No memory or no handle left just now; the next attempt may find some.
            return os.EX_OSERR
        exited = asyncio.create_task(process.wait())
        ending = asyncio.create_task(child.ending.wait())
        await asyncio.wait({exited, ending}, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if not exited.done():
            self._become(child, State.STOPPING, process.pid)
            await self._end(child.program, process, exited)
        _signal_group(process.pid, signal.SIGKILL)
        return await exited

    async def _start(self, child: _Child) -> asyncio.subprocess.Process:
        program = child.program
        make_room(program.log)
        child.log_start = size(program.log)
        with program.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *program.command,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
                preexec_fn=leash(os.getpid()),
            )
        self._become(child, State.RUNNING, process.pid)
        return process

    async def _end(self, program: Program, process: asyncio.subprocess.Process, exited: "asyncio.Task[int]") -> None:
        """Ask, wait as long as its grace or the hurry allows, then kill."""
        _signal(process.pid, signal.SIGTERM)
        hurried = asyncio.create_task(self._hurried.wait())
        await asyncio.wait({exited, hurried}, timeout=program.grace, return_when=asyncio.FIRST_COMPLETED)
        if hurried.done() and not exited.done():
            await asyncio.wait({exited}, timeout=HURRY)
        hurried.cancel()
        if not exited.done():
            _signal_group(process.pid, signal.SIGKILL)

    def _judge(self, child: _Child, code: int, failures: int) -> None:
        program = child.program
        if code == os.EX_CONFIG:
            words = [line for line in self._words(child) if fields(line) is None]
            raise SetupError("\n".join(words).strip() or f"{program.name} cannot start; see {program.log}.")
        if failures >= ATTEMPTS and not self._settled:
            words = [readable(line) for line in self._words(child)]
            raise SetupError(
                f"{program.name} {_how(code)}, {failures} times in a row. The end of {program.log}:\n"
                + "\n".join(f"  {line}" for line in words)
            )

    def _words(self, child: _Child) -> list[str]:
        return since(child.program.log, child.log_start, LAST_WORDS)

    def _become(self, child: _Child, state: State, pid: int | None = None) -> None:
        child.state, child.pid, child.since = state, pid, now()
        self._changed()


def leash(parent: int) -> Callable[[], None] | None:
    """What a new child must do before it becomes the program: die with `parent`. Linux knows how; others do without."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def tie() -> None:
        libc.prctl(PARENT_DEATH_SIGNAL, signal.SIGTERM)
        # The parent may have died before the tie was made.
        if os.getppid() != parent:
            os._exit(1)

    return tie


def _how(code: int) -> str:
    return f"ended with status {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


async def _until(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, at most that long."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
