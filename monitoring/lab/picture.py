"""How a report looks in a terminal: tables with bars and small curves where a person looks, plain lines elsewhere.

Knows figures, panels and sentences, and not what was simulated.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from monitoring.lab.figures import LEVEL, Curve, Figure, Judged, Panel, Report, Unit

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

COLUMNS, VERDICT = ("value", "interval", "stated"), "verdict"
FIRST, MOST, WIDE = 30, 46, 100
"""Columns that names have at least (in a terminal as WIDE) and at most, so that tables stand below one another."""
STYLES = {Judged.KEPT: "green", Judged.COMPATIBLE: "green", Judged.BROKEN: "bold red", None: "dim"}
WORDS = {Judged.KEPT: "kept", Judged.COMPATIBLE: "within chance", Judged.BROKEN: "NOT KEPT", None: ""}
INTERVALS = f"Intervals are the error of the simulation at {LEVEL:.1%}, unless they are said to be a report's."
BAR = 20
LINE = 40
_EIGHTHS = ["", *(chr(0x2590 - step) for step in range(1, 9))]
"""Blocks from nothing to a whole column, growing from the left."""
_STEPS = [chr(0x2581 + step) for step in range(8)]
"""Blocks from an eighth to a whole, growing from below."""
_ASCII_STEPS = "_.-:=+*#"


@dataclass(frozen=True, slots=True)
class Look:
    """What a terminal has room and characters for."""

    width: int
    ascii_only: bool

    def holds_bars(self, rows: Sequence[Sequence[str]]) -> bool:
        """Whether a bar fits behind each row; one that is cut off would tell a wrong length."""
        first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
        return min(max(first, FIRST), MOST) + sum(others) + 2 * len(rows[0]) + BAR <= self.width


def show(report: Report) -> None:
    """The report on stdout."""
    if not sys.stdout.isatty():
        _say_plain(report)
        return
    from rich.console import Console

    console = Console(highlight=False)
    if console.no_color:
        _say_plain(report)
    else:
        draw(report, console)


def _say_plain(report: Report) -> None:
    for line in lines(report):
        typer.echo(line)


def lines(report: Report) -> Iterator[str]:
    """The report as aligned lines without a colour or a drawing."""
    yield report.question
    for group in groups(report.figures):
        yield ""
        rows = filled(group, report.of(group))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield ""
    yield INTERVALS
    yield from report.says


def filled(group: str, figures: Sequence[Figure]) -> Sequence[tuple[str, ...]]:
    """Heading and rows of a group, without the columns that nothing is in."""
    rows = [cells(figure) for figure in figures]
    # Where nothing is stated the last column has notes only.
    headings = (group, *COLUMNS, VERDICT if any(figure.judged for figure in figures) else "")
    kept = [0, *(place for place in range(1, len(headings)) if any(row[place] for row in rows))]
    return [tuple(row[place] for place in kept) for row in (headings, *rows)]


def draw(report: Report, console: "Console") -> None:
    """The report for a person who looks at `console`."""
    from rich.padding import Padding
    from rich.text import Text

    look = Look(console.width, console.options.ascii_only)
    console.print(Text(report.question, style="bold"))
    for group in groups(report.figures):
        console.print(Padding(_table(group, report.of(group), look), (1, 0, 0, 0)))
    for panel in report.panels:
        if panel.curves:
            console.print(Padding(_curves(panel, look), (1, 0, 0, 0)))
    console.print()
    console.print(Text(INTERVALS, style="dim"))
    for sentence in report.says:
        console.print(Text(sentence))


def groups(figures: Sequence[Figure]) -> Sequence[str]:
    """The groups in the order in which they first appear."""
    return list(dict.fromkeys(figure.group for figure in figures))


def cells(figure: Figure) -> tuple[str, str, str, str, str]:
    """Name, value, interval, what is stated, and how it stands to that."""
    ends = figure.interval
    interval = f"{_end(ends.low, figure.unit)} to {_end(ends.high, figure.unit)}" if ends else ""
    value = written(figure.value, figure.unit) if figure.value is not None else figure.note or "-"
    note = "" if figure.value is None else figure.note
    return figure.name, value, interval, _stated(figure), WORDS[figure.judged] or note


def written(value: float, unit: Unit) -> str:
    """A value with as many digits as it deserves."""
    match unit:
        case Unit.SHARE:
            return f"{value:.1%}"
        case Unit.COUNT:
            return f"{value:z,.0f}"
        case Unit.NUMBER:
            return f"{value:z.3f}"


def _end(value: float, unit: Unit) -> str:
    return "more" if value == float("inf") else written(value, unit)


def _stated(figure: Figure) -> str:
    if figure.at_most is not None:
        return f"at most {written(figure.at_most, figure.unit)}"
    return "" if figure.at_least is None else f"at least {written(figure.at_least, figure.unit)}"


def _table(group: str, figures: Sequence[Figure], look: Look) -> "Table":
    from rich.text import Text

    headings, *rows = filled(group, figures)
    table = _blank(headings[0], look)
    for heading in headings[1:]:
        table.add_column(heading, justify="left" if heading in ("", VERDICT) else "right", no_wrap=True)
    most = 1.0 if figures[0].unit is Unit.SHARE else max(abs(figure.value or 0.0) for figure in figures) or 1.0
    bars = len(figures) > 1 and look.holds_bars(rows)
    for figure, (name, *row) in zip(figures, rows, strict=True):
        told = [Text(cell) for cell in row]
        if headings[-1] == VERDICT:
            told[-1].stylize(STYLES[figure.judged])
        if bars:
            length = bar(abs(figure.value or 0.0) / most, look.ascii_only)
            told.append(Text(length, "yellow" if figure.rule_of_thumb else "cyan"))
        table.add_row(Text(name, "dim" if figure.rule_of_thumb else ""), *told)
    return table


def _blank(heading: str, look: Look) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column(heading, min_width=FIRST if look.width >= WIDE else None, max_width=MOST)
    return table


def bar(part: float, ascii_only: bool = False) -> str:
    """A bar for a part from 0 to 1 of BAR columns, to an eighth of a column."""
    eighths = round(min(max(part, 0.0), 1.0) * BAR * 8)
    whole, rest = divmod(eighths, 8)
    if ascii_only:
        return "#" * (whole + (rest >= 4))
    return _EIGHTHS[8] * whole + _EIGHTHS[rest]


def _curves(panel: Panel, look: Look) -> "Table":
    from rich.text import Text

    first, last = panel.curves[0].x[0], panel.curves[0].x[-1]
    table = _blank(f"{panel.title}; {panel.x}, {first:,.4g} to {last:,.4g}", look)
    steps = _ASCII_STEPS if look.ascii_only else "".join(_STEPS)
    for curve in panel.curves:
        unit = Unit.SHARE if panel.shares else Unit.NUMBER if max(curve.y) < 10 else Unit.COUNT
        style = "yellow" if curve.rule_of_thumb else "dim" if curve.stated else "cyan"
        ends = f"{written(curve.y[0], unit)} to {written(curve.y[-1], unit)}"
        table.add_row(curve.name, Text(sparkline(curve, panel, steps), style), ends)
    return table


def sparkline(curve: Curve, panel: Panel, steps: str) -> str:
    """The curve as one line of characters; all curves of a panel share a scale."""
    most = max(max(each.y) for each in panel.curves) or 1.0
    places = [round(k * (len(curve.y) - 1) / (LINE - 1)) for k in range(LINE)] if len(curve.y) > LINE else None
    values = [curve.y[place] for place in places] if places else curve.y
    return "".join(steps[round(min(max(value / most, 0.0), 1.0) * (len(steps) - 1))] for value in values)
