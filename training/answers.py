"""What a model says, and how likely it holds a given answer to be: both in batches, greedily, without a server."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from transformers import GenerationConfig, PreTrainedModel

from training.rendering import Ids, Renderer

LEAST_TOKENS, MOST_TOKENS = 64, 256
"""Tokens that an answer may have, whatever the reference has."""
MOST_ROWS, MOST_PLACES = 128, 128 * MOST_TOKENS
"""Rows of one batch, and tokens with those to come: small models are fastest with many, large ones lack the memory."""
MOST_LOGITS = 1 << 27
"""Numbers that a model may say of its vocabulary at once."""


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt and its reference answer, rendered."""

    prompt: Ids
    answer: Ids


@dataclass(frozen=True, slots=True)
class Answer:
    """What was generated (without its end) and the bits that the reference would have cost."""

    ids: Ids
    bits: float


def answer_all(
    model: PreTrainedModel, renderer: Renderer, questions: Sequence[Question], told: Callable[[int], None]
) -> list[Answer]:
    """An answer to each question, in the order given; `told` hears how many are done."""
    found: dict[int, Answer] = {}
    model.eval()
    with torch.inference_mode():
        for places in _batches(questions):
            batch = [questions[place] for place in places]
            said, bits = _generate(model, renderer, batch), _bits(model, renderer, batch)
            found |= dict(zip(places, map(Answer, said, bits), strict=True))
            told(len(found))
    return [found[place] for place in range(len(questions))]


def _batches(questions: Sequence[Question]) -> Iterator[list[int]]:
    """Places of questions of similar length."""
    batch: list[int] = []
    for place in sorted(range(len(questions)), key=lambda place: len(questions[place].prompt)):
        width = len(questions[place].prompt) + MOST_TOKENS
        if batch and (len(batch) == MOST_ROWS or (len(batch) + 1) * width > MOST_PLACES):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _generate(model: PreTrainedModel, renderer: Renderer, batch: Sequence[Question]) -> list[Ids]:
    ids, attended = _left_padded([question.prompt for question in batch], renderer, model.device)
    longest = max(len(question.answer) for question in batch)
    settings = GenerationConfig(
        do_sample=False,
        temperature=1.0,
        max_new_tokens=min(MOST_TOKENS, max(LEAST_TOKENS, 2 * longest)),
        eos_token_id=list(renderer.stops),
        pad_token_id=renderer.tokenizer.pad_token_id,
    )
    output = model.generate(input_ids=ids, attention_mask=attended, generation_config=settings)
    return [_until(row, renderer.stops) for row in output[:, ids.shape[1] :].tolist()]


def _bits(model: PreTrainedModel, renderer: Renderer, batch: Sequence[Question]) -> list[float]:
    """The bits of each reference under the model: minus the sum of its tokens' log2 probabilities."""
    longest = max(len(question.answer) for question in batch)
    rows = max(1, MOST_LOGITS // (longest * model.config.get_text_config().vocab_size))
    parts = (batch[start : start + rows] for start in range(0, len(batch), rows))
    return [bits for part in parts for bits in _bits_at_once(model, renderer, part)]


def _bits_at_once(model: PreTrainedModel, renderer: Renderer, batch: Sequence[Question]) -> list[float]:
    ids, attended = _left_padded([[*q.prompt, *q.answer] for q in batch], renderer, model.device)
    longest = max(len(question.answer) for question in batch)
    places = (attended.cumsum(-1) - 1).clamp(min=0)
    # On the left lies the padding, so the answers' logits are the last ones; the very last tells of what comes after.
    output = model(input_ids=ids, attention_mask=attended, position_ids=places, logits_to_keep=longest + 1)
    wanted = ids[:, -longest:]
    loss = functional.cross_entropy(output.logits[:, :-1].float().transpose(1, 2), wanted, reduction="none")
    lengths = torch.tensor([len(question.answer) for question in batch], device=loss.device)
    inside = torch.arange(longest, device=loss.device) >= longest - lengths[:, None]
    return [nats / math.log(2) for nats in (loss * inside).sum(-1).tolist()]


def _left_padded(rows: Sequence[Ids], renderer: Renderer, device: torch.device) -> tuple[Tensor, Tensor]:
    width = max(map(len, rows))
    pad = renderer.tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows], device=device)
    attended = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, attended


def _until(ids: list[int], stops: Sequence[int]) -> list[int]:
    """What comes before the first token that ends an answer."""
    return ids[: next((place for place, token in enumerate(ids) if token in stops), len(ids))]
