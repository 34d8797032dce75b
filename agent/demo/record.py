"""What happened in a demo, as plain values: acts, moments, answers, losses, looks, findings. Times are seconds of it.

The timeline and the report are drawn from this alone. Knows neither Hone nor how anything is drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from agent.demo.profile import Change
from core.stats import Interval, wilson


class Act(StrEnum):
    """The acts, in their order."""

    START = "Start"
    BEFORE = "Before"
    ORDINARY = "Ordinary traffic"
    SHIFT = "The shift"
    TRAINING = "Training"
    GATE = "Offline gate"
    SHADOW = "Shadow"
    AB = "A/B test"
    APPROVAL = "Approval"
    AFTER = "After"
    RETURN = "Back and forth"
    STOP = "Stop"


class Sign(StrEnum):
    """What a moment is."""

    DRIFT = "drift noticed"
    RUN = "run started"
    CANDIDATE = "candidate registered"
    SHADOW = "into shadow"
    AB = "into the A/B test"
    EVIDENCE = "evidence frozen"
    PROMOTED = "promoted"
    BACK = "rolled back"
    AGAIN = "rolled forward"


@dataclass(frozen=True, slots=True)
class Scene:
    """One act: when it began and ended (None: it goes on), and what is said of it."""

    act: Act
    start: float
    end: float | None = None
    says: str = ""


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened at one time, in Hone's own words."""

    at: float
    sign: Sign
    says: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Customers who were served up to a time, and how many of them got the right answer."""

    at: float
    asked: int
    right: int


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss of the training at one step."""

    step: int
    loss: float


@dataclass(frozen=True, slots=True)
class Look:
    """What a comparison said at one look: candidate minus champion, with its confidence sequence."""

    at: float
    subjects: int
    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Compared:
    """How the candidate did beside the champion, in the end: the difference with its interval, over so many units."""

    where: str
    units: int
    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Control:
    """What one control of a gate said, and why."""

    stage: str
    name: str
    ruling: str
    says: str


@dataclass(frozen=True, slots=True)
class Share:
    """How many of the questions asked were answered right."""

    n: int
    right: int

    @property
    def rate(self) -> float | None:
        return self.right / self.n if self.n else None

    @property
    def interval(self) -> Interval:
        return wilson(self.right, self.n)

    def __str__(self) -> str:
        return "-" if self.rate is None else f"{self.rate:.1%}"


@dataclass(frozen=True, slots=True)
class Measured:
    """The held-back rows of one phase, before and after; None: not measured."""

    phase: str
    before: Share
    after: Share | None = None


@dataclass(slots=True)
class Record:
    """Everything about one demo, growing while it runs."""

    data: str
    scenario: str
    changes: Sequence[Change] = ()
    url: str = ""
    scenes: list[Scene] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    compared: list[Compared] = field(default_factory=list)
    ab: list[Look] = field(default_factory=list)
    controls: list[Control] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)
    champion: str = ""
    candidate: str = ""
    requester: str = ""
    evidence_digest: str = ""
    promoted: bool = False
    promotion_seconds: float | None = None
    rollback_seconds: float | None = None
    failed: int = 0
    failure: str = ""
    ending: str = ""
    """Why it ended before its end; empty when it did not."""
    seconds: float = 0.0
    done: float = 0.0
    """How far what is under way has come, 0..1; 0 where nobody knows."""

    @property
    def asked(self) -> int:
        return sum(batch.asked for batch in self.batches)

    @property
    def right(self) -> int:
        return sum(batch.right for batch in self.batches)

    def moment(self, sign: Sign) -> Moment | None:
        """The first moment of a kind."""
        return next((moment for moment in self.moments if moment.sign is sign), None)

    def scene(self, act: Act) -> Scene | None:
        return next((scene for scene in self.scenes if scene.act is act), None)
