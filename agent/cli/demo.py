"""`hone demo`: the whole loop on a Hone of its own, from a shift of the questions to a promotion and back."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.terminal import note, say, say_json
from core import config
from core.config import Settings
from core.errors import BadRequest, Conflict

if TYPE_CHECKING:
    from agent.loop_documents import ModelDetails

INTERRUPTED = 130


def demo(
    file: Annotated[
        Path | None, typer.Option("--scenario", help="Rows as `hone replay` takes them; the first phase is ordinary.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Agree to the promotion without being asked.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    data: Annotated[Path | None, typer.Option(envvar="HONE_DATA", hidden=True)] = None,
    port: Annotated[int | None, typer.Option(envvar="HONE_PORT", hidden=True)] = None,
    settings: Annotated[str | None, typer.Option(envvar="HONE_CONFIG", hidden=True)] = None,
) -> None:
    """Play the whole loop, from a shift to a better champion.

    Runs a Hone of its own on an empty data folder: HONE_DATA, or a fresh one in this folder. Exit 3 when nothing was
    promoted, with the reason.
    """
    from agent.demo import outcome, scenario
    from agent.demo.performance import Performance
    from agent.demo.timeline import timeline

    if settings:
        raise BadRequest(f"The demo writes its own settings; unset HONE_CONFIG (it is {settings}).")
    if not yes and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise BadRequest("Nobody can be asked here whether to promote; pass --yes, or run the demo at a terminal.")
    source = file or scenario.default_path()
    played = scenario.read(source)
    screen = timeline()
    chosen = _settings(data, port)
    performance = Performance(played, chosen, source, lambda model: yes or _agree(model))
    note(f"hone: the demo's data is in {chosen.data}")
    try:
        record = performance.perform(screen)
    except KeyboardInterrupt:
        note(f"hone: stopped; what there is of the demo is in {chosen.data}")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        say_json(outcome.to_json(record, performance.report))
    else:
        say("\n".join(outcome.lines(record, performance.report)))
    if not record.promoted:
        raise Conflict(f"Nothing was promoted: {record.ending}.")


def _settings(data: Path | None, port: int | None) -> Settings:
    """The settings for all that is not the profile's: where the data lies and which port is used."""
    from agent.demo import stage

    base = config.load()
    folder = stage.choose_folder(data, Path.cwd())
    gateway = base.gateway.model_copy(update={"port": port or stage.free_port()})
    return base.model_copy(update={"data": folder, "gateway": gateway})


def _agree(model: "ModelDetails") -> bool:
    """Show the operator what speaks for the version, and ask."""
    import signal

    from agent.demo.findings import evidence_words

    for line in evidence_words(model):
        note(line)
    # The loop that runs would take Ctrl-C for itself and let the question stand.
    taken = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return typer.confirm(f"Make {model.id} the champion?", err=True)
    except typer.Abort:
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, taken)
