"""One run of vLLM as a child process: started, watched, stopped, and its last words."""

import asyncio
import contextlib
import os
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from core.errors import SetupError
from serving import leash

PATIENCE = leash.PATIENCE + 2 * leash.STRAGGLERS + 1
"""Seconds that the leash may take for an orderly end."""
MAX_LOG = 16 * 2**20
TAIL_BYTES = 16384


class Engine:
    """Starts and ends a command whose processes never outlive this one; its output goes to `log`.

    `record` names the running group for a successor, should this process be killed together with the leash.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], log: Path, record: Path) -> None:
        self._command = command
        self._environ = environ
        self._log = log
        self._record = record
        self._process: Process | None = None
        self._log_start = 0

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it, after ending what a killed predecessor left; must run in the main thread."""
        await asyncio.to_thread(leash.end_leftover, self._record)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        if self._log.exists() and self._log.stat().st_size > MAX_LOG:
            self._log.replace(self._log.with_suffix(".log.1"))
        with self._log.open("ab") as output:
            self._log_start = output.tell()
            self._process = await asyncio.create_subprocess_exec(
                *self._leashed(),
                env=self._environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    async def ended(self) -> int:
        """Wait for its end; the exit status."""
        return await self._process.wait() if self._process else 0

    async def stop(self) -> None:
        """End it and all its processes."""
        if not self._process:
            return
        for act, patience in ((self._process.terminate, PATIENCE), (self._process.kill, None)):
            with contextlib.suppress(ProcessLookupError):
                act()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), patience)
                break
        await asyncio.to_thread(leash.end_leftover, self._record)

    def tail(self, lines: int = 15) -> str:
        """The last lines that this run wrote."""
        with self._log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_start, end - TAIL_BYTES))
            words = file.read().decode(errors="replace").splitlines()
        return "\n".join(words[-lines:])

    def _leashed(self) -> list[str]:
        return [sys.executable, "-P", "-m", "serving.leash", str(os.getpid()), str(self._record), *self._command]


def record(data: Path) -> Path:
    """The file in the data folder that names the running engine's process group."""
    return data / "run" / "engine.json"


def end_leftover(data: Path) -> bool:
    """End the engine that a killed predecessor left running on this data, if any; whether there was one."""
    return leash.end_leftover(record(data))


def check_port(url: str) -> None:
    """Raise SetupError when another program listens where the engine should."""
    address = urlsplit(url)
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((address.hostname, address.port))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SetupError(
                f"The engine's port {address.port} cannot be used ({reason}); set engine.port, or another HONE_PORT."
            ) from None
