"""The one Hone on a data folder: its lock, and the file that says how its processes are.

Whoever holds the lock is the supervisor; the kernel drops it with the process, however that ends. Everybody else, such
as `hone status` and `hone stop`, only reads. Knows nothing of how processes are started.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from agent.cli.terminal import moment
from core.clock import now
from core.errors import SetupError

LOOKING = (0.05, 0.1, 0.2)
"""Seconds to wait and try again: somebody who only looks holds the lock for an instant."""


class State(StrEnum):
    """How one process is."""

    RUNNING = "running"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ProcessView:
    """One process as others see it; `since` is when it came into this state, in microseconds since the epoch."""

    name: str
    state: State
    pid: int | None
    restarts: int
    since: int


@dataclass(frozen=True, slots=True)
class View:
    """The whole Hone as others see it. `phase` says in words what is going on; `ready` that a chat is answered."""

    pid: int
    since: int
    url: str
    phase: str
    ready: bool
    processes: tuple[ProcessView, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """Who holds a data folder, and since when, in microseconds since the epoch."""

    pid: int
    since: int


@dataclass(frozen=True, slots=True)
class Instance:
    """The Hone on the data folder `data`."""

    data: Path

    @property
    def run(self) -> Path:
        return self.data / "run"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    def make_folders(self) -> None:
        """Make the data folder (0700) and what lies in it; raises SetupError when it cannot be used."""
        try:
            for folder in (self.data, self.run, self.logs):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SetupError(f"The data folder {self.data} cannot be used: {error.strerror}; set HONE_DATA.") from None
        if not os.access(self.run, os.W_OK | os.X_OK):
            raise SetupError(f"The data folder {self.data} belongs to somebody else; set HONE_DATA to one of yours.")

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Be the one Hone here until the block ends; makes the folder if need be.

        Raises SetupError, naming the other's process, when one runs already.
        """
        self.make_folders()
        handle = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._take(handle)
            yield
        finally:
            os.close(handle)

    def _take(self, handle: int) -> None:
        for pause in (*LOOKING, None):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if pause is None:
                    raise SetupError(self._taken()) from None
                time.sleep(pause)
        os.truncate(handle, 0)
        os.write(handle, json.dumps(asdict(Claim(os.getpid(), now()))).encode())

    def claimed(self) -> Claim | None:
        """Who runs Hone here; None when nobody does."""
        try:
            handle = os.open(self._lock, os.O_RDONLY)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._claim()
        finally:
            os.close(handle)
        return None

    def publish(self, view: View) -> None:
        """Tell others how things are."""
        draft = self._state.with_suffix(".new")
        draft.write_text(json.dumps(asdict(view)), encoding="utf-8")
        draft.replace(self._state)

    def clear(self) -> None:
        """Forget what was published: everything ended in order."""
        self._state.unlink(missing_ok=True)

    def view(self) -> View | None:
        """What the supervisor published last; None when it published nothing."""
        try:
            values = json.loads(self._state.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        processes = tuple(ProcessView(**{**item, "state": State(item["state"])}) for item in values.pop("processes"))
        return View(**values, processes=processes)

    def _claim(self) -> Claim | None:
        """What the holder wrote into the lock; None while it is about to."""
        text = self._lock.read_text(encoding="utf-8")
        return Claim(**json.loads(text)) if text else None

    def _taken(self) -> str:
        claim = self._claim()
        who = f"process {claim.pid}, since {moment(claim.since)}" if claim else "another process, just now"
        return (
            f"Hone already runs on {self.data} ({who}). `hone status` shows it, `hone stop` ends it; "
            "for a second one set HONE_DATA and HONE_PORT."
        )

    @property
    def _lock(self) -> Path:
        return self.run / "lock"

    @property
    def _state(self) -> Path:
        return self.run / "up.json"
