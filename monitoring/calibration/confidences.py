"""The watch over confidences: each with what was said of the answer, so that it shows whether it means what it says.

Pure. They come as the version's map has them, and only for answers that the map has not seen (maps.py); the statistics
are those of betting.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from core.types import JsonObject
from monitoring.calibration import betting
from monitoring.calibration.betting import CalibrationWatch
from monitoring.drift.streams import Observation
from monitoring.drift.watched import View, is_good
from monitoring.policy import CalibrationPolicy


@dataclass(frozen=True, slots=True)
class Confidences:
    """A stream of confidences, each with what was said of the answer."""

    policy: CalibrationPolicy
    watch: CalibrationWatch = field(default_factory=CalibrationWatch)

    def after(self, observed: Sequence[Observation]) -> Self:
        pairs = [(o.confidence, is_good(o)) for o in observed if o.confidence is not None]
        return replace(self, watch=betting.observe(self.watch, pairs, self.policy))

    def view(self) -> View:
        found = betting.finding(self.watch, self.policy)
        theory: JsonObject = {"e_value": found.e_value, "run_length": self.policy.run_length}
        return View(found.verdict, found.statistic, found.threshold, found.count, found.says, theory)

    def breach(self) -> None:
        return None

    def anew(self) -> Self:
        return self.empty()

    def empty(self) -> Self:
        return replace(self, watch=CalibrationWatch())

    def to_json(self) -> JsonObject:
        return betting.to_json(self.watch)

    def stored(self, body: JsonObject) -> Self:
        return replace(self, watch=betting.watch_of(body))
