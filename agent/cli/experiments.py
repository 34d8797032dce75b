"""List, show and stop comparisons on live subjects."""

from collections.abc import Iterator
from typing import Annotated

import typer

from agent.cli.api_client import connect, segment
from agent.cli.terminal import AsJson, minute, note, say, say_json, say_record, say_table
from core import config
from core.types import Json, JsonObject, Role

app = typer.Typer(help=__doc__)
COLUMNS = ("id", "kind", "state", "champion", "challenger", "share", "created", "ended")
LOOKS = ("look", "effect", "estimate", "from", "to")
ExperimentId = Annotated[str, typer.Argument(metavar="ID", help="The experiment's id.")]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the experiments, newest first."""
    found = list(connect(config.caller(), Role.OPS).items("/api/experiments", limit))
    if as_json:
        say_json({"data": found, "next": None})
    else:
        say_table(COLUMNS, [_row(experiment) for experiment in found])


@app.command()
def show(experiment_id: ExperimentId, as_json: AsJson = False) -> None:
    """Show one experiment: arms, estimate and interval, split check, looks."""
    experiment = connect(config.caller(), Role.OPS).get(f"/api/experiments/{segment(experiment_id)}")
    if as_json:
        say_json(experiment)
        return
    say_record({name: value for name, value in experiment.items() if name != "looks" and value is not None})
    if looks := list(_looks(experiment)):
        say()
        say_table(LOOKS, looks)


@app.command()
def stop(
    experiment_id: ExperimentId,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit log.")],
    as_json: AsJson = False,
) -> None:
    """End a running experiment; exit 3 when it has ended already."""
    path = f"/api/experiments/{segment(experiment_id)}/stop"
    stopped = connect(config.caller(), Role.OPS).post(path, {"reason": reason})
    if as_json:
        say_json(stopped)
    else:
        note(f"hone: experiment {experiment_id} is stopped; everybody meets the champion.")


def _row(experiment: JsonObject) -> list[str]:
    texts = [str(experiment[name]) for name in ("id", "kind", "state", "champion", "challenger")]
    times = [minute(experiment[name]) for name in ("created_at", "ended_at")]
    return [*texts, f"{experiment['share']:.0%}", *times]


def _looks(experiment: JsonObject) -> Iterator[list[str]]:
    looks = experiment.get("looks")
    for look in looks if isinstance(looks, list) else []:
        primary = _inside(_inside(look, "findings"), "primary")
        comparison = _inside(primary, "comparison")
        interval = _inside(comparison, "interval")
        figures = [comparison.get("estimate"), interval.get("low"), interval.get("high")]
        yield [minute(look["created_at"]), str(primary.get("effect") or "-"), *map(_figure, figures)]


def _inside(value: Json, name: str) -> JsonObject:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _figure(value: Json) -> str:
    return f"{value:+.3f}" if isinstance(value, int | float) else "-"
