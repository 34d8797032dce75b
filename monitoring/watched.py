"""A watch together with its rules, in one form for all kinds: numbers, shares, confidences.

Pure. The statistics are those of drift.py and calibration.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import numpy as np

from core.stats import wilson
from core.types import JsonObject, Subject, Verdict
from monitoring import calibration, drift
from monitoring.calibration import CalibrationWatch
from monitoring.drift import ShareWatch, Watch
from monitoring.policy import CalibrationPolicy, DriftPolicy
from monitoring.streams import Observation

RECENT, RECENT_LEAST = 100, 30
"""How many of the last rated subjects are compared with the reference at most, and at least."""


@dataclass(frozen=True, slots=True)
class View:
    """What a watch says now. `theory` is what else there is to know of its error rate."""

    verdict: Verdict
    statistic: float
    threshold: float
    count: int
    says: str
    theory: JsonObject


class Watched(Protocol):
    """A frozen watch; `empty` and `stored` make another one under the same rules."""

    def after(self, observed: Sequence[Observation]) -> Self:
        """The watch after these, oldest first."""
        ...

    def view(self) -> View: ...
    def breach(self) -> str | None:
        """Which bound of quality is breached."""
        ...

    def anew(self) -> Self:
        """The same reference, watched anew."""
        ...

    def empty(self) -> Self: ...
    def to_json(self) -> JsonObject: ...
    def stored(self, body: JsonObject) -> Self:
        """What `to_json` made. Raises KeyError, TypeError or ValueError for anything else."""
        ...


@dataclass(frozen=True, slots=True)
class Numbers:
    """A stream of numbers, of which neither way is better."""

    policy: DriftPolicy
    rng: np.random.Generator = field(compare=False)
    watch: Watch = field(default_factory=Watch)

    def after(self, observed: Sequence[Observation]) -> Self:
        return replace(self, watch=drift.observe(self.watch, [o.value for o in observed], self.policy, self.rng))

    def view(self) -> View:
        found = drift.finding(self.watch, self.policy)
        return _view(found)

    def breach(self) -> None:
        return None

    def anew(self) -> Self:
        return replace(self, watch=drift.restarted(self.watch))

    def empty(self) -> Self:
        return replace(self, watch=Watch())

    def to_json(self) -> JsonObject:
        return drift.to_json(self.watch)

    def stored(self, body: JsonObject) -> Self:
        return replace(self, watch=drift.watch_of(body))


@dataclass(frozen=True, slots=True)
class Shares:
    """A stream of yes and no, of which yes is good; `recent` is what the last subjects said, each once."""

    policy: DriftPolicy
    watch: ShareWatch = field(default_factory=ShareWatch)
    recent: Sequence[tuple[Subject, bool]] = ()

    def after(self, observed: Sequence[Observation]) -> Self:
        watch = drift.observe_share(self.watch, [_good(o) for o in observed], self.policy)
        said = dict(self.recent)
        for observation in observed:
            # A subject's newest word goes to the end.
            said.pop(observation.subject, None)
            said[observation.subject] = _good(observation)
        return replace(self, watch=watch, recent=tuple(said.items())[-RECENT:])

    def view(self) -> View:
        return _view(drift.share_finding(self.watch, self.policy))

    def breach(self) -> str | None:
        """Whether the last subjects like clearly less than the reference less `drop`."""
        n, watch = len(self.recent), self.watch
        if watch.seen < self.policy.min_share_reference or n < RECENT_LEAST:
            return None
        liked, bound = sum(good for _, good in self.recent), watch.good / watch.seen - self.policy.drop
        if wilson(liked, n).high >= bound:
            return None
        return f"{liked} of the last {n} rated subjects were content, below {bound:.0%}"

    def anew(self) -> Self:
        return replace(self, watch=drift.restarted_share(self.watch))

    def empty(self) -> Self:
        return replace(self, watch=ShareWatch(), recent=())

    def to_json(self) -> JsonObject:
        return {"watch": drift.to_json(self.watch), "recent": [[subject, good] for subject, good in self.recent]}

    def stored(self, body: JsonObject) -> Self:
        watch: JsonObject = body["watch"]  # type: ignore[assignment]
        pairs: Sequence[tuple[Subject, bool]] = body["recent"]  # type: ignore[assignment]
        return replace(self, watch=drift.share_watch_of(watch), recent=tuple((s, good) for s, good in pairs))


@dataclass(frozen=True, slots=True)
class Confidences:
    """A stream of confidences, each with what was said of the answer."""

    policy: CalibrationPolicy
    watch: CalibrationWatch = field(default_factory=CalibrationWatch)

    def after(self, observed: Sequence[Observation]) -> Self:
        pairs = [(o.confidence, _good(o)) for o in observed if o.confidence is not None]
        return replace(self, watch=calibration.observe(self.watch, pairs, self.policy))

    def view(self) -> View:
        found = calibration.finding(self.watch, self.policy)
        theory: JsonObject = {"e_value": found.e_value, "run_length": self.policy.run_length}
        return View(found.verdict, found.statistic, found.threshold, found.count, found.says, theory)

    def breach(self) -> None:
        return None

    def anew(self) -> Self:
        return self.empty()

    def empty(self) -> Self:
        return replace(self, watch=CalibrationWatch())

    def to_json(self) -> JsonObject:
        return calibration.to_json(self.watch)

    def stored(self, body: JsonObject) -> Self:
        return replace(self, watch=calibration.watch_of(body))


def _view(found: drift.Finding) -> View:
    theory: JsonObject = {"guaranteed": found.guaranteed}
    return View(found.verdict, found.statistic, found.threshold, found.count, found.says, theory)


def _good(observation: Observation) -> bool:
    return observation.value >= 0.5
