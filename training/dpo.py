"""Learning from pairs of a better and a worse answer, by TRL's DPO."""

from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from peft import LoraConfig
from transformers import PreTrainedModel
from trl import DPOConfig, DPOTrainer

from training.recipes import Recipe
from training.rendering import Rendered, Renderer


class RenderedDpo(DPOTrainer):  # type: ignore[misc]
    """DPO on rows that are token ids already."""

    def _prepare_dataset(self, dataset: Dataset, *_: object) -> Dataset:
        return dataset


def trainer(
    model: PreTrainedModel,
    adapter: LoraConfig,
    renderer: Renderer,
    rows: Sequence[Rendered],
    recipe: Recipe,
    arguments: dict[str, Any],
) -> DPOTrainer:
    """A trainer that takes the rows as they come."""
    return RenderedDpo(
        model=model,
        args=DPOConfig(max_length=None, beta=recipe.beta, **arguments),
        train_dataset=Dataset.from_list([_columns(row) for row in rows]),
        processing_class=renderer.tokenizer,
        peft_config=adapter,
    )


def _columns(row: Rendered) -> dict[str, Any]:
    better, worse = row.answers
    return {"prompt_ids": row.prompt, "chosen_ids": better, "rejected_ids": worse}
