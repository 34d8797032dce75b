"""Agree to a candidate's promotion, or refuse it."""

import sys
from typing import Annotated

import typer

from agent.cli.api_client import connect, segment
from agent.cli.evidence import told
from agent.cli.succession import say_succession
from agent.cli.terminal import AsJson, note, say_json
from core import config
from core.errors import BadRequest, Conflict
from core.types import JsonObject, Role

app = typer.Typer(help=__doc__)
VersionId = Annotated[str, typer.Argument(metavar="ID", help="The version's id.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the audit log.")]


@app.command()
def approve(
    version: VersionId,
    reason: Reason,
    digest: Annotated[
        str | None, typer.Option("--digest", help="The evidence_digest that `hone models show ID` prints.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Agree to the evidence as it is now, without being asked.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a version that awaits approval the champion.

    Without --digest it shows the evidence and asks. Exit 3 when the evidence or the stage does not allow it, 4 when the
    run was your own.
    """
    client = connect(config.caller(), Role.OPS)
    agreed = digest or _agreed(client.get(f"/api/models/{segment(version)}"), yes)
    body: JsonObject = {"reason": reason, "evidence_digest": agreed}
    promoted = client.post(f"/api/models/{segment(version)}/approve", body)
    if as_json:
        say_json(promoted)
    else:
        say_succession(promoted)


@app.command()
def reject(version: VersionId, reason: Reason, as_json: AsJson = False) -> None:
    """End a candidate's way, at any stage before champion."""
    rejected = connect(config.caller(), Role.OPS).post(f"/api/models/{segment(version)}/reject", {"reason": reason})
    if as_json:
        say_json(rejected)
    else:
        note(f"hone: {version} is rejected.")


def _agreed(model: JsonObject, yes: bool) -> str:
    """The digest of the evidence that the person has read and agreed to."""
    for line in told(model):
        note(line)
    digest = model.get("evidence_digest")
    if not isinstance(digest, str):
        raise Conflict(f"{model['id']} is at {model['stage']} and has no evidence that one could agree to.")
    if yes:
        return digest
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise BadRequest(
            f"Nobody can be asked here: give --digest {digest} if that is what you have read, or --yes for whatever "
            "the evidence is now."
        )
    typer.confirm(f"Make {model['id']} the champion?", abort=True, err=True)
    return digest
