"""The serving process: prepares the data, starts vLLM (or finds it), and keeps engine and adapters as the plan says.

Command: `python -m serving`. SIGTERM and SIGINT end it with its engine; exit status 78 means that a person must change
something first, and stderr says what.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterable, Sequence

from core import config, log, migrate
from core.clock import SECOND, now
from core.config import Settings
from core.errors import HoneError, SetupError
from core.ids import new_id
from core.registry import Registry
from core.secret import Secret
from core.store import Store
from core.types import Plan, Version
from core.workers import WorkerBeat
from serving import setup
from serving.client import EngineClient
from serving.engine import Engine, check_port, end_leftover, record
from serving.keeper import Elsewhere, Keeper, Runnable
from serving.reconcile import Reconciler
from serving.vllm_command import accelerator, command, environment

KIND = "engine"
BEAT = 2 * SECOND


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; raises SetupError."""
    secret = Secret.load(settings.data)
    migrate.upgrade(settings.database_url)
    store = Store.open(settings.database_url)
    try:
        setup.prepare(settings, store)
        engine = _engine(settings, secret)
        async with EngineClient(settings.engine_url, secret.engine_key()) as client:
            await _keep(settings, engine, client, Registry(store))
    finally:
        store.close()


class Beacon:
    """Tells the ledger what this engine holds: at each change and every few seconds."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._name = new_id()
        self._born = now()
        self._told: tuple[int, Sequence[Version]] = (-1, ())
        self._told_at = 0

    def __call__(self, plan: Plan, loaded: Iterable[Version]) -> None:
        state = (plan.revision, sorted(loaded))
        if state == self._told and now() - self._told_at < BEAT:
            return
        self._registry.beat(WorkerBeat(self._name, KIND, socket.gethostname(), os.getpid(), self._born, *state))
        self._told, self._told_at = state, now()


def _engine(settings: Settings, secret: Secret) -> Runnable:
    if settings.engine.url:
        return Elsewhere()
    kind, base = accelerator(), setup.resolve(settings)
    end_leftover(settings.data)
    check_port(settings.engine_url)
    environ = environment(settings, secret, base, kind, len(os.sched_getaffinity(0)))
    return Engine(command(settings, base, kind), environ, settings.data / "logs" / "engine.log", record(settings.data))


async def _keep(settings: Settings, engine: Runnable, client: EngineClient, registry: Registry) -> None:
    reconciler = Reconciler(
        client, registry, setup.artifacts(settings), longest_call=settings.gateway.deadline + settings.gateway.drain
    )
    keeper = Keeper(engine, client, reconciler, Beacon(registry), start_timeout=settings.engine.start_timeout)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, keeper.stop)
    await keeper.run()


def main() -> int:
    """The exit status."""
    try:
        settings = config.load()
        log.setup("serving")
        asyncio.run(serve(settings))
    except HoneError as error:
        print(error.message, file=sys.stderr)
        return os.EX_CONFIG if isinstance(error, SetupError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
