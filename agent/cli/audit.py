"""Check the record of who changed what."""

from dataclasses import asdict
from typing import Annotated

import typer

from agent.cli.terminal import AsJson, note, say, say_json
from core import config

app = typer.Typer(help=__doc__)


@app.command()
def verify(
    head: Annotated[
        str | None, typer.Option("--head", help="A head that was printed before: finds a chain that was cut short.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Walk the whole audit chain; exit 1 and name the place when it is broken."""
    from agent.cli.local import open_ledger
    from core import audit

    with open_ledger(config.load()) as local:
        report = audit.verify(local.store, head)
    if as_json:
        say_json(asdict(report))
    elif report.ok:
        say(f"The chain of {report.rows} rows is unbroken. Its head is {report.head}")
    else:
        note(
            f"hone: the chain is broken at row {report.broken_at}: {report.reason}. {report.rows} rows before it hold."
        )
    raise typer.Exit(0 if report.ok else 1)
