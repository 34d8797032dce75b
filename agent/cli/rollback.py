"""`hone rollback`: the champion before is the champion again."""

from typing import Annotated

import typer

from agent.cli.api_client import connect
from agent.cli.succession import say_succession
from agent.cli.terminal import AsJson, say_json
from core import config
from core.types import Role


def rollback(
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit log.")], as_json: AsJson = False
) -> None:
    """Swap the champion with the one before it.

    Once more swaps back. Exit 3 when there is none before it, or when that one was rolled back for harm.
    """
    change = connect(config.caller(), Role.OPS).post("/api/rollback", {"reason": reason})
    if as_json:
        say_json(change)
    else:
        say_succession(change)
