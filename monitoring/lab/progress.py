"""How far a simulation is, on stderr: a bar on a terminal, now and then a line elsewhere; nothing if it is quick."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

QUICK = 2.0
"""Seconds in which nobody needs to be told."""
PAUSE = 5.0

Step = Callable[[str, float], None]
"""What a simulation calls: what it is at, and the part from 0 to 1 of all that is done."""


def silent(_at: str, _part: float) -> None:
    """The step of a simulation that nobody waits for."""


@contextmanager
def progress(command: str) -> Iterator[Step]:
    """The step for a command that somebody waits for."""
    if not sys.stderr.isatty():
        yield Lines(command).step
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(command, total=1.0)
        yield lambda at, part: bars.update(task, description=at, completed=part)


class Lines:
    """A line when it takes longer than QUICK, and another one each PAUSE."""

    def __init__(self, command: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._command = command
        self._clock = clock
        self._next = clock() + QUICK

    def step(self, at: str, part: float) -> None:
        if self._clock() >= self._next:
            typer.echo(f"hone: lab {self._command}: {part:.0%} done; {at}", err=True)
            self._next = self._clock() + PAUSE
