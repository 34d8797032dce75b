"""Whether hone-tiny can learn new facts later: a LoRA adapter on a few phrasings of each, with half of the rows old."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from peft import LoraConfig, get_peft_model

from .answers import share_right
from .conversation import Conversation, Desk, conversations
from .evaluate import SEED, Exam, Figure, evaluate
from .examples import CAREFUL, SHIFTED, example_rows, is_held_back
from .model import load_model
from .questions import COMBINATIONS, KINDS, about, about_stranger, about_taught, draw
from .train import Progress, Recipe, batches_of, train

RECIPE = Recipe(steps=300, rows=32, peak_rate=6e-3, weight_decay=0.0, seed=3)
ADAPTER = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
REPLAY_SEED = 5


@dataclass(frozen=True, slots=True)
class NewFacts:
    """Conversations to learn from, and others about the same facts to be asked."""

    name: str
    learned: Sequence[Conversation]
    asked: Sequence[Conversation]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an adapter learned, what it kept, and how long its training took in seconds."""

    name: str
    before: float
    figures: tuple[Figure, ...]
    seconds: float

    def __str__(self) -> str:
        told = f"{self.name} facts: {self.before:.3f} right before, {self.seconds:.0f} s of training"
        return "\n".join([told, *map(str, self.figures)])


def shifted_facts(desk: Desk) -> NewFacts:
    """Return the shifted phase of the example traffic: what is played as traffic, and what is held back."""
    rows = [row for row in example_rows(desk) if row.phase == SHIFTED]
    return NewFacts(
        "shifted",
        [row.conversation for row in rows if not is_held_back(row.id)],
        [row.conversation for row in rows if is_held_back(row.id)],
    )


def novel_facts(desk: Desk) -> NewFacts:
    """Return facts that are nowhere else: ten phrasings of each to learn, ten others to be asked."""
    facts = [(service, kind) for service in desk.company.novel for kind in KINDS]
    phrasings = [about(desk, service, kind, CAREFUL, "novel", 20) for service, kind in facts]
    return NewFacts(
        "novel",
        [conversation for several in phrasings for conversation in several[:10]],
        [conversation for several in phrasings for conversation in several[10:]],
    )


def adapt(desk: Desk, folder: Path, facts: NewFacts, recipe: Recipe, report: Callable[[Progress], None]) -> Outcome:
    """Train an adapter on new facts and examine it; the model in the folder stays as it is."""
    model, tokenizer = load_model(folder)
    before = share_right(model, tokenizer, facts.asked)
    start = time.monotonic()
    torch.manual_seed(recipe.seed)
    get_peft_model(model.float(), ADAPTER)  # puts the adapter into the model itself
    rows = half_replay(facts.learned, conversations(desk, REPLAY_SEED), recipe.seed)
    train(model, batches_of(rows, tokenizer, recipe.rows, recipe.seed), recipe, report)
    seconds = time.monotonic() - start
    figures = evaluate(model.to(torch.bfloat16), tokenizer, _exams(desk, facts))
    return Outcome(facts.name, before, figures, seconds)


def half_replay(new: Sequence[Conversation], old: Iterator[Conversation], seed: int) -> Iterator[Conversation]:
    """Yield new and old conversations in turn, the new ones over and over, each time in another order."""
    rng = Random(seed)
    while True:
        for conversation in rng.sample(new, len(new)):
            yield conversation
            yield next(old)


def _exams(desk: Desk, facts: NewFacts) -> tuple[Exam, ...]:
    return (
        Exam("new facts", facts.asked, 0.88),
        Exam("old combinations", draw(desk, COMBINATIONS, SEED, 400, about_taught), 0.97),
        Exam("still untaught", draw(desk, COMBINATIONS, SEED, 300, about_stranger), 0.80),
    )
