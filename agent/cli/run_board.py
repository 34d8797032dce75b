"""How a run looks while one waits for it: a bar that is drawn anew on a terminal, lines elsewhere; both on stderr."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from agent.cli.terminal import note, span
from core.types import Json, JsonObject

PAUSE = 1.0
"""Seconds between two looks."""
HEARTBEAT = 20.0
"""Seconds after which a pipe's reader gets a line though the stage is the same."""
OPEN = ("requested", "running")
BAR = 30

Show = Callable[[JsonObject], None]


def follow(read: Callable[[], JsonObject], pause: float = PAUSE) -> JsonObject:
    """Show a run until it has ended; how it ended."""
    with _screen() as show:
        run = read()
        while run["state"] in OPEN:
            show(run)
            time.sleep(pause)
            run = read()
        show(run)
    return run


def progress_text(progress: Json) -> str:
    """Where a run stands, in a few words; empty when nothing is known."""
    if not isinstance(progress, dict) or not progress.get("stage"):
        return ""
    return ", ".join([str(progress["stage"]), *_figures(progress)])


def sentence(run: JsonObject) -> str:
    """A run in one sentence."""
    where = progress_text(run.get("progress")) if run["state"] == "running" else ""
    about = run.get("error") or where
    if run.get("model"):
        about = f"it gave {run['model']}"
    return f"Run {run['id']} is {run['state']}{f': {about}' if about else ''}"


def _figures(progress: JsonObject) -> Iterator[str]:
    step, steps, eta = (progress.get(name) for name in ("step", "steps", "eta_seconds"))
    if isinstance(step, int) and isinstance(steps, int) and steps:
        yield f"step {step} of {steps}"
    for name, shown in (("loss", "loss {:.3f}"), ("tokens_per_second", "{:,.0f} tokens/s")):
        value = progress.get(name)
        if isinstance(value, int | float):
            yield shown.format(value)
    if isinstance(eta, int | float):
        yield f"{span(eta)} left"


@contextmanager
def _screen() -> Iterator[Show]:
    if not sys.stderr.isatty():
        yield _Lines().show
        return
    from rich.console import Console
    from rich.live import Live

    # Drawn by `show` alone, so that no thread is left when the command is broken off.
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        yield lambda run: live.update(_drawing(run), refresh=True)


class _Lines:
    """A line for each new stage, and now and then one while a stage lasts."""

    def __init__(self) -> None:
        self._stage: Json = None
        self._said = float("-inf")

    def show(self, run: JsonObject) -> None:
        progress = run.get("progress")
        stage = (run["state"], progress.get("stage") if isinstance(progress, dict) else None)
        if stage != self._stage or time.monotonic() - self._said > HEARTBEAT:
            note(f"hone: {sentence(run)}")
            self._stage, self._said = stage, time.monotonic()


def _drawing(run: JsonObject) -> str:
    progress = run.get("progress")
    step, steps = (progress.get(n) if isinstance(progress, dict) else None for n in ("step", "steps"))
    share = step / steps if isinstance(step, int) and isinstance(steps, int) and steps else 0.0
    full = round(BAR * min(share, 1.0))
    return f"{'#' * full}{'.' * (BAR - full)} {share:4.0%}  {sentence(run)}"
