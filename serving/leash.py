"""Holds vLLM's processes so that none outlives Hone, however Hone ends.

Runs a command in a process group of its own and ends the whole group on SIGTERM or SIGINT, when its own parent dies,
and when the command ends by itself: SIGTERM first, SIGKILL for what is left. Knows nothing of vLLM.
Command: `python -m serving.leash PARENT RECORD COMMAND...`; RECORD is the file that names the group meanwhile.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson

PATIENCE = 3.0
"""Seconds between SIGTERM and SIGKILL."""
STRAGGLERS = 2.0
"""Seconds that the rest of the group has once the command itself has ended."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_PR_SET_PDEATHSIG = 1


def main(parent: int, record: Path, command: list[str]) -> int:
    """Run the command to its end; its status, or 128 plus the number of the signal that ended it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    _die_with_parent()
    if os.getppid() != parent:
        return 0
    child = subprocess.Popen(command, process_group=0, preexec_fn=_prepare_child)
    note(record, child.pid)
    try:
        while child.poll() is None:
            if signal.sigwait(_SIGNALS) != signal.SIGCHLD:
                end_group(child.pid, PATIENCE)
    finally:
        end_group(child.pid, STRAGGLERS, number=0)
        record.unlink(missing_ok=True)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def note(record: Path, pgid: int) -> None:
    """Write down which group to end should nobody be left to do it."""
    record.parent.mkdir(parents=True, exist_ok=True)
    draft = record.with_suffix(f".{os.getpid()}")
    draft.write_bytes(orjson.dumps({"pgid": pgid, "started": started(pgid)}))
    draft.replace(record)


def end_leftover(record: Path) -> bool:
    """End the group that a predecessor left behind, if it is still that group; whether there was one."""
    try:
        left = orjson.loads(record.read_bytes())
        pgid, born = int(left["pgid"]), left["started"]
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return False
    # The number may have been given to another process meanwhile; a group without its leader is still the old one,
    # since a number in use as a group is not given again.
    alive = group_exists(pgid) and started(pgid) in (born, None)
    if alive:
        end_group(pgid, PATIENCE)
    record.unlink(missing_ok=True)
    return alive


def end_group(pgid: int, patience: float, number: int = signal.SIGTERM) -> None:
    """Send a signal (0: none) to a group, and SIGKILL when it is not empty after `patience` seconds."""
    for kind, seconds in ((number, patience), (signal.SIGKILL, STRAGGLERS)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pgid, kind)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not group_exists(pgid):
                return
            time.sleep(0.05)


def group_exists(pgid: int) -> bool:
    """Whether a process of the group is running; one that has ended and was not collected does not count."""
    return any(_group(stat) == pgid and _state(stat) not in "ZX" for stat in _processes())


def started(pid: int) -> int | None:
    """When a process started, in the kernel's ticks since boot; None when there is none."""
    stat = _stat(Path("/proc") / str(pid))
    return int(stat[19]) if stat and _state(stat) not in "ZX" else None


def _processes() -> list[list[str]]:
    folders = (path for path in Path("/proc").iterdir() if path.name.isdigit())
    return [stat for path in folders if (stat := _stat(path))]


def _stat(process: Path) -> list[str]:
    """The fields of /proc/PID/stat behind the name, which may hold spaces; empty when the process is gone."""
    try:
        return (process / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _state(stat: list[str]) -> str:
    return stat[0]


def _group(stat: list[str]) -> int:
    return int(stat[2])


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _prepare_child() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    _die_with_parent()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
