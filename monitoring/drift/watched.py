"""A watch together with its rules, in one form for all kinds; here those of numbers.py and shares.py.

Pure. Confidences are watched in confidences.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import numpy as np

from core.stats import wilson
from core.types import JsonObject, Subject, Verdict
from monitoring.drift import numbers, reference, shares
from monitoring.drift.detection import Finding
from monitoring.drift.numbers import Watch
from monitoring.drift.shares import ShareWatch
from monitoring.drift.streams import Observation
from monitoring.policy import DriftPolicy

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
        values = [(o.value, o.at) for o in observed]
        return replace(self, watch=numbers.observe(self.watch, values, self.policy, self.rng))

    def view(self) -> View:
        return _view(numbers.finding(self.watch, self.policy))

    def breach(self) -> None:
        return None

    def anew(self) -> Self:
        return replace(self, watch=numbers.restarted(self.watch))

    def empty(self) -> Self:
        return replace(self, watch=Watch())

    def to_json(self) -> JsonObject:
        return numbers.to_json(self.watch)

    def stored(self, body: JsonObject) -> Self:
        """A watch whose reference has other phases, since the settings changed, starts anew."""
        watch = numbers.watch_of(body)
        fits = len(watch.reference.phases) in (0, reference.phases(self.policy))
        return replace(self, watch=watch) if fits else self.empty()


@dataclass(frozen=True, slots=True)
class Shares:
    """A stream of yes and no, of which yes is good; `recent` is what the last subjects said, each once.

    `falls` says in words what less of yes is: of a stream named after a fault, more of it.
    """

    policy: DriftPolicy
    watch: ShareWatch = field(default_factory=ShareWatch)
    recent: Sequence[tuple[Subject, bool]] = ()
    falls: str = "lower"

    def after(self, observed: Sequence[Observation]) -> Self:
        watch = shares.observe(self.watch, [is_good(o) for o in observed], self.policy)
        said = dict(self.recent)
        for observation in observed:
            # A subject's newest word goes to the end.
            said.pop(observation.subject, None)
            said[observation.subject] = is_good(observation)
        return replace(self, watch=watch, recent=tuple(said.items())[-RECENT:])

    def view(self) -> View:
        return _view(shares.finding(self.watch, self.policy, self.falls))

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
        return replace(self, watch=shares.restarted(self.watch))

    def empty(self) -> Self:
        return replace(self, watch=ShareWatch(), recent=())

    def to_json(self) -> JsonObject:
        return {"watch": shares.to_json(self.watch), "recent": [[subject, good] for subject, good in self.recent]}

    def stored(self, body: JsonObject) -> Self:
        watch: JsonObject = body["watch"]  # type: ignore[assignment]
        pairs: Sequence[tuple[Subject, bool]] = body["recent"]  # type: ignore[assignment]
        return replace(self, watch=shares.watch_of(watch), recent=tuple((s, good) for s, good in pairs))


def _view(found: Finding) -> View:
    theory: JsonObject = {"guaranteed": found.guaranteed}
    return View(found.verdict, found.statistic, found.threshold, found.count, found.says, theory)


def is_good(observation: Observation) -> bool:
    return observation.value >= 0.5
