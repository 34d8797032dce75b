"""How far a training is, in a file that others may read at any moment. Knows no trainer."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import orjson

from core.clock import Clock, now
from core.types import JsonObject

EVERY = 0.5
"""Seconds between two writes."""


class Stage(StrEnum):
    """What the trainer is doing."""

    LOADING = "loading"
    TRAINING = "training"
    EVALUATING = "evaluating"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Point:
    """Where a stage stands. Tokens are real ones, without padding; the time left is that of the stage."""

    stage: Stage
    step: int = 0
    steps: int = 0
    loss: float | None = None
    tokens_per_second: float | None = None
    pad_share: float | None = None
    eta_seconds: float | None = None

    def to_json(self, at: int) -> JsonObject:
        return {
            "stage": self.stage,
            "step": self.step,
            "steps": self.steps,
            "loss": self.loss,
            "tokens_per_second": self.tokens_per_second,
            "pad_share": self.pad_share,
            "eta_seconds": self.eta_seconds,
            "at": at,
        }


class Progress:
    """The progress file of one run."""

    def __init__(self, path: Path, clock: Clock = now, timer: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._timer = timer
        self._last: tuple[Stage, float] | None = None

    def tell(self, point: Point) -> bool:
        """Write where things stand, unless that was done a moment ago; whether it was written now."""
        time = self._timer()
        last_step = point.step == point.steps
        if self._last and self._last[0] is point.stage and time - self._last[1] < EVERY and not last_step:
            return False
        self._last = point.stage, time
        # Nobody needs the file after a power cut, so its bytes need not be on the disk before its name.
        draft = self._path.with_name(f".{self._path.name}")
        draft.write_bytes(orjson.dumps(point.to_json(self._clock())))
        draft.replace(self._path)
        return True
