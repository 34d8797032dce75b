"""Stands in for the trainer: obeys the protocol of a run's folder without learning anything.

Command: `python stand_in_trainer.py BEHAVIOUR FOLDER`. It counts its steps in the folder, so that it goes on after a
kill, and notes each start.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import orjson
from safetensors.numpy import load_file, save_file

from core import log
from core.types import JsonObject
from serving import base as bases
from serving.adapters import CONFIG, WEIGHTS, zero_adapter
from training import failure, order
from training.failure import Code
from training.files import put
from training.order import Order

STEPS = 20
STARTS, STEP = "starts", "step"


def train(folder: Path, ordered: Order, pause: float) -> None:
    """The steps of a training, each one kept."""
    checkpoints = folder / order.CHECKPOINTS
    checkpoints.mkdir(exist_ok=True)
    done = int((checkpoints / STEP).read_text()) if (checkpoints / STEP).exists() else 0
    with (folder / STARTS).open("a") as notes:
        notes.write(f"{done} {ordered.dataset_digest}\n")
    for step in range(done + 1, STEPS + 1):
        time.sleep(pause)
        tell(folder, "training", step)
        (checkpoints / ".step").write_text(str(step))
        (checkpoints / ".step").replace(checkpoints / STEP)


def tell(folder: Path, stage: str, step: int = 0) -> None:
    point: JsonObject = {"stage": stage, "step": step, "steps": STEPS, "loss": 1 / (step + 1), "tokens_per_second": 9.0}
    put(folder / order.PROGRESS, {**point, "pad_share": 0.1, "eta_seconds": 1.0, "at": time.time_ns() // 1000})


def finish(folder: Path, ordered: Order, change: Callable[[Path], None]) -> None:
    """The adapter, changed as a test wants it, then evaluation and manifest."""
    shutil.rmtree(folder / order.ADAPTER, ignore_errors=True)
    zero_adapter(bases.resolve(str(ordered.base)), folder / order.ADAPTER)
    change(folder / order.ADAPTER)
    put(folder / order.EVALUATION, {"held_out": None})
    facts = {"run": ordered.run, "method": ordered.method, "dataset": ordered.dataset_digest}
    put(folder / order.MANIFEST, {**facts, "base_digest": ordered.base_digest, "evaluation": {"held_out": None}})


def scale(adapter: Path, factor: float, rank: int = 1) -> None:
    tensors = {name: np.full_like(each, factor) for name, each in load_file(adapter / WEIGHTS).items()}
    if rank > 1:
        tensors = {name: np.repeat(each, rank, axis=int(".lora_B." in name)) for name, each in tensors.items()}
        config = orjson.loads((adapter / CONFIG).read_bytes())
        (adapter / CONFIG).write_bytes(orjson.dumps({**config, "r": rank}))
    save_file(tensors, adapter / WEIGHTS, metadata={"format": "pt"})


def foreign(adapter: Path) -> None:
    """An adapter of a base with wider layers."""
    tensors = {name: np.zeros((each.shape[0] + 1, each.shape[1] + 1)) for name, each in load(adapter).items()}
    save_file(tensors, adapter / WEIGHTS)


def pickled(adapter: Path) -> None:
    """One file too many, of a kind that can run code."""
    (adapter / "adapter_model.bin").write_bytes(b"\x80\x04.")


def load(adapter: Path) -> Mapping[str, np.ndarray]:
    return dict(load_file(adapter / WEIGHTS))


def linked(adapter: Path) -> None:
    """Weights that lie somewhere else."""
    elsewhere = adapter.parent / "elsewhere.safetensors"
    (adapter / WEIGHTS).rename(elsewhere)
    (adapter / WEIGHTS).symlink_to(elsewhere)


CHANGES: Mapping[str, Callable[[Path], None]] = {
    "nan": lambda adapter: scale(adapter, float("nan")),
    "rank 32": lambda adapter: scale(adapter, 0.5, rank=32),
    "pickle": pickled,
    "linked": linked,
    "foreign": foreign,
    "empty": lambda adapter: (adapter / WEIGHTS).unlink(),
}


def main(behaviour: str, folder: Path) -> int:
    log.setup("trainer")
    if (folder / order.MANIFEST).exists():
        return 0
    ordered = order.read(folder)
    mended = behaviour == Code.DATASET and (folder.parent / "mended").exists()
    if behaviour in list(Code) and not mended:
        failure.write(folder, failure.Failure(Code(behaviour), "It went wrong.", "Do something."))
        (folder.parent / "mended").touch()
        return 1
    if behaviour == "odd":
        print("Traceback: ValueError: words of a customer")
        return 70
    if behaviour == "killed" or (behaviour == "killed once" and not (folder / STARTS).exists()):
        (folder / STARTS).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    train(folder, ordered, 0.15 if behaviour == "slow" else 0.0)
    tell(folder, "evaluating")
    time.sleep(3 if behaviour == "slow evaluation" else 0)
    finish(folder, ordered, CHANGES.get(behaviour, lambda adapter: scale(adapter, 0.5)))
    tell(folder, "done")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
