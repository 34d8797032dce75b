"""List, show, start and cancel training runs."""

import json
from typing import Annotated

import typer

from agent.cli.api_client import ApiClient, connect, segment
from agent.cli.terminal import AsJson, minute, note, say, say_json, say_record, say_table
from core import config
from core.errors import BadRequest
from core.types import JsonObject, Role

app = typer.Typer(help=__doc__)
COLUMNS = ("id", "state", "method", "asked by", "created", "progress", "gave")
RunId = Annotated[str, typer.Argument(metavar="ID", help="The run's id.")]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the runs, newest first."""
    runs = list(connect(config.caller(), Role.OPS).items("/api/runs", limit))
    if as_json:
        say_json({"data": runs, "next": None})
    else:
        say_table(COLUMNS, [_row(run) for run in runs])


@app.command()
def show(
    run_id: RunId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Watch until it ends; exit 1 if it fails.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one run: progress, result or cause of failure, and the end of its log."""
    client = connect(config.caller(), Role.OPS)
    run = _followed(client, run_id) if follow else _read(client, run_id)
    if as_json:
        say_json(run)
    else:
        _say(run)
    if follow and run["state"] != "done":
        raise typer.Exit(1)


@app.command()
def start(
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit log.")],
    method: Annotated[
        str | None, typer.Option("--method", help="sft, kto, dpo or auto; by default the setting's.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help='Fields of the recipe to change, as JSON: {"steps": 200}.')
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask for a run now; whoever asks cannot approve what it gives."""
    wanted: dict[str, object] = {"reason": reason, "method": method, "recipe": _recipe(recipe)}
    body = {name: value for name, value in wanted.items() if value is not None}
    run = connect(config.caller(), Role.OPS).post("/api/runs", body)  # type: ignore[arg-type]
    if as_json:
        say_json(run)
    else:
        say(str(run["id"]))
        note(f"hone: asked for; watch it with: hone runs show --follow {run['id']}")


@app.command()
def cancel(
    run_id: RunId,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit log.")] = "by command",
    as_json: AsJson = False,
) -> None:
    """End an open run; exit 3 when it has ended already."""
    path = f"/api/runs/{segment(run_id)}/cancel"
    run = connect(config.caller(), Role.OPS).post(path, {"reason": reason})
    if as_json:
        say_json(run)
    else:
        note(f"hone: run {run_id} is cancelled.")


def _read(client: ApiClient, run_id: str) -> JsonObject:
    return client.get(f"/api/runs/{segment(run_id)}")


def _followed(client: ApiClient, run_id: str) -> JsonObject:
    from agent.cli.run_board import follow

    return follow(lambda: _read(client, run_id))


def _say(run: JsonObject) -> None:
    log = run.get("log")
    say_record({name: value for name, value in run.items() if name != "log" and value not in (None, {})})
    if isinstance(log, list) and log:
        say()
        for line in log:
            say(str(line))


def _row(run: JsonObject) -> list[str]:
    from agent.cli.run_board import progress_text

    texts = [str(run[name]) for name in ("id", "state", "method", "requester")]
    progress = run["progress"] if run["state"] == "running" else None
    gave = str(run["model"] or run["error"] or "-")
    return [*texts, minute(run["created_at"]), progress_text(progress) or "-", gave]


def _recipe(text: str | None) -> object:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise BadRequest('--recipe is a JSON object such as {"steps": 200, "learning_rate": 0.001}.')
    return value
