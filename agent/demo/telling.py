"""Telling what happens: into the record with the time of it, and onto the timeline."""

import time
from collections.abc import Callable
from dataclasses import replace

from agent.demo.record import Act, Batch, Loss, Moment, Record, Scene, Sign
from agent.demo.timeline import Timeline
from agent.demo.town import Served
from core import clock
from core.clock import SECOND


class Telling:
    """The one who writes the record; every word is shown at once."""

    def __init__(self, record: Record, timeline: Timeline, timer: Callable[[], float] = time.monotonic) -> None:
        self.record = record
        self._timeline = timeline
        self._timer = timer
        self._start = timer()

    @property
    def now(self) -> float:
        """Seconds since the demo began."""
        return self._timer() - self._start

    @property
    def began_at(self) -> int:
        """When the demo began, in microseconds since the epoch."""
        return clock.now() - round(self.now * SECOND)

    @property
    def act(self) -> Act:
        """The act that goes on."""
        return self.record.scenes[-1].act

    def begin(self, act: Act) -> None:
        self.record.scenes.append(Scene(act, self.now))
        self._show()

    def say(self, words: str, done: float = 0.0) -> None:
        """What is going on in the act, and how far it has come (0..1) where that is known."""
        self.record.done = done
        self.record.scenes[-1] = replace(self.record.scenes[-1], says=words)
        self._show()

    def end(self, words: str) -> None:
        """The act is over; what came of it."""
        self.record.done = 0.0
        self.record.scenes[-1] = replace(self.record.scenes[-1], says=words, end=self.now)
        self._show()

    def mark(self, sign: Sign, words: str) -> None:
        self.record.moments.append(Moment(self.now, sign, words))
        self._show()

    def served(self, batch: Served) -> None:
        """Customers were served."""
        self.record.batches.append(Batch(self.now, batch.asked, batch.right))
        self.failed(batch.failed, batch.failure)
        self._show()

    def failed(self, calls: int, what: str | None) -> None:
        """Calls failed for good; the first of all is kept in its own words."""
        self.record.failed += calls
        self.record.failure = self.record.failure or what or ""

    def trained(self, step: int, loss: float) -> None:
        """The loss at a step, unless that step was told before."""
        if not self.record.losses or step > self.record.losses[-1].step:
            self.record.losses.append(Loss(step, loss))

    def pause(self) -> None:
        """Leave the screen to a question."""
        self._timeline.pause()

    def _show(self) -> None:
        self.record.seconds = self.now
        self._timeline.show(self.record)
