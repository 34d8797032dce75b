"""What commands print: results on stdout, everything else on stderr, plain lines where no terminal reads them."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

import typer

from core.types import Json, JsonObject

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
"""The option of every command that reads."""


def say(text: str = "") -> None:
    """One line of the result."""
    typer.echo(text)


def note(text: str) -> None:
    """One line beside the result: progress, hints, errors. A reader who went away does not stop the work."""
    with suppress(OSError):
        typer.echo(text, err=True)


def say_json(value: Json) -> None:
    """The result for programs: one line, or indented where a person looks at it."""
    if sys.stdout.isatty():
        say(json.dumps(value, ensure_ascii=False, indent=2))
    else:
        say_json_line(value)


def say_json_line(value: Json) -> None:
    """One of several results for programs, or one that somebody waits for: always one line."""
    say(json.dumps(value, ensure_ascii=False))


def say_table(columns: Sequence[str], rows: Iterable[Sequence[str]], whole: int = 1) -> None:
    """Rows under their headings: a table for a person, aligned lines for a pipe; no cell is ever cut.

    The first `whole` columns are not broken into lines either: what people copy.
    """
    cells = [tuple(row) for row in rows]
    if sys.stdout.isatty():
        _say_rich_table(columns, cells, whole)
    else:
        _say_lines([tuple(column.upper() for column in columns), *cells])


def _say_rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]], whole: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=place < whole)
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


def _say_lines(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def say_record(record: JsonObject) -> None:
    """One thing, a line a field; what is nested gets dotted names, times stand as people read them."""
    for line in record_lines(record):
        say(line)


def record_lines(record: JsonObject) -> Sequence[str]:
    """The lines of `say_record`."""
    lines = list(_lines(record, ""))
    width = max((len(name) for name, _ in lines), default=0)
    return [f"{name:<{width}}  {text}" for name, text in lines]


def _lines(record: JsonObject, prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in record.items():
        if isinstance(value, dict) and value:
            yield from _lines(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _text(name, value)


def _text(name: str, value: Json) -> str:
    if name.endswith("_at"):
        return moment(value)
    if value is None or value in ([], {}):
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def moment(micros: Json) -> str:
    """A time as people read it, in their own zone; `micros` since the epoch, or a dash."""
    if not isinstance(micros, int):
        return "-"
    return datetime.fromtimestamp(micros / 1e6, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def minute(micros: Json) -> str:
    """The same to the minute, where room is short."""
    return moment(micros)[:16]


def span(seconds: float) -> str:
    """A duration as people read it: 12 s, 3 min 05 s, 2 h 10 min."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
