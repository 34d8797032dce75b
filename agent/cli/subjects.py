"""Erase what one subject said.

Over HTTP with an operator's HONE_KEY, without one by permission on the data folder.
"""

from typing import Annotated

import typer

from agent.cli.api_client import connect, segment
from agent.cli.terminal import AsJson, say, say_json
from core import config
from core.types import JsonObject, Role, Subject

app = typer.Typer(help=__doc__)


@app.command()
def erase(
    subject: Annotated[str, typer.Argument(metavar="ID", help="The pseudonym that the subject's interactions carry.")],
    as_json: AsJson = False,
) -> None:
    """Take away every word of a subject, for good; ids, numbers and what was trained on them stay known."""
    caller = config.caller()
    if caller.key:
        erased = connect(caller, Role.OPS).delete(f"/api/subjects/{segment(subject)}")
    else:
        erased = _erase_here(subject)
    if as_json:
        say_json(erased)
    else:
        say(_sentence(erased))


def _erase_here(subject: str) -> JsonObject:
    from agent.cli.local import open_ledger
    from core import erasure
    from core.backup import SPOOL
    from core.datasets import FOLDER, Datasets
    from core.keys import LOCAL

    with open_ledger(config.load()) as local:
        data = local.settings.data
        erased = erasure.erase(local.store, Datasets(data / FOLDER), data / SPOOL, Subject(subject), LOCAL)
    return {"id": erased.subject, **erased.account()}


def _sentence(erased: JsonObject) -> str:
    counts = ", ".join(f"{erased[name]} {name}" for name in ("interactions", "messages", "feedback"))
    versions = erased.get("versions")
    learned = ", ".join(map(str, versions)) if isinstance(versions, list) and versions else "no version"
    return f"{erased['id']}: {counts} lost their words; {learned} was trained on them."
