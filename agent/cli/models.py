"""List and show versions; adopt another base."""

from typing import Annotated

import typer

from agent.cli.api_client import connect, segment
from agent.cli.instance import Instance
from agent.cli.terminal import AsJson, minute, note, say, say_json, say_record, say_table
from core import config
from core.errors import Conflict
from core.types import JsonObject, Role

app = typer.Typer(help=__doc__)
TOLD = frozenset({"gate", "evidence", "evidence_digest", "evidence_at", "evidence_void", "approval", "requester"})
"""What is told in sentences."""
OVER = ("awaiting_approval", "retired", "rejected")
"""Stages at which the gate has said its last, which is in the evidence or the reason of the move."""
COLUMNS = ("id", "stage", "base", "parent", "created")


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the versions, newest first."""
    models = list(connect(config.caller(), Role.OPS).items("/api/models", limit))
    if as_json:
        say_json({"data": models, "next": None})
    else:
        say_table(COLUMNS, [_row(model) for model in models])


@app.command()
def show(
    version: Annotated[str, typer.Argument(metavar="ID", help="The version's id.")],
    as_json: AsJson = False,
) -> None:
    """Show one version: stage, digest, parent, manifest, evidence."""
    model = connect(config.caller(), Role.OPS).get(f"/api/models/{segment(version)}")
    if as_json:
        say_json(model)
    else:
        _say(model)


@app.command()
def adopt(
    model: Annotated[str, typer.Argument(help="A Hugging Face id, a folder, or hone-tiny.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit log.")] = "adopted by command",
) -> None:
    """Go on with another base: the ledger stays, its version 0 becomes the champion; Hone must not run meanwhile."""
    from agent.cli.local import open_ledger
    from core.keys import LOCAL
    from serving import setup

    settings = config.load()
    check_stopped(settings)
    adopting = settings.model_copy(update={"engine": settings.engine.model_copy(update={"model": model})})
    with open_ledger(settings) as local:
        plan = local.registry.adopt(setup.version_zero(adopting), LOCAL, reason)
    note(f"hone: {plan.champion} is the champion now. Start with HONE_MODEL={model}, or set engine.model.")


def check_stopped(settings: config.Settings) -> None:
    """Raise Conflict while Hone runs: its engine holds the old base."""
    if claim := Instance(settings.data).claimed():
        raise Conflict(f"Hone runs on {settings.data} (process {claim.pid}); `hone stop` it first.")


def _say(model: JsonObject) -> None:
    """The version's facts, then what speaks for it and what its gate says."""
    from agent.cli import evidence

    say_record({name: value for name, value in model.items() if name not in TOLD})
    say()
    for line in evidence.told(model):
        say(line)
    gate = model.get("gate")
    if isinstance(gate, dict) and model["stage"] not in OVER:
        for line in evidence.ruling(gate):
            say(line)


def _row(model: JsonObject) -> list[str]:
    texts = [str(model[name] or "-") for name in ("id", "stage", "base", "parent")]
    return [*texts, minute(model["created_at"])]
