"""How a trainer is asked to end: between two steps, with a checkpoint, while it trains; at once at any other time."""

from dataclasses import dataclass

STOPPED = 143
"""The exit status of a process that SIGTERM ended."""


class Stopped(Exception):
    """The training ended before its time, as it was asked to; its checkpoint is written."""


@dataclass(slots=True)
class Bell:
    """Rung by a signal; `heeded` while somebody looks at it between two steps."""

    heeded: bool = False
    rung: bool = False

    def ring(self) -> None:
        if not self.heeded:
            raise SystemExit(STOPPED)
        self.rung = True
