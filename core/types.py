"""The words of the domain as immutable records.

Times are microseconds since the epoch (UTC), durations microseconds, shares and probabilities 0..1.
Knows nothing of HTTP, SQL or the engine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from core.lifecycle import Stage

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
JsonObject = Mapping[str, Json]

Subject = NewType("Subject", str)
"""HMAC(install secret, key id, the client's user name or nothing): the unit of assignment and of analysis."""
Version = NewType("Version", str)
"""The immutable served name of an adapter on a base; it contains the content digest and is never reused."""


class Role(StrEnum):
    """What a key may do; each role includes the ones before it."""

    USER = "user"
    REVIEWER = "reviewer"
    OPS = "ops"

    def includes(self, other: "Role") -> bool:
        order = tuple(Role)
        return order.index(self) >= order.index(other)


class Arm(StrEnum):
    """Why a version answered."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"
    SHADOW = "shadow"
    HOLDBACK = "holdback"
    PINNED = "pinned"
    NAMED = "named"
    EXTERNAL = "external"


class Finish(StrEnum):
    """How an answer ended; the first four are the engine's own words."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    CANCELLED = "cancelled"
    ERROR = "error"


class Verdict(StrEnum):
    """What a check found; `warming` means that its reference is not complete, and never reads as good."""

    WARMING = "warming"
    OK = "ok"
    ALARM = "alarm"


class RunState(StrEnum):
    REQUESTED = "requested"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ExperimentKind(StrEnum):
    AB = "ab"
    HOLDBACK = "holdback"


class ExperimentState(StrEnum):
    RUNNING = "running"
    CONCLUDED = "concluded"
    STOPPED = "stopped"
    INVALIDATED = "invalidated"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who holds a key. `id` is the key's id; `root` the principal it counts as (a key made by another, for 24 h)."""

    id: str
    name: str
    role: Role
    root: str


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which version a call should go to, why, and with what probability."""

    arm: Arm
    version: Version
    propensity: float
    revision: int
    experiment: str | None = None
    reserve: Version | None = None
    """The champion that answers once if the assigned challenger fails before its first byte."""


@dataclass(frozen=True, slots=True)
class Holdback:
    """The share of subjects that stays on the version before a promotion."""

    version: Version
    share: float
    salt: str


@dataclass(frozen=True, slots=True)
class Split:
    """A running A/B: `share` of the subjects meet `challenger`, chosen by a hash salted with `salt`."""

    experiment: str
    challenger: Version
    share: float
    salt: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Who answers whom, at one revision: the one state row that makes a version the champion."""

    revision: int
    champion: Version
    previous: Version | None = None
    shadow: Version | None = None
    split: Split | None = None
    holdback: Holdback | None = None

    def live(self) -> frozenset[Version]:
        """Every version that the engine must hold for this plan."""
        parts = (
            self.champion,
            self.previous,
            self.shadow,
            self.split and self.split.challenger,
            self.holdback and self.holdback.version,
        )
        return frozenset(version for version in parts if version)


@dataclass(frozen=True, slots=True)
class Interaction:
    """One call and its answer. `messages` and `reply` are empty when the client asked not to store them."""

    id: str
    created_at: int
    kind: str
    key_id: str
    subject: Subject
    arm: Arm
    assigned: Version
    served: Version | None
    propensity: float
    revision: int
    finish: Finish
    config_digest: str
    messages: Sequence[JsonObject] = ()
    reply: JsonObject | None = None
    experiment: str | None = None
    conversation: str | None = None
    parent: str | None = None
    request_id: str | None = None
    params: JsonObject = field(default_factory=dict)
    tags: JsonObject = field(default_factory=dict)
    error: str | None = None
    stream: bool = False
    stored: bool = True
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    first_token: int | None = None
    duration: int | None = None
    provider: str | None = None
    cost: float | None = None
    asked: float | None = None
    """The probability with which a rating was solicited for this answer; None when it was not asked."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """One judgement of one answer. `value` is 0..1 for thumbs, in the metric's own range otherwise."""

    id: str
    created_at: int
    interaction: str
    name: str
    value: float | None
    label: str | None
    actor: str
    key_id: str
    role: Role
    comment: str | None = None
    reasons: Sequence[str] = ()
    correction: str | None = None
    tags: JsonObject = field(default_factory=dict)
    superseded_by: str | None = None
    retracted_at: int | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """One number about one answer, from one named source, by the version that gave the answer."""

    id: str
    created_at: int
    interaction: str
    version: Version
    source: str
    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Check:
    """One look at a stream of scores or labels: what was computed, against which threshold, and the verdict."""

    id: str
    created_at: int
    kind: str
    stream: str
    version: Version | None
    statistic: float | None
    threshold: float | None
    verdict: Verdict
    count: int
    details: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """One training run, from request to candidate or failure. `recipe` holds what was asked for beyond the default."""

    id: str
    created_at: int
    state: RunState
    method: str
    recipe: JsonObject
    reason: str
    requester: str
    trigger: str | None = None
    progress: JsonObject = field(default_factory=dict)
    attempts: int = 0
    dataset: str | None = None
    model: Version | None = None
    error: str | None = None
    started_at: int | None = None
    ended_at: int | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A version: an adapter on a base. `path` is its folder among the artifacts, `revision` counts its moves."""

    id: Version
    created_at: int
    stage: Stage
    revision: int
    base: str
    base_digest: str
    digest: str
    path: str
    parent: Version | None = None
    run: str | None = None
    manifest: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShareStep:
    """The challenger's share for calls that were assigned under a plan of `revision` or newer."""

    revision: int
    share: float
    at: int


@dataclass(frozen=True, slots=True)
class Experiment:
    """A comparison on live subjects. Of a hold-back the `champion` is the version before, the `challenger` the one that
    was promoted. `share` is the challenger's now, `steps` how it came there."""

    id: str
    created_at: int
    kind: ExperimentKind
    champion: Version
    challenger: Version
    salt: str
    share: float
    state: ExperimentState
    steps: Sequence[ShareStep] = ()
    ended_at: int | None = None
    reason: str | None = None
