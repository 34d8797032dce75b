"""List looks at drift and calibration; deal with alarms."""

from typing import Annotated

import typer

from agent.cli.api_client import connect
from agent.cli.terminal import AsJson, minute, say, say_json, say_table
from core import config
from core.types import Json, JsonObject, Role

app = typer.Typer(help=__doc__)
COLUMNS = ("when", "kind", "stream", "verdict", "statistic", "threshold", "count", "version")


@app.callback()
def _options() -> None:
    """List looks at drift and calibration."""


@app.command("list")
def list_(
    kind: Annotated[str | None, typer.Option("--kind", help="Only drift, calibration, or explanation.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the checks, newest first; warming says that a reference is not complete yet."""
    checks = list(connect(config.caller(), Role.OPS).items("/api/checks", limit, kind=kind))
    if as_json:
        say_json({"data": checks, "next": None})
    else:
        say_table(COLUMNS, [_row(check) for check in checks])


@app.command()
def acknowledge(
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit log.")], as_json: AsJson = False
) -> None:
    """Say that the alarms up to now are dealt with: what raised them is watched anew."""
    noted = connect(config.caller(), Role.OPS).post("/api/checks/acknowledge", {"reason": reason})
    say_json(noted) if as_json else say(f"Dealt with, all alarms up to {minute(noted['at'])}.")


def _row(check: JsonObject) -> list[str]:
    texts = [str(check[name]) for name in ("kind", "stream", "verdict")]
    figures = [_figure(check["statistic"]), _figure(check["threshold"]), str(check["count"])]
    return [minute(check["created_at"]), *texts, *figures, str(check["version"] or "-")]


def _figure(value: Json) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "-"
