"""Adapters as files and names: version 0 of a base, served names, and which ones an engine should take up or drop.

Pure but for `zero_adapter`, which writes. Knows nothing of HTTP.
"""

import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from safetensors.numpy import save_file

from core.errors import SetupError
from core.types import Plan, Version
from core.workers import Worker
from serving.base import Base
from serving.model_files import shapes

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "gate_proj", "up_proj", "down_proj", "gate_up_proj")
DIGITS = 16
"""Hexadecimal digits of the content digest in a served name."""
GATEWAY = "gateway"

_WEIGHT = re.compile(rf"(.+\.layers\.\d+\..*\b({'|'.join(LINEAR)}))\.weight")


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be loaded and may be unloaded, in order."""

    load: tuple[Version, ...] = ()
    unload: tuple[Version, ...] = ()


def version_name(base: Base, digest: str) -> Version:
    """The served name of an adapter; plain ASCII, so that it needs no escape in a URL or in JSON."""
    word = re.sub(r"[^A-Za-z0-9._]+", "-", base.name).strip("-")[:64]
    return Version(f"{word}-{digest[:DIGITS]}")


def zero_adapter(base: Base, folder: Path) -> None:
    """Write an adapter that changes nothing: the same bytes each time, on every linear layer of the base.

    Rank 1: the engine pads each adapter to its largest rank, so that the path and its price are those of any other.
    Raises SetupError when the base has no layer of a known name.
    """
    layers = linear_layers(base)
    tensors = {}
    for name, (out, inner) in layers.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = np.zeros((1, inner), np.float32)
        tensors[f"base_model.model.{name}.lora_B.weight"] = np.zeros((out, 1), np.float32)
    config = {
        "base_model_name_or_path": base.name,
        "bias": "none",
        "lora_alpha": 1,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": 1,
        "target_modules": sorted({name.rpartition(".")[2] for name in layers}),
        "task_type": "CAUSAL_LM",
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_bytes(orjson.dumps(config, option=orjson.OPT_SORT_KEYS))


def linear_layers(base: Base) -> Mapping[str, tuple[int, int]]:
    """The layers that adapters are made for, with outputs and inputs; the experts of a mixture are left out."""
    found = {
        match[1]: (shape[0], shape[1])
        for name, shape in sorted(shapes(base.folder))
        if (match := _WEIGHT.fullmatch(name)) and len(shape) == 2 and ".experts." not in name
    }
    if not found:
        raise SetupError(f"{base.name} has no layer that Hone knows how to adapt ({', '.join(LINEAR)}).")
    return found


def changes(wanted: Set[Version], loaded: Set[Version]) -> Changes:
    """How to get from what is loaded to what is wanted."""
    return Changes(tuple(sorted(wanted - loaded)), tuple(sorted(loaded - wanted)))


def may_unload(version: Version, plan: Plan, workers: Iterable[Worker] | None, since: int) -> bool:
    """Whether no call can still be using a version: the plan has dropped it, and every gateway says so.

    A gateway tells the oldest revision that a call of its own still runs under. One that was not heard `since` then, a
    time longer ago than a call may take, counts as gone. With no word of the gateways (None) nothing is unloaded.
    """
    if workers is None or version in plan.live():
        return False
    heard = (worker for worker in workers if worker.kind == GATEWAY and worker.seen_at >= since)
    return all(worker.revision >= plan.revision for worker in heard)
