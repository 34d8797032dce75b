"""Whether a client is asked to rate an answer: drawn by the call's id alone, with the same share for every arm.

The probability goes into the row of each answer that was asked about, and the metric into a header of it. Ids are made
here, so that no client has a hand in the draw. Pure.
"""

from dataclasses import dataclass
from urllib.parse import quote

from agent.ask import Ask
from agent.visit import Header
from core.interactions import MEASUREMENT
from core.types import Subject
from serving.router import bucket

HEADER = "x-hone-ask"
"""On an answer whose rating is asked for: the name under which POST /v1/feedback takes it."""
SALT = "ask"


@dataclass(frozen=True, slots=True)
class Invitation:
    """The request for a rating that a call was drawn for, with the probability that it had."""

    metric: str
    probability: float

    @property
    def header(self) -> Header:
        return (HEADER.encode(), quote(self.metric).encode())


@dataclass(frozen=True, slots=True)
class Invitations:
    """Asks for ratings by `metric` on a `share` of the answers, and on the share `raised` while more are wanted."""

    metric: str
    share: float
    raised: float

    def draw(self, call_id: str, ask: Ask, *, more: bool) -> Invitation | None:
        """Whether the answer to this call will be asked about; never one that is not stored or only measures."""
        name, value = MEASUREMENT
        share = max(self.share, self.raised) if more else self.share
        drawn = bucket(SALT, Subject(call_id)) < share
        if not drawn or not ask.stored or ask.tags.get(name) == value:
            return None
        return Invitation(self.metric, share)
