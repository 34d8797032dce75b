"""Upgrade, back up and restore the ledger."""

from pathlib import Path
from typing import Annotated

import typer

from agent.cli.instance import Instance
from agent.cli.terminal import note
from core import config
from core.errors import SetupError

app = typer.Typer(help=__doc__)


@app.command()
def upgrade() -> None:
    """Bring the database to this version's schema; `hone up` does so by itself."""
    from core import migrate

    settings = config.load()
    Instance(settings.data).make_folders()
    migrate.upgrade(settings.database_url)
    note(f"hone: the ledger is at revision {migrate.head()}.")


@app.command()
def backup(target: Annotated[Path, typer.Argument(help="The tar file to write.")]) -> None:
    """Write ledger, secret and artifacts into one file; consistent while Hone runs."""
    from agent.cli.local import check_exists
    from core import backup as backups

    settings = config.load()
    check_exists(settings)
    backups.backup(settings, target)
    note(f"hone: backed up to {target}. It holds the secret: keep it as safe as the data folder.")


@app.command()
def restore(source: Annotated[Path, typer.Argument(help="The tar file that `hone db backup` wrote.")]) -> None:
    """Put a backup into an empty data folder."""
    from core import backup as backups

    settings = config.load()
    if Instance(settings.data).claimed():
        raise SetupError(f"Hone runs on {settings.data}; `hone stop` it, then restore into an empty folder.")
    backups.restore(settings, source)
    note(f"hone: restored to {settings.data}; `hone up` goes on from there.")
