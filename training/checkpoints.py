"""Checkpoints of a training: which one is whole, and belongs to the same rows, so that a restart can go on from it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from core.disk import sync
from core.types import JsonObject
from training.files import get, put

MARK = "whole.json"
"""Written into a checkpoint after everything else of it is on the disk."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint, with the seconds of training and the mean loss up to it."""

    path: Path
    step: int
    seconds: float
    loss: float


def seal(checkpoint: Checkpoint, digest: str) -> None:
    """Declare a checkpoint whole; `digest` is over what was learned from."""
    path = checkpoint.path
    for file in (*path.iterdir(), path):
        sync(file)
    done: JsonObject = {"step": checkpoint.step, "seconds": checkpoint.seconds, "loss": checkpoint.loss}
    put(path / MARK, {"digest": digest, **done})


def newest(folder: Path, digest: str) -> Checkpoint | None:
    """The newest whole checkpoint for these rows; whatever else is in the folder goes."""
    found: list[Checkpoint] = []
    for path in folder.glob("checkpoint-*"):
        mark = get(path / MARK)
        if mark and mark["digest"] == digest:
            found.append(Checkpoint(path, mark["step"], mark["seconds"], mark["loss"]))
        else:
            shutil.rmtree(path)
    return max(found, key=lambda checkpoint: checkpoint.step, default=None)
