"""`hone up`, `hone stop` and `hone logs`: all processes of one machine, in the foreground or not."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from agent.cli import log_files
from agent.cli.instance import Claim, Instance
from agent.cli.terminal import note, say, say_json_line, span
from core import config
from core.clock import SECOND, now
from core.config import Settings
from core.errors import HoneError, SetupError
from core.types import Role

LOGS = ("up", "serving", "engine", "gateway", "monitoring", "training")
SLACK = 60.0
"""Seconds that `hone stop` waits beyond the gateway's drain."""


def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Run in the background; return when ready.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="When ready, print one line of JSON with URL and new keys.")
    ] = False,
    make_keys: Annotated[
        bool, typer.Option("--keys/--no-keys", help="Make and print three keys at the first start.")
    ] = True,
) -> None:
    """Start Hone and say when it is ready.

    Ctrl-C stops everything: open answers may finish first, a second Ctrl-C cuts them.
    """
    settings = config.load()
    instance = Instance(settings.data)
    started = now()

    def announce() -> None:
        keys = _first_keys(settings) if make_keys else {}
        _say_ready(url, keys, started, as_json)

    from agent.cli.launch import public_url

    url = public_url(settings)
    if detach:
        _start_in_background(instance, announce)
    else:
        _run(settings, instance, announce)


def _run(settings: Settings, instance: Instance, announce: Callable[[], None]) -> None:
    from agent.cli.board import board
    from agent.cli.launch import Launch, prepare

    with instance.claim(), board() as screen:
        note(f"hone: preparing {settings.engine.model} in {settings.data}")
        prepare(settings, instance)

        def ready() -> None:
            screen.pause()
            announce()

        asyncio.run(Launch(settings, instance, screen.show, ready).run())
    note("hone: stopped")


def _start_in_background(instance: Instance, announce: Callable[[], None]) -> None:
    instance.make_folders()
    log = instance.logs / "up.log"
    start = log_files.size(log)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "agent.cli.main", "up", "--no-keys"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _await_ready(instance, process)
    except KeyboardInterrupt:
        process.send_signal(signal.SIGTERM)
        process.wait()
        raise
    if process.poll() is not None:
        raise SetupError("\n".join(_complaint(log_files.since(log, start, 40))))
    announce()
    note(f"hone: runs in the background as process {process.pid}; `hone logs -f` follows it, `hone stop` ends it.")


def _await_ready(instance: Instance, process: "subprocess.Popen[bytes]") -> None:
    """Show how the start goes until it is ready or over."""
    from agent.cli.board import board

    with board() as screen:
        while process.poll() is None:
            view = instance.view()
            if view and view.pid == process.pid:
                screen.show(view)
                if view.ready:
                    break
            time.sleep(0.3)
        screen.pause()


def _complaint(lines: list[str]) -> list[str]:
    """What a start that failed said last: its error, without the progress before it."""
    errors = [place for place, line in enumerate(lines) if line.startswith("hone: ")]
    start = errors[-1] if errors else 0
    return [lines[start].removeprefix("hone: "), *lines[start + 1 :]] if lines else ["The start failed silently."]


def _first_keys(settings: Settings) -> Mapping[Role, str]:
    from agent.cli.local import first_keys, open_ledger

    with open_ledger(settings) as local:
        return first_keys(local.keys)


def _say_ready(url: str, keys: Mapping[Role, str], started: int, as_json: bool) -> None:
    if as_json:
        say_json_line({"url": url, "keys": {str(role): key for role, key in keys.items()}})
        return
    lines = [f"Hone is ready at {url} after {span((now() - started) / SECOND)}."]
    if keys:
        lines += ["Its first keys, shown this once:", *(f"  {role:<9} {key}" for role, key in keys.items())]
    # At once, so that a reader who leaves after the first line does not make the others fail.
    say("\n".join(lines))


def stop() -> None:
    """Stop the Hone of this data folder; wait until it has."""
    settings = config.load()
    instance = Instance(settings.data)
    claim = instance.claimed()
    if claim is None:
        note(f"hone: nothing runs on {settings.data}")
        return
    try:
        with suppress(ProcessLookupError):
            os.kill(claim.pid, signal.SIGTERM)
    except PermissionError:
        raise HoneError(f"Process {claim.pid} belongs to another user; ask them to run `hone stop`.") from None
    note(f"hone: stopping process {claim.pid}")
    _await_end(instance, claim, settings.gateway.drain + SLACK)
    note("hone: stopped")


def _await_end(instance: Instance, claim: Claim, patience: float) -> None:
    deadline = time.monotonic() + patience
    while instance.claimed() == claim:
        if time.monotonic() > deadline:
            raise HoneError(f"Process {claim.pid} still runs after {patience:.0f} s; see `hone logs up`.")
        time.sleep(0.1)


def logs(
    name: Annotated[
        str, typer.Argument(help=f"One of {', '.join(LOGS)}; all of them if not given.", show_default=False)
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is added, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many lines from the end of each.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines as they were written.")] = False,
) -> None:
    """Print the ends of the processes' logs."""
    folder = Instance(config.load().data).logs
    if name and name not in LOGS:
        raise typer.BadParameter(f"there is no log {name!r}; choose one of {', '.join(LOGS)}")
    chosen = {each: folder / f"{each}.log" for each in LOGS if name in ("", each)}
    if not any(map(Path.exists, chosen.values())):
        raise SetupError(f"There is no log in {folder} yet; `hone up` writes them.")
    for each, path in chosen.items():
        for line in log_files.tail(path, lines):
            _say_line(each, line, as_json, alone=bool(name))
    if follow:
        with suppress(KeyboardInterrupt):
            for each, line in log_files.follow(chosen):
                _say_line(each, line, as_json, alone=bool(name))


def _say_line(name: str, line: str, as_json: bool, alone: bool) -> None:
    if as_json:
        say_json_line(log_files.fields(line) or {"process": name, "message": line})
    else:
        say(log_files.readable(line) if alone else f"{name:<8}| {log_files.readable(line)}")
