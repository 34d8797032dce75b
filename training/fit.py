"""One training by TRL from its first or last saved step to its end: arguments, watch over the loss, checkpoints.

Knows no method: what differs between them comes as a function that makes the trainer.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from core.types import JsonObject
from training import checkpoints, dpo, kto, sft
from training.batches import Mixture, Plan, plan
from training.bell import Bell, Stopped
from training.checkpoints import Checkpoint
from training.failure import Code, RunFailed
from training.lora import lora
from training.progress import Point, Progress, Stage
from training.recipes import Recipe
from training.rendering import Rendered, Renderer, tokens_digest
from training.rows import Method

MakeTrainer = Callable[[PreTrainedModel, LoraConfig, Renderer, Sequence[Rendered], Recipe, dict[str, Any]], Trainer]
TRAINERS: Mapping[Method, MakeTrainer] = {Method.SFT: sft.trainer, Method.KTO: kto.trainer, Method.DPO: dpo.trainer}
KEPT = 2
"""Checkpoints: the newest might be half written."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a training took. Loss: mean of the last tenth of the steps; tokens: real ones."""

    seconds: float
    steps: int
    tokens: int
    pad_share: float
    loss: float

    def to_json(self) -> JsonObject:
        return {
            "seconds": round(self.seconds, 3),
            "steps": self.steps,
            "tokens": self.tokens,
            "pad_share": round(self.pad_share, 4),
            "loss": self.loss,
        }


def fit(
    model: PreTrainedModel,
    renderer: Renderer,
    rows: Sequence[Rendered],
    recipe: Recipe,
    folder: Path,
    progress: Progress,
    bell: Bell,
) -> tuple[PeftModel, Taken]:
    """The model with a trained adapter; `folder` holds its checkpoints, from the newest of which it goes on.

    Raises RunFailed at the first loss that is no number, and Stopped after `bell` rang.
    """
    lengths, mixture = [row.lengths for row in rows], Mixture([row.repeated for row in rows], recipe.replay_share)
    order = plan(lengths, recipe.batch_rows, recipe.accumulation, recipe.steps, recipe.seed, mixture)
    digest = tokens_digest(rows)
    start = checkpoints.newest(folder, digest)
    lessons = [rows[place] for place in order.rows]
    make = TRAINERS[recipe.method]
    trainer = make(model, lora(model, recipe), renderer, lessons, recipe, arguments(recipe, folder))
    watch = Watch(order, recipe, digest, progress, bell, start)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(watch)
    log.info("training of %d rows in %d steps from step %d", len(rows), recipe.steps, start.step if start else 0)
    bell.heeded = True
    trainer.train(resume_from_checkpoint=str(start.path) if start else None)
    bell.heeded = False
    if bell.rung and trainer.state.global_step < recipe.steps:
        raise Stopped
    taken = Taken(watch.seconds, recipe.steps, sum(order.tokens), order.pad_share, watch.loss)
    return trainer.model, taken


def arguments(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """What all methods tell TRL: no reports to anybody, no rows in an order of its own, no loss filtered out."""
    device = torch.cuda.is_available()
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": recipe.batch_rows // recipe.accumulation,
        "gradient_accumulation_steps": recipe.accumulation,
        "max_steps": recipe.steps,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": str(recipe.schedule),
        "warmup_steps": round(recipe.warmup * recipe.steps),
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": 1.0,
        "seed": recipe.seed,
        "train_sampling_strategy": "sequential",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": recipe.checkpoint_every,
        "save_total_limit": KEPT,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": not device,
        "bf16": device,
        "gradient_checkpointing": recipe.recompute,
        "dataloader_pin_memory": device,
    }


class Watch(TrainerCallback):  # type: ignore[misc]
    """Looks at every step: is the loss a number, how fast does it go, should it end, is a checkpoint whole."""

    def __init__(
        self,
        order: Plan,
        recipe: Recipe,
        digest: str,
        progress: Progress,
        bell: Bell,
        start: Checkpoint | None,
    ) -> None:
        self._order = order
        self._recipe = recipe
        self._digest = digest
        self._progress = progress
        self._bell = bell
        self._before = start.seconds if start else 0.0
        self._started = time.monotonic()
        self._first = start.step if start else 0
        self.loss = start.loss if start else math.nan

    @property
    def seconds(self) -> float:
        """Seconds of training, those before a restart included."""
        return self._before + time.monotonic() - self._started

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        self._started = time.monotonic()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: object,
    ) -> None:
        state.log_history.clear()  # it would grow with every step and be written into every checkpoint
        if not logs or "loss" not in logs:
            return
        loss, norm = logs["loss"], float(logs.get("grad_norm", 0.0))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise RunFailed(Code.NAN_LOSS, f"The loss of step {state.global_step} is {loss} (gradient {norm}).")
        self.loss = loss if math.isnan(self.loss) else self.loss + (loss - self.loss) * self._weight
        point = self._point(state.global_step)
        if self._progress.tell(point):
            log.info("step %d of %d: loss %.4f", point.step, point.steps, self.loss)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        if self._bell.rung:
            control.should_save = control.should_training_stop = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        path = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        checkpoints.seal(Checkpoint(path, state.global_step, self.seconds, self.loss), self._digest)

    @property
    def _weight(self) -> float:
        """How much one step counts in the mean loss: that of about the last tenth."""
        return min(1.0, 10 / self._recipe.steps)

    def _point(self, step: int) -> Point:
        parts = self._recipe.accumulation
        seconds = time.monotonic() - self._started
        speed = sum(self._order.tokens[self._first * parts : step * parts]) / max(seconds, 1e-9)
        left = sum(self._order.tokens[step * parts :])
        return Point(
            Stage.TRAINING,
            step,
            self._recipe.steps,
            loss=round(self.loss, 5),
            tokens_per_second=round(speed, 1),
            pad_share=round(self._order.pad_share, 4),
            eta_seconds=round(left / speed, 1) if speed else None,
        )
