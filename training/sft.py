"""Learning from answers to imitate, by TRL: cross-entropy on the tokens of the answer alone."""

from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from peft import LoraConfig
from transformers import PreTrainedModel
from trl import SFTConfig, SFTTrainer

from training.recipes import Recipe
from training.rendering import Rendered, Renderer

IGNORED = -100
"""The label of a token that is not learned."""


def trainer(
    model: PreTrainedModel,
    adapter: LoraConfig,
    renderer: Renderer,
    rows: Sequence[Rendered],
    recipe: Recipe,
    arguments: dict[str, Any],
) -> SFTTrainer:
    """A trainer that takes the rows as they come."""
    return SFTTrainer(
        model=model,
        args=SFTConfig(max_length=None, dataset_kwargs={"skip_prepare_dataset": True}, **arguments),
        train_dataset=Dataset.from_list([_columns(row) for row in rows]),
        processing_class=renderer.tokenizer,
        peft_config=adapter,
    )


def _columns(row: Rendered) -> dict[str, list[int]]:
    answer = row.answers[0]
    return {"input_ids": [*row.prompt, *answer], "labels": [*[IGNORED] * len(row.prompt), *answer]}
