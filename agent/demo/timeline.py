"""How a demo looks while it runs: every act with what is said of it, drawn anew on a terminal, lines elsewhere.

Both are drawn from the record alone, on stderr; the result is printed by others.
"""

import sys
import time
from collections.abc import Iterator

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from agent.cli.screen import Drawn, Lines, Screen
from agent.cli.terminal import note, span
from agent.demo.record import Act, Record, Scene

HEARTBEAT = 15.0
"""Seconds after which the reader of a pipe gets a line though the act is the same."""
DONE, NOW, COMING = "\u2713", "\u25cf", " "
BAR = 24


Timeline = Screen[Record]


def timeline() -> Timeline:
    """The kind that fits where stderr goes."""
    return Drawn(drawing, stays=True) if sys.stderr.isatty() else PlainTimeline()


class PlainTimeline(Lines):
    """A line for each act that begins or ends and each moment, and now and then one while an act lasts."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._said = time.monotonic()

    def show(self, record: Record) -> None:
        for line in lines(record):
            if line not in self._told:
                self._told.add(line)
                self._say(line)
        if record.scenes and time.monotonic() - self._said > HEARTBEAT:
            self._say(f"{record.scenes[-1].act}: {record.scenes[-1].says}")

    def _say(self, line: str) -> None:
        note(f"hone: {line}")
        self._said = time.monotonic()


def lines(record: Record) -> Iterator[str]:
    """All that can be said of a record so far, in the order of time."""
    told = [(scene.start, 1, f"{scene.act} ...") for scene in record.scenes]
    told += [(s.end, 0, f"{s.act}: {s.says} ({span(s.end - s.start)})") for s in record.scenes if s.end is not None]
    told += [(moment.at, 0, f"{moment.sign}: {moment.says}") for moment in record.moments]
    yield from (line for _, _, line in sorted(told, key=lambda each: each[:2]))


def drawing(record: Record) -> Group:
    """The record as a headline, a line an act, and what the customers say."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(width=1)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    known = {scene.act: scene for scene in record.scenes}
    for act in Act:
        _add(table, act, known.get(act), record)
    headline = Text.assemble(("Hone demo ", "bold"), f"{record.url}  ", (span(record.seconds), "dim"))
    place = Text(record.data, style="dim", overflow="fold")
    return Group(Text(), headline, place, Text(), table, Text(), _customers(record), _closing())


def _add(table: Table, act: Act, scene: Scene | None, record: Record) -> None:
    if scene is None:
        table.add_row(COMING, Text(act, style="dim"), "", "")
        return
    over = scene.end is not None
    lasted = span((record.seconds if scene.end is None else scene.end) - scene.start)
    mark = Text(DONE, style="green") if over else Text(NOW, style="bold yellow")
    table.add_row(mark, Text(act, style="" if over else "bold"), Text(lasted, style="dim"), Text(scene.says))
    if not over and record.done:
        table.add_row("", "", "", ProgressBar(total=1.0, completed=record.done, width=BAR))


def _customers(record: Record) -> Text:
    latest = record.batches[-5:]
    asked = sum(batch.asked for batch in latest)
    content = f", {sum(batch.right for batch in latest) / asked:.0%} of the last {asked} content" if asked else ""
    failed = (f", {record.failed} failed", "bold red") if record.failed else (", 0 failed", "")
    return Text.assemble(f"customers: {record.asked:,} served{content}", failed)


def _closing() -> Text:
    return Text("Ctrl-C stops everything.", style="dim")
