"""Everything that is watched of a champion: how each stream is read, with what, and what its alarm means and asks for.

Answers are worse when somebody said so (thumbs, the judge), or when they are at fault whatever was asked: they say that
they know nothing, or call tools in a way that cannot work. That a refusal may be right does not make it an answer; a
run starts only once people have said what would have been one. Everything else is traffic: the questions are others
(distance, length and probability of prompts), or the answers look different (their probability, length and pace), which
is no harm by itself and as often follows from other questions as from anything wrong with the model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import numpy as np
from sqlalchemy import Connection

from core.types import Version
from monitoring.calibration import maps
from monitoring.calibration.confidences import Confidences
from monitoring.drift import streams
from monitoring.drift.arrivals import Arrivals
from monitoring.drift.condition import Action, Side
from monitoring.drift.numbers import SHIFTS, restarted
from monitoring.drift.replies import REFUSAL, TOOL_ERROR
from monitoring.drift.streams import Observation
from monitoring.drift.watched import Numbers, Shares, Watched
from monitoring.policy import DriftPolicy, Policies
from monitoring.scoring.scores import LOGPROB, PROMPT

DRIFT, CALIBRATION = "drift", "calibration"
THUMBS, JUDGE, DISTANCE, CONFIDENCE = "thumbs", "judge", "distance", "confidence"
LENGTH, PROMPT_LENGTH, LATENCY = "length", "prompt_length", "latency"
WORSE = frozenset({THUMBS, JUDGE, REFUSAL, TOOL_ERROR})
"""The streams whose alarms say that answers got worse."""

_RETRAIN = "a run starts by itself once there is enough to train on"
_LABELS = "whether answers suffer, only ratings tell; a run starts if they fall as well"


@dataclass(frozen=True, slots=True)
class Falling(Numbers):
    """A stream of numbers of which only a fall is worse: after a rise it is watched on against the same reference."""

    def after(self, observed: Sequence[Observation]) -> Self:
        found = Numbers.after(self, observed)
        rose = found.watch.alarm is not None and SHIFTS[found.watch.best] > 0
        return replace(found, watch=restarted(found.watch)) if rose else found


@dataclass(frozen=True, slots=True)
class Stream:
    """Something to watch: how it is read, with what, which state it speaks about, and what an alarm asks for."""

    kind: str
    name: str
    read: Callable[[Connection, Version, Arrivals], Sequence[Observation]]
    watched: Watched
    action: Action
    reason: str
    side: Side | None = None
    vital: bool = True

    def state(self, version: Version) -> str:
        """The name under which its standing is kept."""
        return f"{DRIFT}/{self.name}/{version}" if self.kind == DRIFT else f"{self.kind}/{version}"


@dataclass(frozen=True, slots=True)
class Watchlist:
    """The streams, and the policy of those that are watched for drift."""

    streams: Sequence[Stream]
    policy: DriftPolicy


def all_streams(policies: Policies, rng: np.random.Generator) -> Watchlist:
    """Everything that is watched."""
    drift = policies.drift
    listed = (*_judged(drift, rng), *_asked(Numbers(drift, rng)), *_given(Numbers(drift, rng)), _calibration(policies))
    return Watchlist(listed, drift)


def _judged(policy: DriftPolicy, rng: np.random.Generator) -> Sequence[Stream]:
    """Whether answers are good: shares of those that are, and the judge's marks."""
    # Faults are rarer than thumbs down: a smaller rise is news.
    shares, faults = Shares(policy), Shares(replace(policy, drop=policy.drop / 2), falls="more often")
    faultless = streams.faultless
    return (
        _worse(THUMBS, partial(streams.thumbs, metric=THUMBS), shares, vital=True),
        _worse(JUDGE, partial(streams.scored, name=JUDGE), Falling(policy, rng), vital=True),
        _worse(REFUSAL, partial(faultless, name=REFUSAL), faults, vital=False),
        _worse(TOOL_ERROR, partial(faultless, name=TOOL_ERROR), faults, vital=False),
    )


def _asked(numbers: Numbers) -> Sequence[Stream]:
    """What people ask."""
    return (
        _changed(DISTANCE, partial(streams.scored, name=DISTANCE), numbers, Action.LABELS, _LABELS),
        _changed(PROMPT, partial(streams.scored, name=PROMPT), numbers, Action.LABELS, _LABELS),
        _changed(PROMPT_LENGTH, streams.prompt_lengths, numbers, Action.LABELS, _LABELS),
    )


def _given(numbers: Numbers) -> Sequence[Stream]:
    """How answers look."""
    unharmed = "longer or shorter is neither better nor worse, unless ratings fall as well"
    machine = "training changes no pace; look at the engine and its load"
    return (
        _changed(LOGPROB, partial(streams.scored, name=LOGPROB), numbers, Action.LABELS, _LABELS),
        _changed(LENGTH, streams.lengths, numbers, Action.IGNORE, unharmed),
        _changed(LATENCY, streams.paces, numbers, Action.IGNORE, machine),
    )


def _calibration(policies: Policies) -> Stream:
    read = partial(maps.confidences, metric=THUMBS, name=policies.calibration.source)
    reason = "confidence no longer says how often answers are liked"
    watched = Confidences(policies.calibration)
    return Stream(CALIBRATION, CONFIDENCE, read, watched, Action.RECALIBRATE, reason)


def _worse(
    name: str, read: Callable[[Connection, Version, Arrivals], Sequence[Observation]], watched: Watched, *, vital: bool
) -> Stream:
    return Stream(DRIFT, name, read, watched, Action.RETRAIN, _RETRAIN, Side.ANSWERS, vital)


def _changed(
    name: str,
    read: Callable[[Connection, Version, Arrivals], Sequence[Observation]],
    watched: Watched,
    action: Action,
    reason: str,
) -> Stream:
    return Stream(DRIFT, name, read, watched, action, reason, Side.TRAFFIC)
