"""The order of a run, and the files of its folder: all that the trainer needs to know, without a database.

order.json       what to do, written before the trainer starts
progress.json    how far it is
checkpoints/     where a restarted trainer goes on
adapter/         the result; it appears whole
training.json    what the training took, beside the adapter
evaluation.json  how the result compares with the champion
manifest.json    written last: the folder is finished
failure.json     why there is no result
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from core.types import JsonObject
from training import recipes
from training.files import put
from training.recipes import Recipe
from training.rows import Method

ORDER, PROGRESS, FAILURE, LOG = "order.json", "progress.json", "failure.json", "trainer.log"
CHECKPOINTS, ADAPTER = "checkpoints", "adapter"
TRAINING, EVALUATION, MANIFEST = "training.json", "evaluation.json", "manifest.json"


@dataclass(frozen=True, slots=True)
class Order:
    """One training: the recipe, the folders it reads, and the limits of the engine that will serve the result."""

    run: str
    recipe: Recipe
    base: Path
    base_digest: str
    dataset: Path
    """The folder of the dataset; its name is the digest."""
    champion: Path | None
    """The adapter to compare with; None for version 0, which is the base itself."""
    old_skills: Path | None
    """Questions with answers, one JSON object a line."""
    max_rank: int
    max_model_len: int
    threads: int = 2

    @property
    def method(self) -> Method:
        return self.recipe.method

    @property
    def dataset_digest(self) -> str:
        return self.dataset.name

    @property
    def seed(self) -> int:
        return self.recipe.seed


def write(folder: Path, order: Order) -> None:
    """Put the order into the folder of its run."""
    put(folder / ORDER, _to_json(order))


def read(folder: Path) -> Order:
    """The order in a folder. Raises FileNotFoundError, and BadRequest for a recipe that cannot be."""
    found: dict[str, Any] = orjson.loads((folder / ORDER).read_bytes())
    return Order(
        run=found["run"],
        recipe=recipes.from_json(found["recipe"]),
        base=Path(found["base"]),
        base_digest=found["base_digest"],
        dataset=Path(found["dataset"]),
        champion=Path(found["champion"]) if found["champion"] else None,
        old_skills=Path(found["old_skills"]) if found["old_skills"] else None,
        max_rank=found["max_rank"],
        max_model_len=found["max_model_len"],
        threads=found["threads"],
    )


def _to_json(order: Order) -> JsonObject:
    return {
        "run": order.run,
        "method": order.method,
        "recipe": order.recipe.to_json(),
        "base": str(order.base),
        "base_digest": order.base_digest,
        "dataset": str(order.dataset),
        "dataset_digest": order.dataset_digest,
        "champion": str(order.champion) if order.champion else None,
        "old_skills": str(order.old_skills) if order.old_skills else None,
        "max_rank": order.max_rank,
        "max_model_len": order.max_model_len,
        "threads": order.threads,
        "seed": order.seed,
    }
