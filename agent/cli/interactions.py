"""List and show what was asked and answered."""

from datetime import datetime
from typing import Annotated

import typer

from agent.cli.api_client import connect, segment
from agent.cli.terminal import AsJson, minute, say, say_json, say_record, say_table
from core import config
from core.types import Arm, Finish, Json, JsonObject, Role

app = typer.Typer(help=__doc__)
COLUMNS = ("id", "when", "question", "answer")
TOLD_APART = ("messages", "reply", "feedback", "lineage")
WIDEST = 48
"""Characters of a text that a list shows."""


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, newest first.")] = 20,
    subject: Annotated[
        str | None, typer.Option("--subject", help="Only this subject's, by the pseudonym that the rows carry.")
    ] = None,
    served: Annotated[str | None, typer.Option("--served", help="Only answers by this version.")] = None,
    arm: Annotated[Arm | None, typer.Option("--arm", help="Only calls that were routed for this reason.")] = None,
    finish: Annotated[Finish | None, typer.Option("--finish", help="Only answers that ended like this.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="Only calls with this key, by its id.")] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="Only calls whose metadata has NAME:VALUE.")] = None,
    since: Annotated[
        datetime | None, typer.Option("--since", help="Not before this time, e.g. 2026-11-20T08:00:00.")
    ] = None,
    until: Annotated[datetime | None, typer.Option("--until", help="Before this time.")] = None,
    as_json: AsJson = False,
) -> None:
    """List interactions, newest first."""
    filters = {"subject": subject, "served": served, "arm": arm, "finish": finish, "key_id": key, "tag": tag}
    times = {"since": _micros(since), "until": _micros(until)}
    found = list(connect(config.caller(), Role.REVIEWER).items("/api/interactions", limit, **filters, **times))
    if as_json:
        say_json({"data": found, "next": None})
    else:
        say_table(COLUMNS, [_row(item) for item in found], whole=2)


@app.command()
def show(
    response_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the answer.")],
    as_json: AsJson = False,
) -> None:
    """Show one interaction: the conversation, the answer, its feedback."""
    item = connect(config.caller(), Role.REVIEWER).get(f"/api/interactions/{segment(response_id)}")
    if as_json:
        say_json(item)
        return
    for message in _objects(item.get("messages")) + _objects([item.get("reply")]):
        say(f"{message.get('role', 'assistant')}: {text_of(message)}")
    say()
    say_record(_told(item, *TOLD_APART))
    for rating in _objects(item.get("feedback")):
        say()
        say_record(_told(rating, "response_id"))


def _told(record: JsonObject, *left_out: str) -> JsonObject:
    """What a person wants to read of it: nothing that is empty, nothing that stands elsewhere."""
    return {name: value for name, value in record.items() if name not in left_out and value not in (None, [], {})}


def text_of(message: JsonObject) -> str:
    """What a message says, its parts put together."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text") or "") for part in _objects(content))


def _row(item: JsonObject) -> list[str]:
    asked = _objects(item.get("messages"))
    replied = _objects([item.get("reply")])
    texts = [_short(text_of(said[-1])) if said else "-" for said in (asked, replied)]
    return [str(item["id"]), minute(item["created_at"]), *texts]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= WIDEST else f"{line[: WIDEST - 3]}..."


def _objects(value: Json) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _micros(time: datetime | None) -> int | None:
    return None if time is None else round(time.timestamp() * 1e6)
