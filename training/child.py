"""The trainer as a process of its own: less pressing than anything else, the first to be killed when memory is short.

It runs in a process group that ends with the worker, however that ends, and that the next worker finds should something
be left of it. Knows the files of a run's folder, nothing of the ledger.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import orjson

from serving.leash import end_leftover
from training.order import LOG

TRAINER = (sys.executable, "-P", "-m", "training.trainer")
"""-P: the folder that somebody stands in must not lend its modules to ours."""
LEASH = (sys.executable, "-P", "-m", "serving.leash")
RECORD = "process-{}.json"
"""Names the trainer's process group while it runs; each worker has its own."""
NICE = 10
"""Ten times less than what users wait for, and never nothing: a busy machine trains slowly, but it trains."""
FIRST_TO_DIE = "1000"
SIGNALS = 128
"""An exit status above is that of a process that a signal ended."""
LAST_LINES = 20
_TAIL = 64 * 2**10


class Child:
    """A trainer at work on the run in `folder`. Start it in the main thread: it ends with the thread."""

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        for left in folder.glob(RECORD.format("*")):
            end_leftover(left)
        self._record = folder / RECORD.format(os.getpid())
        with (folder / LOG).open("ab") as log:
            self._process = subprocess.Popen(
                (*LEASH, str(os.getpid()), str(self._record), *command, str(folder)),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        _humble(self._process.pid)

    def ended(self) -> int | None:
        """The exit status of the trainer, 128 and more for a signal; None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        end_leftover(self._record)
        return code if code >= 0 else SIGNALS - code

    def end(self) -> None:
        """Ask it to keep what it has and end; after a few seconds it must."""
        self._process.terminate()
        self._process.wait()
        end_leftover(self._record)

    def kill(self) -> None:
        """End it at once: nobody wants what it has."""
        self._process.terminate()
        while self._process.poll() is None:
            with suppress(OSError, ValueError, KeyError):
                os.killpg(orjson.loads(self._record.read_bytes())["pgid"], signal.SIGKILL)
            time.sleep(0.02)
        end_leftover(self._record)


def last_lines(log: Path) -> list[str]:
    """What the trainer said last, a line each.

    Only its own words count: a traceback or a library might quote a row.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            lines = file.read().splitlines()
    except FileNotFoundError:
        return []
    said = [line for line in map(_said, lines) if line]
    return said[-LAST_LINES:]


def _said(line: bytes) -> str | None:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(found, dict) or found.get("process") != "trainer":
        return None
    return f"{str(found.get('time'))[11:19]} {str(found.get('message'))[:200]}"


def _humble(pid: int) -> None:
    """The trainer inherits both from the process that starts it."""
    with suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, pid, NICE)
    with suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(FIRST_TO_DIE, encoding="ascii")
