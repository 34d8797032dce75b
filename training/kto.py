"""Learning from liked and disliked answers, by TRL's KTO: each is compared with what the base would have said."""

from collections.abc import Iterator, Sequence
from typing import Any

from datasets import Dataset
from peft import LoraConfig
from transformers import PreTrainedModel
from trl import KTOConfig, KTOTrainer

from training.recipes import Recipe
from training.rendering import Rendered, Renderer


class RenderedKto(KTOTrainer):  # type: ignore[misc]
    """KTO on rows that are token ids already."""

    def _prepare_dataset(self, dataset: Dataset, *_: object) -> Dataset:
        return dataset


def trainer(
    model: PreTrainedModel,
    adapter: LoraConfig,
    renderer: Renderer,
    rows: Sequence[Rendered],
    recipe: Recipe,
    arguments: dict[str, Any],
) -> KTOTrainer:
    """A trainer that takes the rows as they come."""
    settings = KTOConfig(
        max_length=None,
        beta=recipe.beta,
        desirable_weight=recipe.desirable_weight,
        undesirable_weight=recipe.undesirable_weight,
        **arguments,
    )
    return RenderedKto(
        model=model,
        args=settings,
        train_dataset=Dataset.from_list(list(_columns(rows, settings.per_device_train_batch_size))),
        processing_class=renderer.tokenizer,
        peft_config=adapter,
    )


def _columns(rows: Sequence[Rendered], size: int) -> Iterator[dict[str, Any]]:
    """Rows with the answer to another question of the same batch, from which KTO tells how far the model has moved."""
    for start in range(0, len(rows), size):
        batch = rows[start : start + size]
        for row, other in zip(batch, [batch[-1], *batch[:-1]], strict=True):
            yield {
                "prompt_ids": row.prompt,
                "completion_ids": row.answers[0],
                "KL_completion_ids": other.answers[0],
                "label": row.label,
            }
