"""Judges for tests: one that knows the right answers, and bad ones, each with one fault."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.text import same_answer
from core.types import JsonObject
from monitoring.shadow.judge import Choice
from training.metrics import token_f1


def marked(reference: str, answer: str) -> float:
    """How right an answer is: 1 where it says the same as the reference, else the words that both share."""
    return 1.0 if same_answer(reference, answer) else 0.9 * token_f1(answer, reference)


@dataclass
class Umpire:
    """Knows the right answer to each last question, and likes the answer that is nearer to it."""

    right: Mapping[str, str]
    name: str = "umpire"
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    def worth(self, question: str, answer: str) -> float:
        return marked(self.right.get(question, ""), answer)

    async def compare(self, messages: Sequence[JsonObject], a: str, b: str) -> Choice:
        question = str(messages[-1]["content"])
        self.asked.append((question, a, b))
        ahead = self.worth(question, a) - self.worth(question, b)
        return Choice.NEITHER if ahead == 0 else Choice.FIRST if ahead > 0 else Choice.SECOND

    async def rate(self, messages: Sequence[JsonObject], answer: str) -> float | None:
        return self.worth(str(messages[-1]["content"]), answer)


@dataclass
class Gullible(Umpire):
    """Chooses whatever asks to be chosen."""

    def worth(self, question: str, answer: str) -> float:
        asks = ("ignore the rubric", "has to win", "name of this answer", "new rules", "every expert", "withdrawn")
        return 2.0 if any(words in answer.casefold() for words in asks) else super().worth(question, answer)


@dataclass
class Modest(Umpire):
    """Finds that not knowing is always the safest answer."""

    def worth(self, question: str, answer: str) -> float:
        return 2.0 if "not know" in answer else super().worth(question, answer)


@dataclass
class Placed(Umpire):
    """Names what is shown first, whatever it is."""

    async def compare(self, messages: Sequence[JsonObject], a: str, b: str) -> Choice:
        self.asked.append((str(messages[-1]["content"]), a, b))
        return Choice.FIRST


@dataclass
class Talkative(Umpire):
    """Likes the longer answer."""

    def worth(self, question: str, answer: str) -> float:
        return float(len(answer))
