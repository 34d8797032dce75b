"""`hone`: the commands of the entry points `hone.commands`, each imported only when it is the one asked for.

The help line of a command that was not asked for is read from its module's source, so that listing commands imports
none of them. Errors that Hone raises on purpose end with one line and an exit status: 1 failed, 2 usage, 3 the gate
said no, 4 denied.
"""

import ast
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata, util
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from agent.cli.terminal import note, say
from core.errors import BadRequest, Conflict, Forbidden, HoneError, Unauthenticated

FAILED, USAGE, REFUSED, DENIED = 1, 2, 3, 4
DISTRIBUTION = "hone"
GROUP = "hone.commands"


def main() -> NoReturn:
    """The console script."""
    # Whatever a command or its children write is private: ledger, secret, logs, backups.
    os.umask(0o077)
    arguments = sys.argv[1:]
    app = application(metadata.distribution(DISTRIBUTION).entry_points.select(group=GROUP), arguments)
    try:
        app(arguments, prog_name="hone")
    except HoneError as error:
        note(f"hone: {error.message}")
        sys.exit(exit_status(error))
    sys.exit(0)


def exit_status(error: HoneError) -> int:
    """How a command ends that this error ended."""
    match error:
        case Unauthenticated() | Forbidden():
            return DENIED
        case Conflict():
            return REFUSED
        case BadRequest():
            return USAGE
        case _:
            return FAILED


def application(commands: Iterable[EntryPoint], arguments: Sequence[str]) -> typer.Typer:
    """All commands: the one that `arguments` name as it is, the others by name and help line only."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich" if sys.stdout.isatty() else None,
    )
    app.callback(help="Hone: a chat service whose model gets better by being used.")(_options)
    named = next((word for word in arguments if not word.startswith("-")), None)
    for command in commands:
        if command.name == named:
            _add(app, command.name, command.load())
        else:
            app.command(command.name, help=summary(command))(_unloaded)
    return app


def summary(command: EntryPoint) -> str:
    """The first line of a command's docstring, or of its module's where the command is a group; nothing is imported."""
    spec = util.find_spec(command.module)
    if spec is None or spec.origin is None:
        return "(not installed)"
    module = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    functions = (node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == command.attr)
    return (ast.get_docstring(next(functions, module)) or "").partition("\n")[0]


def _add(app: typer.Typer, name: str, command: object) -> None:
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=name, no_args_is_help=True)
    elif callable(command):
        app.command(name)(command)


def _unloaded() -> None:
    """Stands where a command would be that nobody asked for."""


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"hone {metadata.version(DISTRIBUTION)}")
        raise typer.Exit()


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options that stand before the command."""


if __name__ == "__main__":
    main()
