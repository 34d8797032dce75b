"""Where numbers about an answer come from: each source has a name and says what it can of one answer.

The likelihood of an answer is always taken; of the other ways to ask a version how sure it is, one may be configured.
Self-consistency counts answers that are equal up to case, spaces and punctuation, so that several right wordings make
it lower than it should be. Knows neither when answers are scored nor what is made of the numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Protocol

from core.rules import Calibration
from core.text import same_answer
from core.types import Interaction, Version
from serving.scoring import Scorer

LOGPROB, PROMPT = "logprob", "prompt"
"""Names of scores: mean log-probability a token of the answer, and of the prompt before it."""
P_TRUE, CONSISTENCY = "p_true", "consistency"
"""Names of scores from 0 to 1: what the version says of its own answer, and how often it gives it again."""


class Source(Protocol):
    """Gives scores to answers; the rows are kept under its name."""

    @property
    def name(self) -> str:
        """At most 64 characters."""
        ...

    async def of(self, answer: Interaction) -> Mapping[str, float]:
        """Values by the name of a score, at most 12 characters long; empty when there are none to give.

        Only answers that a version of ours gave are asked about, in words or calling tools. Raises EngineUnavailable,
        after which the answer is asked about again, and EngineFailed, after which it is not.
        """
        ...


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How probable the version finds its answer, and the prompt before it."""

    scorer: Scorer
    name: str = "likelihood"

    async def of(self, answer: Interaction) -> Mapping[str, float]:
        if not (said := text(answer)):
            return {}
        found = await self.scorer.score(_version(answer), answer.messages, said, answer.params.get("tools"))
        if found is None:
            return {}
        return {LOGPROB: found.answer} | ({} if found.prompt is None else {PROMPT: found.prompt})


@dataclass(frozen=True, slots=True)
class PTrue:
    """How sure the version is that its answer is right, when asked."""

    scorer: Scorer
    name: str = P_TRUE

    async def of(self, answer: Interaction) -> Mapping[str, float]:
        if not (said := text(answer)):
            return {}
        found = await self.scorer.belief(_version(answer), answer.messages, said, answer.params.get("tools"))
        return {} if found is None else {P_TRUE: found}


@dataclass(frozen=True, slots=True)
class Consistency:
    """How often the version answers the same when asked again, `samples` times at temperature 1."""

    scorer: Scorer
    samples: int
    name: str = CONSISTENCY

    async def of(self, answer: Interaction) -> Mapping[str, float]:
        if not (given := text(answer)):
            return {}
        again = await self.scorer.again(
            _version(answer), answer.messages, given, self.samples, answer.params.get("tools")
        )
        if not again:
            return {}
        return {CONSISTENCY: sum(same_answer(given, other) for other in again) / len(again)}


def configured(settings: Calibration, scorer: Scorer) -> Sequence[Source]:
    """The likelihood, and the configured source of confidence where that is another one."""
    likelihood = Likelihood(scorer)
    match settings.confidence:
        case "p_true":
            return likelihood, PTrue(scorer)
        case "consistency":
            return likelihood, Consistency(scorer, settings.samples)
    return (likelihood,)


def confidence(name: str, value: float) -> float:
    """The confidence, from 0 to 1, that a score of this name states."""
    return min(max(exp(value) if name == LOGPROB else value, 0.0), 1.0)


def text(answer: Interaction) -> str:
    """The words of an answer; empty for one that has none or calls tools."""
    reply = answer.reply or {}
    said = reply.get("content")
    return said if isinstance(said, str) and not reply.get("tool_calls") else ""


def _version(answer: Interaction) -> Version:
    if answer.served is None:
        raise ValueError(f"no version of ours gave the answer {answer.id}")
    return answer.served
