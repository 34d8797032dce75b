"""The course of one run in the trainer's process: rows, tokens, training, adapter, evaluation, manifest.

Each part leaves a file, so that a restarted trainer goes on after the last one. Knows no database.
"""

import gc
import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants
from transformers import set_seed
from transformers.utils import logging as transformers_logging

from core.datasets import Datasets
from core.errors import Conflict, NotFound, SetupError
from core.types import JsonObject
from training import dataset, lora, order, rendering
from training.bell import Bell
from training.evaluate import Asked, evaluate, old_skills
from training.failure import Code, RunFailed
from training.files import get, put
from training.fit import fit
from training.order import Order
from training.progress import Point, Progress, Stage
from training.rendering import Rendered, Renderer
from training.rows import FEEDBACK, Method, Part, Row

LIBRARIES = ("torch", "transformers", "trl", "peft")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lessons:
    """The rows of a dataset that can be learned, and the rendered ones of all its parts."""

    rows: Sequence[Row]
    train: Sequence[Rendered]
    every: Sequence[Rendered]
    left_out: Counter[str]


def follow(ordered: Order, folder: Path, progress: Progress, bell: Bell) -> None:
    """Do what is ordered. Raises RunFailed, and Stopped after `bell` rang."""
    settle(ordered.threads)
    if ordered.recipe.rank > ordered.max_rank:
        raise RunFailed(Code.RANK, f"The rank {ordered.recipe.rank} is above the engine's {ordered.max_rank}.")
    skills = old_skills(ordered.old_skills)
    renderer = _renderer(ordered.base)
    lessons = learnable(ordered, renderer)
    if not (folder / order.ADAPTER).exists():
        train(ordered, folder, renderer, lessons, progress, bell)
    shutil.rmtree(folder / order.CHECKPOINTS, ignore_errors=True)
    found = get(folder / order.EVALUATION) or compare(ordered, folder, renderer, lessons, skills, progress)
    put(folder / order.MANIFEST, manifest(ordered, folder, renderer, lessons, found))
    progress.tell(Point(Stage.DONE))


def settle(threads: int) -> None:
    """Set this process up: so many threads, no denormal numbers, no bars in the log, no word to the model hub."""
    constants.HF_HUB_OFFLINE = True  # TRL tells its makers of every training otherwise
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    transformers_logging.disable_progress_bar()


def learnable(ordered: Order, renderer: Renderer) -> Lessons:
    """The dataset's rows as tokens; rows that are too long or that the template refuses are left out and counted.

    Raises RunFailed when nothing, or for KTO only one kind of answer, is left to learn from.
    """
    limit = min(ordered.recipe.max_length, ordered.max_model_len)
    kept: list[tuple[Row, Rendered]] = []
    left_out: Counter[str] = Counter()
    for row in _rows(ordered):
        try:
            rendered = renderer.render(row.example)
        except SetupError as error:
            log.warning("a row is left out: %s", error.message)
            left_out[Code.TEMPLATE] += 1
            continue
        if max(rendered.lengths) > limit:
            left_out[Code.TOO_LONG] += 1
        else:
            kept.append((row, replace(rendered, repeated=row.provenance.source != FEEDBACK)))
    learned = [rendered for row, rendered in kept if row.part is Part.TRAIN]
    _check(ordered, learned, left_out, limit)
    return Lessons([row for row, _ in kept], learned, [rendered for _, rendered in kept], left_out)


def train(ordered: Order, folder: Path, renderer: Renderer, lessons: Lessons, progress: Progress, bell: Bell) -> None:
    """Train and leave the adapter, and beside it what that took."""
    set_seed(ordered.seed)
    model = lora.load_base(ordered.base)
    checkpoints = folder / order.CHECKPOINTS
    trained, taken = fit(model, renderer, lessons.train, ordered.recipe, checkpoints, progress, bell)
    put(folder / order.TRAINING, taken.to_json())
    lora.save(trained, ordered.base.name, folder / order.ADAPTER)


def compare(
    ordered: Order, folder: Path, renderer: Renderer, lessons: Lessons, skills: Sequence[Asked], progress: Progress
) -> JsonObject:
    """Compare the adapter with the champion's and leave the comparison."""
    gc.collect()  # the trained model is still in memory, held by cycles of its trainer
    progress.tell(Point(Stage.EVALUATING))
    adapter = folder / order.ADAPTER
    found = evaluate(lessons.rows, ordered.base, adapter, ordered.champion, skills, renderer, progress)
    put(folder / order.EVALUATION, found)
    return found


def manifest(ordered: Order, folder: Path, renderer: Renderer, lessons: Lessons, evaluation: JsonObject) -> JsonObject:
    """All that identifies the result: what it was made of, with what, and how it did."""
    taken: dict[str, Any] = get(folder / order.TRAINING) or {}
    return {
        "run": ordered.run,
        "method": ordered.method,
        "recipe": ordered.recipe.to_json(),
        "dataset": ordered.dataset_digest,
        "base_digest": ordered.base_digest,
        "template_digest": renderer.template_digest,
        "tokens_digest": rendering.tokens_digest(lessons.every),
        "libraries": {name: version(name) for name in LIBRARIES},
        "seconds": taken["seconds"],
        "tokens": taken["tokens"],
        "metrics": {
            **taken,
            "rows": len(lessons.train),
            "left_out": {str(code): count for code, count in lessons.left_out.items()},
        },
        "evaluation": evaluation,
    }


def _rows(ordered: Order) -> list[Row]:
    try:
        return dataset.load(Datasets(ordered.dataset.parent), ordered.dataset_digest)
    except (NotFound, Conflict) as error:
        raise RunFailed(Code.DATASET, error.message) from None


def _renderer(base: Path) -> Renderer:
    if not (base / "config.json").is_file():
        raise RunFailed(Code.NO_BASE, f"The base model {base} is missing.")
    try:
        return rendering.load(base)
    except SetupError as error:
        raise RunFailed(Code.TEMPLATE, error.message) from None


def _check(ordered: Order, learned: Sequence[Rendered], left_out: Counter[str], limit: int) -> None:
    if not learned:
        if left_out[Code.TOO_LONG]:
            raise RunFailed(Code.TOO_LONG, f"Every row is longer than {limit} tokens.")
        if left_out[Code.TEMPLATE]:
            raise RunFailed(Code.TEMPLATE, "The chat template of the base refuses every row.")
        raise RunFailed(Code.NO_ROWS, "The dataset has no row to learn from.")
    labels = {rendered.label for rendered in learned}
    if ordered.method is Method.KTO and len(labels) == 1:
        kind = "liked" if labels.pop() else "disliked"
        raise RunFailed(Code.ONE_SIDED, f"All {len(learned)} answers to learn from were {kind}.")
