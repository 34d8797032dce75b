"""`hone status`: over HTTP what the ledger and the gateways say, without a key which processes run here."""

from dataclasses import asdict

import typer

from agent.cli import story
from agent.cli.api_client import connect
from agent.cli.instance import Instance, View
from agent.cli.terminal import AsJson, minute, moment, note, say, say_json, say_record, say_table
from core import config
from core.types import JsonObject, Role

WORKERS = ("worker", "host", "pid", "plan", "since", "adapters")


def status(as_json: AsJson = False) -> None:
    """Show how Hone is doing.

    With an operator's HONE_KEY all of it; without one which processes run here, and exit 1 when none does.
    """
    caller = config.caller()
    if caller.key:
        _say_service(connect(caller, Role.OPS).get("/api/status"), as_json)
    else:
        _say_processes(Instance(config.load().data), as_json)


def _say_service(answer: JsonObject, as_json: bool) -> None:
    if as_json:
        say_json(answer)
        return
    for sentence in story.sentences(answer):
        say(sentence)
    say()
    left = answer.keys() - story.TOLD - {"workers"}
    say_record({name: value for name, value in answer.items() if name in left and value not in (None, [])})
    workers = answer.get("workers")
    if isinstance(workers, list):
        say()
        say_table(WORKERS, [_worker(worker) for worker in workers if isinstance(worker, dict)])


def _worker(worker: JsonObject) -> list[str]:
    texts = [str(worker[name]) for name in ("kind", "host", "pid", "revision")]
    loaded = worker["loaded"]
    adapters = ", ".join(map(str, loaded)) if isinstance(loaded, list) else ""
    return [*texts, minute(worker["started_at"]), adapters or "-"]


def _say_processes(instance: Instance, as_json: bool) -> None:
    """What runs on this data folder; exit 1 when nothing does."""
    view = instance.view() if instance.claimed() else None
    if as_json:
        say_json({"running": view is not None, **(asdict(view) if view else {})})
    elif view:
        _say_view(view)
    else:
        note(
            f"hone: nothing runs on {instance.data}; `hone up` starts it. For one elsewhere set HONE_URL and HONE_KEY."
        )
    if view is None:
        raise typer.Exit(1)


def _say_view(view: View) -> None:
    say(f"Hone at {view.url} is {view.phase}; process {view.pid} since {moment(view.since)}.")
    columns = ("process", "state", "pid", "restarts", "since")
    rows = [(p.name, p.state, str(p.pid or "-"), str(p.restarts), moment(p.since)) for p in view.processes]
    say_table(columns, rows)
    note("hone: with an operator's HONE_KEY `hone status` shows champion, queues and workers.")
