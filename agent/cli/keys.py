"""Make, list and revoke keys.

Over HTTP with an operator's HONE_KEY, without one by permission on the data folder.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from agent.cli.api_client import connect, segment
from agent.cli.terminal import AsJson, minute, note, say, say_json, say_table
from core import config
from core.types import JsonObject, Role

app = typer.Typer(help=__doc__)
MOST = 10_000
COLUMNS = ("id", "name", "role", "created", "by", "revoked")


@app.command()
def create(
    role: Annotated[Role, typer.Option("--role", help="What the key may do; each role includes the ones before it.")],
    name: Annotated[str, typer.Option("--name", help="Whose key it is.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print id, name, role and key as JSON.")] = False,
) -> None:
    """Make a key and print it, once: Hone keeps only a digest."""
    caller = config.caller()
    if caller.key:
        made = connect(caller, Role.OPS).post("/api/keys", {"name": name, "role": role})
    else:
        made = _create_here(name, role)
    if as_json:
        say_json(made)
    else:
        say(str(made["key"]))
        note(f"hone: key {made['id']} of role {role} for {name}; it is not shown again.")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the keys, oldest first; the keys themselves cannot be shown."""
    keys = _all()
    if as_json:
        say_json({"data": keys, "next": None})
    else:
        say_table(COLUMNS, [_row(key) for key in keys])


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="The id that `hone keys list` shows.")]) -> None:
    """End a key for good."""
    caller = config.caller()
    if caller.key:
        connect(caller, Role.OPS).delete(f"/api/keys/{segment(key_id)}")
    else:
        _revoke_here(key_id)
    note(f"hone: key {key_id} is revoked.")


def _all() -> Sequence[JsonObject]:
    caller = config.caller()
    if caller.key:
        return list(connect(caller, Role.OPS).items("/api/keys", MOST))
    from agent.cli.local import open_ledger

    with open_ledger(config.load()) as local:
        return [asdict(key) for key in local.keys.list()]


def _create_here(name: str, role: Role) -> JsonObject:
    from agent.cli.local import open_ledger
    from core.keys import LOCAL

    with open_ledger(config.load()) as local:
        holder, key = local.keys.create(name, role, LOCAL)
    return {"id": holder.id, "name": name, "role": role, "key": key}


def _revoke_here(key_id: str) -> None:
    from agent.cli.local import open_ledger
    from core.keys import LOCAL

    with open_ledger(config.load()) as local:
        local.keys.revoke(key_id, LOCAL)


def _row(key: JsonObject) -> Sequence[str]:
    texts = [str(key[name]) for name in ("id", "name", "role")]
    return [*texts, minute(key["created_at"]), str(key["created_by"]), minute(key["revoked_at"])]
