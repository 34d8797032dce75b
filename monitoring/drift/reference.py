"""What the values of a stream were while nothing was wrong, apart for each phase of the day or week.

Pure. A value is ranked among those of about its own hour only, so that night is not compared with noon: the Mondrian
form of conformal prediction. Knows neither thresholds nor alarms.
"""

from array import array
from base64 import b64decode, b64encode
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate
from typing import Literal, TypedDict, cast

import numpy as np

from core.clock import HOUR
from core.types import JsonObject
from monitoring.drift.phase import Phase, normal_score, single
from monitoring.policy import DriftPolicy

PHASE = HOUR
"""Traffic changes within a phase as well. With a daily swing of .7 standard deviations and 1,000 values a day phases of
one hour keep .89 of the stated run length, those of two .71, those of three .43 (simulated)."""
FEWEST = 25
"""Values that a full phase has at least: a cycle that would leave it fewer gets fewer and longer phases."""
ENOUGH = 200
"""Values of a full phase from which on the two beside it join it when a value is ranked. 24 phases of 208 values find
half a standard deviation in 59 turns so, in 65 each by itself; one phase of 5,000 does in 55 (simulated, 1,000 turns a
day). What smaller phases share would be off too far: three of 29 keep .64 of the stated run length, one of 29 1.1."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The phases of a cycle, and the times of the first and last value that were taken untested.

    `recent` is what the last values did, oldest first: the phase, and the value that it took or the score that it was
    taught. So they can be taken back when they turn out to belong to a change.
    """

    phases: Sequence[Phase] = ()
    first: int | None = None
    last: int | None = None
    recent: Sequence[tuple[int, float]] = ()

    @property
    def size(self) -> int:
        return sum(len(phase.values) for phase in self.phases)

    def lacks(self, policy: DriftPolicy) -> str:
        """What is missing until values can be compared with it; empty when nothing is."""
        seen = sum([phase.seen for phase in self.phases])
        if seen < policy.min_reference:
            return f"{seen} of {policy.min_reference} observations"
        span = (self.last or 0) - (self.first or 0)
        return f"{span // HOUR} of {policy.cycle / HOUR:g} hours" if span < policy.cycle else ""


def phases(policy: DriftPolicy) -> int:
    """How many phases the cycle has."""
    return max(1, min(policy.cycle // PHASE, policy.max_reference // FEWEST))


def met(
    reference: Reference, values: Iterable[tuple[float, int]], policy: DriftPolicy, rng: np.random.Generator
) -> tuple[Reference, Sequence[float]]:
    """The reference after these values, each with its time, oldest first; and the scores of those it could test.

    While it warms values are taken untested, in a fair selection where a phase has too many; then each one after its
    test, until the phase is full: only against its own past is a rank uniform. Raises ValueError for one not finite.
    """
    coming = ((single(value), at) for value, at in values)
    if reference.lacks(policy):
        reference = _warmed(reference, coming, policy, rng)
    parts, recent, scores = list(reference.phases), list(reference.recent), list[float]()
    most = policy.max_reference // max(1, len(parts))
    around = _around(len(parts), most >= ENOUGH)
    for value, at in coming:
        k = _place(at, policy.cycle, len(parts))
        phase, near = parts[k], [parts[j].values for j in around[k]]
        score = normal_score(near, value, 1 - rng.random())
        scores.append(phase.standard(score, sum(map(len, near))))
        full = len(phase.values) >= most
        parts[k] = phase.taught(score) if full else phase.with_value(value)
        recent.append((k, score if full else value))
    return replace(reference, phases=tuple(parts), recent=tuple(recent)), scores


def _warmed(
    reference: Reference, coming: Iterator[tuple[float, int]], policy: DriftPolicy, rng: np.random.Generator
) -> Reference:
    """The reference with values taken untested until it lacks nothing, or there are no more."""
    parts = list(reference.phases) or [Phase()] * phases(policy)
    seen, first, last = sum(phase.seen for phase in parts), reference.first, reference.last
    most = policy.max_reference // len(parts)
    for value, at in coming:
        k = _place(at, policy.cycle, len(parts))
        parts[k] = parts[k].collected(value, most, rng)
        seen += 1
        first, last = (at, at) if first is None or last is None else (min(first, at), max(last, at))
        if seen >= policy.min_reference and last - first >= policy.cycle:
            break
    return Reference(tuple(parts), first, last)


def _place(at: int, cycle: int, count: int) -> int:
    """Which of `count` phases this time is in."""
    return at % cycle * count // cycle if cycle else 0


@cache
def _around(count: int, beside: bool) -> Sequence[Sequence[int]]:
    """For each of `count` phases those that its values are ranked among."""
    reach = (-1, 0, 1) if beside else (0,)
    return tuple(tuple(sorted({(k + step) % count for step in reach})) for k in range(count))


def without_last(reference: Reference, count: int) -> Reference:
    """The reference as if the last `count` tested values had not been; `recent` is empty then."""
    parts = list(reference.phases)
    for k, amount in reversed(reference.recent[max(0, len(reference.recent) - count) :]):
        parts[k] = _less(parts[k], amount)
    return replace(reference, phases=tuple(parts), recent=())


def _less(phase: Phase, amount: float) -> Phase:
    # What a phase was taught came after all the values that it took.
    if phase.count:
        return phase.taught(amount, -1)
    return phase.without_value(bisect_left(phase.values, amount))


def keeping(reference: Reference, count: int) -> Reference:
    """The reference that can take back its last `count` values only."""
    return replace(reference, recent=reference.recent[max(0, len(reference.recent) - count) :])


class _Stored(TypedDict):
    sizes: list[int]
    seen: list[int]
    counts: list[int]
    values: str
    totals: str
    squares: str
    first: int | None
    last: int | None
    recent: list[int]
    amounts: str


def to_json(reference: Reference) -> JsonObject:
    """To store: all values and sums packed, since there are thousands of them."""
    parts, recent = reference.phases, reference.recent
    return {
        "sizes": [len(phase.values) for phase in parts],
        "seen": [phase.seen for phase in parts],
        "counts": [phase.count for phase in parts],
        "values": _packed(array("f", (value for phase in parts for value in phase.values))),
        "totals": _packed(array("d", (phase.total for phase in parts))),
        "squares": _packed(array("d", (phase.squares for phase in parts))),
        "first": reference.first,
        "last": reference.last,
        "recent": [k for k, _ in recent],
        "amounts": _packed(array("d", (amount for _, amount in recent))),
    }


def reference_of(stored: JsonObject) -> Reference:
    """The reference that `to_json` stored. Raises KeyError, TypeError or ValueError for anything else."""
    body = cast(_Stored, stored)
    values, ends = _unpacked(body["values"], "f"), list(accumulate(body["sizes"]))
    if len(values) != (ends[-1] if ends else 0):
        raise ValueError(f"a stored reference has {len(values)} values, not the {ends[-1:]} of its phases")
    parts = [values[end - size : end] for end, size in zip(ends, body["sizes"], strict=True)]
    sums = _unpacked(body["totals"], "d"), _unpacked(body["squares"], "d")
    columns = zip(parts, body["seen"], body["counts"], *sums, strict=True)
    recent = zip(body["recent"], _unpacked(body["amounts"], "d"), strict=True)
    return Reference(tuple(Phase(*each) for each in columns), body["first"], body["last"], tuple(recent))


def _packed(numbers: "array[float]") -> str:
    return b64encode(numbers.tobytes()).decode()


def _unpacked(text: str, kind: Literal["f", "d"]) -> "array[float]":
    numbers = array(kind)
    numbers.frombytes(b64decode(text, validate=True))
    return numbers
