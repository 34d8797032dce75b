"""How a start looks while one waits: a small live table on a terminal, one line a change elsewhere; both on stderr."""

import sys
import time

from rich.console import Group
from rich.table import Table
from rich.text import Text

from agent.cli.instance import State, View
from agent.cli.screen import Drawn, Lines, Screen
from agent.cli.terminal import note, span
from core.clock import SECOND, now

HEARTBEAT = 20.0
"""Seconds after which a reader who waits gets a line though nothing changed."""
STYLES = {State.RUNNING: "green", State.RESTARTING: "yellow", State.STOPPING: "yellow", State.STOPPED: "dim"}


def board() -> Screen[View]:
    """The kind that fits where stderr goes."""
    return Drawn(drawing) if sys.stderr.isatty() else PlainBoard()


class PlainBoard(Lines):
    """A line for each new phase and each process that changed, and now and then one while a phase lasts."""

    def __init__(self) -> None:
        self._phase = ""
        self._restarts: dict[str, int] = {}
        self._said = 0.0

    def show(self, view: View) -> None:
        for process in view.processes:
            if process.restarts > self._restarts.get(process.name, 0):
                note(f"hone: {process.name} ended; restart {process.restarts}")
            self._restarts[process.name] = process.restarts
        waiting = not view.ready and time.monotonic() - self._said > HEARTBEAT
        if view.phase != self._phase or waiting:
            note(f"hone: {view.phase} ({span((now() - view.since) / SECOND)})")
            self._phase, self._said = view.phase, time.monotonic()


def drawing(view: View) -> Group:
    """A view as a headline, a line a process, and what the keyboard does."""
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
    for column in ("process", "state", "pid", "restarts", "for"):
        table.add_column(column)
    for process in view.processes:
        state = Text(process.state, style=STYLES[process.state])
        pid = str(process.pid or "-")
        table.add_row(process.name, state, pid, str(process.restarts), span((now() - process.since) / SECOND))
    headline = Text.assemble(
        ("Hone ", "bold"), f"{view.url}  ", (view.phase, "bold green" if view.ready else "bold yellow"),
        (f"  {span((now() - view.since) / SECOND)}", "dim"),
    )  # fmt: skip
    closing = "Ctrl-C again stops at once." if view.phase == "stopping" else "Ctrl-C stops everything."
    return Group(Text(), headline, table, Text(closing, style="dim"))
