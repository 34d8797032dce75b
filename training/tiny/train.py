"""Training of hone-tiny from nothing: batches of generated conversations, loss on the answers alone."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from .conversation import Conversation
from .tokenizer import Example, encode

SHELF = 16  # batches that are sorted by length together, so that rows of a batch need little padding


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long and how fast to learn."""

    steps: int = 2200
    rows: int = 48
    peak_rate: float = 3e-3
    warm_up: float = 0.1
    weight_decay: float = 0.01
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded token ids with the targets of each position; -100 where nothing is learned."""

    ids: Tensor
    attended: Tensor
    targets: Tensor


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands; seconds and tokens since its start."""

    step: int
    steps: int
    loss: float
    tokens: int
    seconds: float

    def __str__(self) -> str:
        left = self.seconds / self.step * (self.steps - self.step)
        speed = self.tokens / self.seconds
        return f"step {self.step}/{self.steps}  loss {self.loss:.4f}  {speed:,.0f} tokens/s  {left:.0f} s left"


def train(
    model: Qwen3ForCausalLM,
    batches: Iterable[Batch],
    recipe: Recipe,
    report: Callable[[Progress], None],
) -> None:
    """Train in place: AdamW, one cycle of the learning rate, gradients clipped at 1."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.peak_rate, betas=(0.9, 0.98), weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.peak_rate, total_steps=recipe.steps, pct_start=recipe.warm_up
    )
    model.train()
    tokens, start, smooth = 0, time.monotonic(), 0.0
    for step, batch in enumerate(islice(batches, recipe.steps), start=1):
        loss = answer_loss(model, batch)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        tokens += int(batch.attended.sum())
        smooth = loss.item() if step == 1 else 0.95 * smooth + 0.05 * loss.item()
        if step % 25 == 0 or step == recipe.steps:
            report(Progress(step, recipe.steps, smooth, tokens, time.monotonic() - start))


def answer_loss(model: Qwen3ForCausalLM, batch: Batch) -> Tensor:
    """Return the mean cross-entropy over the tokens of the answers."""
    hidden = model.model(input_ids=batch.ids, attention_mask=batch.attended, use_cache=False).last_hidden_state
    wanted = batch.targets[:, 1:]
    learned = wanted != -100
    # Logits are dear next to so small a model: only those of the answers are made.
    return functional.cross_entropy(model.lm_head(hidden[:, :-1][learned]), wanted[learned])


def batches_of(
    source: Iterator[Conversation], tokenizer: PreTrainedTokenizerFast, rows: int, seed: int
) -> Iterator[Batch]:
    """Yield batches of rows of similar length, in random order, until the source ends."""
    rng = Random(seed)
    while shelf := [encode(tokenizer, conversation) for conversation in islice(source, rows * SHELF)]:
        shelf.sort(key=lambda example: len(example.ids))
        starts = list(range(0, len(shelf), rows))
        rng.shuffle(starts)
        for start in starts:
            yield _stack(shelf[start : start + rows], tokenizer.pad_token_id)


def _stack(examples: list[Example], pad: int) -> Batch:
    width = max(len(example.ids) for example in examples)
    ids = torch.full((len(examples), width), pad)
    attended = torch.zeros(len(examples), width, dtype=torch.long)
    targets = torch.full((len(examples), width), -100)
    for row, example in enumerate(examples):
        length = len(example.ids)
        ids[row, :length] = torch.tensor(example.ids)
        attended[row, :length] = 1
        targets[row, :length] = torch.where(torch.tensor(example.learned), ids[row, :length], -100)
    return Batch(ids, attended, targets)
