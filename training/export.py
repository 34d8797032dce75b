"""Write what people said as training data, as TRL reads it.

Local: it reads the ledger of the data folder, with or without a running Hone.
"""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import typer

from core import config, migrate
from core.config import Settings
from core.errors import SetupError
from core.secret import Secret
from core.store import Store
from core.types import JsonObject
from training.rows import Example, KtoExample, Method, Reason, SftExample

LEDGER = "ledger.db"

app = typer.Typer(help=__doc__)


@app.command()
def export(
    form: Annotated[Method, typer.Option("--format", help="TRL's trainer that the rows are for.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document, what was left out included.")
    ] = False,
) -> None:
    """Print every judgement that may train, one JSON object a line; say on stderr what was left out and why.

    The rules of [training] hold: whose words train, no two rows alike, nobody's share too large, no personal data.
    """
    rows, left_out = collect(config.load(), form)
    if as_json:
        typer.echo(json.dumps({"format": form, "rows": rows, "left_out": left_out}, ensure_ascii=False))
        return
    for row in rows:
        typer.echo(json.dumps(row, ensure_ascii=False))
    typer.echo(f"hone: {len(rows)} rows; {sum(left_out.values())} judgements left out.", err=True)
    for reason, number in sorted(left_out.items(), key=lambda each: -each[1]):
        typer.echo(f"hone: {number} x {Reason(reason).sentence}", err=True)


def collect(settings: Settings, form: Method) -> tuple[Sequence[JsonObject], dict[str, int]]:
    """The rows that all judgements make, and the number left out for each reason. Raises SetupError, Unavailable."""
    from training import material
    from training.curation import Material, curate
    from training.harvest import harvest

    store = _open(settings)
    try:
        found = Material(harvest(store))
    finally:
        store.close()
    curated = curate(found, form, material.rules(settings, Secret.load(settings.data)))
    left_out = Counter(str(exclusion.reason) for exclusion in curated.exclusions)
    return [line(row.example) for row in curated.rows], dict(left_out)


def line(example: Example) -> JsonObject:
    """An example as TRL reads it: a conversation so far, and the turns that may follow."""
    prompt: list[JsonObject] = [{"role": each.role, "content": each.content} for each in example.messages]
    if isinstance(example, SftExample):
        return {"prompt": prompt, "completion": _turn(example.completion)}
    if isinstance(example, KtoExample):
        return {"prompt": prompt, "completion": _turn(example.completion), "label": example.label}
    return {"prompt": prompt, "chosen": _turn(example.chosen), "rejected": _turn(example.rejected)}


def _turn(answer: str) -> list[JsonObject]:
    return [{"role": "assistant", "content": answer}]


def _open(settings: Settings) -> Store:
    if not settings.ledger.url and not (settings.data / LEDGER).exists():
        raise SetupError(f"There is no Hone data in {settings.data}; start it with `hone up`, or set HONE_DATA.")
    current = migrate.revision(settings.database_url)
    migrate.check_known(current)
    if current != migrate.head():
        raise SetupError(f"The ledger is at revision {current or 'none'}, not {migrate.head()}; run `hone db upgrade`.")
    return Store.open(settings.database_url)
