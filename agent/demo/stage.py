"""The Hone that a demo runs: a data folder of its own, `hone up` as a child, its keys, and its orderly end."""

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from agent.cli.instance import Instance
from agent.cli.log_files import tail
from agent.cli.supervisor import leash
from core import config
from core.config import Settings
from core.errors import BadRequest, HoneError
from core.types import Role

PROFILE = "demo.toml"
LOG = "up.log"
LOOKING = 0.3
PATIENCE = 90.0
"""Seconds that the end may take beyond the gateway's drain."""
PORTS = range(20_000, 32_000)
"""Below those that the kernel gives away by itself."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stage:
    """A Hone that answers. `keys` are those of its first start."""

    data: Path
    url: str
    keys: Mapping[Role, str]


def choose_folder(named: Path | None, here: Path) -> Path:
    """The data folder: the named one, which must be empty, or a fresh one in the folder `here`. Raises BadRequest."""
    if named is None:
        return here / f".hone-demo-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    folder = named.expanduser().absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadRequest(f"A demo starts on an empty data folder, which {folder} is not; set HONE_DATA to another one.")
    return folder


def free_port() -> int:
    """A port whose successor, the engine's, is free too."""
    while True:
        port = random.choice(PORTS)
        with suppress(OSError), socket.socket() as gateway, socket.socket() as engine:
            gateway.bind(("127.0.0.1", port))
            engine.bind(("127.0.0.1", port + 1))
            return port


def write_profile(data: Path, text: str) -> Path:
    """Make the data folder with the settings file of the demo in it. Raises BadRequest where that cannot be."""
    path = data / PROFILE
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadRequest(f"The data folder {data} cannot be used ({error.strerror}); set HONE_DATA.") from None
    return path


@asynccontextmanager
async def running(settings: Settings, profile: Path, say: Say) -> AsyncIterator[Stage]:
    """`hone up` under the profile, from its readiness to its end. Raises HoneError with its words when it fails."""
    instance = Instance(settings.data)
    instance.make_folders()
    with (instance.logs / LOG).open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "agent.cli.main", "up", "--json"),
            env=config.environment(settings, HONE_CONFIG=str(profile)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            # A group of its own, so that Ctrl-C reaches the demo alone, which then stops this in order.
            process_group=0,
            preexec_fn=leash(os.getpid()),
        )
    try:
        yield await _ready(instance, process, say)
    finally:
        say("stopping")
        await _stop(process, settings.gateway.drain + PATIENCE)


async def _ready(instance: Instance, process: asyncio.subprocess.Process, say: Say) -> Stage:
    if process.stdout is None:
        raise HoneError("`hone up` was started without a pipe.")
    announced = asyncio.create_task(process.stdout.readline())
    while not announced.done():
        view = instance.view()
        say(view.phase if view else "preparing")
        await asyncio.wait({announced}, timeout=LOOKING)
    line = announced.result()
    if not line:
        await process.wait()
        words = "\n".join(tail(instance.logs / LOG, 25))
        raise HoneError(f"`hone up` ended with status {process.returncode}. Its last words:\n{words}")
    ready = orjson.loads(line)
    return Stage(instance.data, ready["url"], {Role(role): key for role, key in ready["keys"].items()})


async def _stop(process: asyncio.subprocess.Process, patience: float) -> None:
    """End it as Ctrl-C would; asked once more, it hurries."""
    if process.returncode is not None:
        return
    _signal(process, signal.SIGINT)
    try:
        await asyncio.wait_for(process.wait(), patience)
    except BaseException:
        _signal(process, signal.SIGINT)
        raise


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)
