"""`hone replay`: a file of customers' questions, asked, rated, corrected and counted."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.api_client import connect
from agent.cli.terminal import AsJson, note, say_json, say_table, span
from core import config
from core.types import JsonObject, Role

if TYPE_CHECKING:
    from agent.cli.customers import Customs, Report, Row

RETRIES = 6
"""Enough for the client's pauses to outlast the restart of a gateway."""


def replay(
    file: Annotated[Path, typer.Argument(help='JSONL rows {"id","phase","user","prompt"|"messages","answer"}.')],
    phase: Annotated[list[str] | None, typer.Option("--phase", help="Only this phase; may be given again.")] = None,
    repeat: Annotated[
        int, typer.Option("--repeat", min=1, help="Play each row so often, each time as a new customer.")
    ] = 1,
    rate: Annotated[
        float, typer.Option("--rate", min=0, max=1, help="Share of the answers asked about that get a thumb.")
    ] = 1.0,
    correct: Annotated[
        float, typer.Option("--correct", min=0, max=1, help="Share of rated wrong answers corrected too.")
    ] = 1.0,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, max=512, help="Customers at a time.")] = 4,
    seed: Annotated[int, typer.Option("--seed", help="Decides which answers are rated and corrected.")] = 0,
    temperature: Annotated[float, typer.Option("--temperature", min=0, max=2, help="As in the OpenAI API.")] = 0.0,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="As in the OpenAI API.")] = 64,
    as_json: AsJson = False,
) -> None:
    """Play customers against Hone and count how often it is right.

    An answer is right when it equals the row's up to case, spaces and punctuation. Customers rate what Hone asks
    them to rate, and nothing else. Exit 1 when a call failed for good.
    """
    from agent.cli.customers import Customs, read_rows, summary

    rows = read_rows(file, phase or [])
    customs = Customs(rate, correct, repeat, concurrency, seed, temperature, max_tokens)
    report = asyncio.run(_play(rows, customs))
    result = summary(report)
    if as_json:
        say_json(result)
    else:
        _say(result, report)
    if report.failed:
        note(f"hone: {report.failed} calls failed for good; the first: {report.failure}")
        raise typer.Exit(1)


async def _play(rows: "list[Row]", customs: "Customs") -> "Report":
    from agent.cli.customers import Customers, check_open
    from agent.cli.openai_calls import open_async_client, translated

    api = connect(config.caller(), Role.USER)
    async with open_async_client(api.url, str(api.key), RETRIES) as client:
        with translated(api.url):
            await check_open(client)
        with progress(len(rows) * customs.repeat) as step:
            return await Customers(client, customs, step).play(rows)


@contextmanager
def progress(total: int) -> Iterator[Callable[[], None]]:
    """What to call after each of `total` steps: a bar on a terminal, a line every tenth elsewhere."""
    if not sys.stderr.isatty():
        yield Tenths(total).step
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("asking"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("asking", total=total)
        yield lambda: bars.advance(task)


class Tenths:
    """A line on stderr at each tenth of the way."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0

    def step(self) -> None:
        self._done += 1
        if self._done * 10 // self._total > (self._done - 1) * 10 // self._total:
            note(f"hone: {self._done} of {self._total} asked")


def _say(result: JsonObject, report: "Report") -> None:
    columns = ("", "asked", "right", "share", "95 % interval")
    rows = [row for kind in ("phases", "versions") for row in _rows(kind, result[kind])]
    say_table(columns, rows)
    note(
        f"hone: {result['asked']} asked about, {result['rated']} rated, {result['corrected']} corrected, "
        f"{result['failed']} failed in {span(report.seconds)}"
    )


def _rows(kind: str, shares: object) -> list[tuple[str, ...]]:
    if not isinstance(shares, dict):
        return []
    return [
        (f"{kind[:-1]} {name}", f"{s['n']}", f"{s['right']}", f"{s['rate']:.1%}", f"{s['low']:.1%} - {s['high']:.1%}")
        for name, s in shares.items()
    ]
