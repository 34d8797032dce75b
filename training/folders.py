"""The folders of runs on this machine: which stay, and what of them.

A run that has ended needs no checkpoints; what it came to is in the ledger and among the artifacts.
"""

import shutil
from pathlib import Path

from core.config import Settings
from training.order import CHECKPOINTS


def place(settings: Settings, run: str = "") -> Path:
    """The folder of a run, or of all runs."""
    return settings.data / "runs" / run


def clear(folder: Path) -> None:
    """An empty folder, whatever was there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)


def tidy(everything: Path, keep: int, opened: str | None) -> None:
    """Leave the folders of the last `keep` runs that ended, without their checkpoints, and that of the open run.

    Ids sort by time, so names do.
    """
    if not everything.exists():
        return
    ended = sorted((path for path in everything.iterdir() if path.is_dir() and path.name != opened), reverse=True)
    for path in ended[keep:]:
        shutil.rmtree(path, ignore_errors=True)
    for path in ended[:keep]:
        shutil.rmtree(path / CHECKPOINTS, ignore_errors=True)
