"""What `hone up` does: the checks before a start, the processes as data, and the watch over readiness."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import aiohttp
from sqlalchemy import select

from agent.cli.instance import Instance, View
from agent.cli.log_files import readable, tail
from agent.cli.supervisor import Program, Supervisor
from core import config, migrate, secret
from core.clock import now
from core.config import Settings
from core.errors import SetupError
from core.schema import keys
from core.store import Store
from serving import engine, setup

LOOKING, WATCHING = 0.5, 2.0
"""Seconds between two looks at readiness: before it is there, and after."""
PROBE_TIMEOUT = 5.0
LATE = 60.0
"""Seconds beyond the engine's own limit after which a start that is not ready has failed."""
ENDING = 45.0
"""Seconds that the processes of an earlier start may take to end."""


def programs(settings: Settings, logs: Path) -> list[Program]:
    """The processes of one machine, in the order of their start."""
    # -P: the folder that somebody stands in must not lend its own `core` or `agent` to ours.
    python = (sys.executable, "-P", "-m")
    workers = [f"gateway-{number}" if number > 1 else "gateway" for number in range(1, settings.gateway.workers + 1)]
    drain = settings.gateway.drain + 5
    return [
        Program("serving", (*python, "serving"), logs / "serving.log", grace=30),
        *(
            Program(name, (*python, "agent"), logs / "gateway.log", tier=1, grace=drain, longest_pause=1)
            for name in workers
        ),
        Program("monitoring", (*python, "monitoring"), logs / "monitoring.log", tier=1),
        Program("training", (*python, "training"), logs / "training.log", tier=1, grace=15),
    ]


def prepare(settings: Settings, instance: Instance) -> None:
    """Everything that can be known to be wrong before a process starts; raises SetupError with what to do."""
    await_earlier(instance)
    engine.end_leftover(settings.data)
    check_ports(settings)
    migrate.upgrade(settings.database_url)
    store = Store.open(settings.database_url)
    try:
        check_secret(settings, store)
        setup.prepare(settings, store)
    finally:
        store.close()


def check_secret(settings: Settings, store: Store) -> None:
    """Raise SetupError when the secret is gone that the ledger's keys and subjects were made with."""
    if (settings.data / secret.FILE).exists():
        return
    with store.read() as conn:
        made = conn.execute(select(keys.c.id).limit(1)).first()
    if made:
        raise SetupError(
            f"The secret {settings.data / secret.FILE} is gone, and without it no key and no user of this ledger is "
            "known again. Restore it from a backup, or start on an empty folder with HONE_DATA."
        )


def await_earlier(instance: Instance) -> None:
    """Let the processes of a start that ended without order go away; they were told to when their supervisor died."""
    earlier = instance.view()
    if earlier is None:
        return
    pids = [process.pid for process in earlier.processes if process.pid and _is_ours(process.pid)]
    deadline = time.monotonic() + ENDING
    while any(map(_is_ours, pids)):
        if time.monotonic() > deadline:
            raise SetupError(
                f"Processes {pids} of an earlier start do not end; end them with `kill -9` and start again."
            )
        time.sleep(0.1)
    instance.clear()


def check_ports(settings: Settings) -> None:
    """Raise SetupError for a port that another program listens on."""
    _check_port(settings.gateway.host, settings.gateway.port)
    if not settings.engine.url:
        engine.check_port(settings.engine_url)


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((host, port))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SetupError(
                f"Port {port} on {host} cannot be used ({reason}); choose another one with HONE_PORT."
            ) from None


def _is_ours(pid: int) -> bool:
    """Whether a process still runs one of our modules; numbers are given again to others."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"-m" in command and sys.executable.encode() in command


def public_url(settings: Settings) -> str:
    """Where a person on this machine finds the gateway."""
    host = settings.gateway.host
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
    return f"http://{everywhere.get(host, f'[{host}]' if ':' in host else host)}:{settings.gateway.port}"


class Launch:
    """One run of all processes; `show` gets every new view, `ready` is called once, when a chat first answers."""

    def __init__(
        self, settings: Settings, instance: Instance, show: Callable[[View], None], ready: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._instance = instance
        self._show = show
        self._announce = ready
        self._since = now()
        self._phase = "starting"
        self._ready = False
        self._was_ready = False
        self._stopping = False
        self._view: View | None = None
        self._supervisor = Supervisor(programs(settings, instance.logs), config.environment(settings), self._publish)

    async def run(self) -> None:
        """Run everything until SIGINT, SIGTERM or SIGHUP; raises SetupError when it cannot start or go on."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop)
        watch = asyncio.create_task(self._watch())
        watch.add_done_callback(self._watched)
        try:
            await self._supervisor.run()
        finally:
            self._instance.clear()
            watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch

    def _stop(self) -> None:
        """Begin to stop; once more to hurry."""
        self._stopping = True
        self._phase, self._ready = "stopping", False
        self._supervisor.stop()
        self._publish()

    def _watched(self, watch: "asyncio.Task[None]") -> None:
        """Nobody watches any more: the start failed, or what is to be printed cannot be."""
        if not self._stopping:
            self._stop()

    async def _watch(self) -> None:
        started = time.monotonic()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROBE_TIMEOUT)) as session:
            while not self._stopping:
                await self._look(session)
                if not self._was_ready and time.monotonic() - started > self._settings.engine.start_timeout + LATE:
                    raise self._late(time.monotonic() - started)
                await asyncio.sleep(WATCHING if self._ready else LOOKING)

    async def _look(self, session: aiohttp.ClientSession) -> None:
        ready = await _answers(session, f"{public_url(self._settings)}/readyz")
        loaded = ready or await _answers(session, f"{self._settings.engine_url}/health")
        if self._stopping:
            return
        self._phase, self._ready = _phase(ready, loaded, self._was_ready), ready
        self._publish()
        if ready and not self._was_ready:
            self._was_ready = True
            self._supervisor.settle()
            self._announce()

    def _late(self, seconds: float) -> SetupError:
        words = "\n".join(f"  {readable(line)}" for line in tail(self._instance.logs / "engine.log", 20))
        return SetupError(
            f"Hone was not ready after {seconds:.0f} s ({self._phase}); engine.start_timeout allows more. "
            f"The end of {self._instance.logs / 'engine.log'}:\n{words}"
        )

    def _publish(self) -> None:
        view = View(
            os.getpid(), self._since, public_url(self._settings), self._phase, self._ready, self._supervisor.views()
        )
        if view != self._view:
            # Only for those who look: a full disk must not end what runs.
            with suppress(OSError):
                self._instance.publish(view)
        self._view = view
        self._show(view)


def _phase(ready: bool, loaded: bool, was_ready: bool) -> str:
    if ready:
        return "ready"
    if was_ready:
        return "not answering just now"
    return "warming up" if loaded else "loading the model"


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status == 200
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False
