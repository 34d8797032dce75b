"""What hone-tiny can do, measured by greedy answers to questions that training never sees, against fixed bars."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from .answers import share_right
from .conversation import Conversation, Desk
from .questions import (
    COMBINATIONS,
    TEMPLATES,
    about_stranger,
    about_taught,
    draw,
    follow_up,
    odd,
    off_topic,
    small_talk,
)

SEED = 2024


@dataclass(frozen=True, slots=True)
class Exam:
    """Questions of one sort, and the least share of right answers; 0 where the share is only told."""

    name: str
    questions: Sequence[Conversation]
    least: float = 0.0


@dataclass(frozen=True, slots=True)
class Figure:
    """The share of right answers in one exam."""

    name: str
    share: float
    asked: int
    least: float = 0.0

    @property
    def met(self) -> bool:
        """Whether the figure reaches its bar."""
        return self.share >= self.least

    def __str__(self) -> str:
        bar = f"  bar {self.least:.2f} {'met' if self.met else 'MISSED'}" if self.least else ""
        return f"{self.name:<24} {self.share:.3f} of {self.asked}{bar}"


def exams(desk: Desk) -> tuple[Exam, ...]:
    """Make all questions, the same ones every time."""
    return (
        Exam("held-out combinations", draw(desk, COMBINATIONS, SEED, 800, about_taught), 0.98),
        Exam("held-out templates", draw(desk, TEMPLATES, SEED, 800, about_taught), 0.75),
        Exam("untaught services", draw(desk, COMBINATIONS, SEED, 600, about_stranger), 0.93),
        Exam("follow-ups", draw(desk, COMBINATIONS, SEED, 400, follow_up)),
        Exam("held-out follow-ups", draw(desk, TEMPLATES, SEED, 400, follow_up)),
        Exam("held-out small talk", draw(desk, TEMPLATES, SEED, 200, small_talk)),
        Exam("held-out odd questions", draw(desk, TEMPLATES, SEED, 200, odd)),
        Exam("held-out other subjects", draw(desk, TEMPLATES, SEED, 200, off_topic)),
    )


def evaluate(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, papers: Iterable[Exam]) -> tuple[Figure, ...]:
    """Sit every exam."""
    return tuple(
        Figure(exam.name, share_right(model, tokenizer, exam.questions), len(exam.questions), exam.least)
        for exam in papers
    )
