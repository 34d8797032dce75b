"""What the folder of a run says while the run is under way: its progress, and the end of its log.

The trainer writes there, on the machine where it runs; elsewhere there is nothing, and the ledger's row must do.
"""

from dataclasses import dataclass
from pathlib import Path

import orjson

from core.types import JsonObject, Run, RunState

RUNS = "runs"
PROGRESS, LOG = "progress.json", "trainer.log"
TAIL = 1 << 15
"""Bytes of the log that are read."""
LINES, WIDEST = 100, 500


@dataclass(frozen=True, slots=True)
class RunFolders:
    """The folders of all runs under the data folder."""

    data: Path

    def progress(self, run: Run) -> JsonObject:
        """The newest word on how far a run is: the trainer's own while it trains, else what the row holds."""
        if run.state is not RunState.RUNNING:
            return run.progress
        told = _object(self._folder(run) / PROGRESS)
        return {**run.progress, **told} if _at(told) >= _at(run.progress) else run.progress

    def log(self, run: Run) -> list[str]:
        """The last lines of what the trainer wrote."""
        try:
            with (self._folder(run) / LOG).open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - TAIL))
                text = file.read(TAIL).decode(errors="replace")
        except OSError:
            return []
        lines = text.splitlines()[-LINES:]
        return [line[:WIDEST] for line in lines]

    def _folder(self, run: Run) -> Path:
        return self.data / RUNS / run.id


def _object(path: Path) -> JsonObject:
    try:
        value = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return value if isinstance(value, dict) else {}


def _at(progress: JsonObject) -> int:
    at = progress.get("at")
    return at if isinstance(at, int) else 0
