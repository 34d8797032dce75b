"""Bases in memory and LoRA adapters on them: loaded from folders, saved as the engine takes them."""

import re
import shutil
from pathlib import Path

import orjson
import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from core.disk import sync
from core.errors import SetupError
from serving.adapters import CONFIG, WEIGHTS
from serving.model_files import weight_files
from training.failure import Code, RunFailed
from training.recipes import Recipe

EXPERTS = r".*\.experts\..*"
"""The layers of a mixture's experts, which the engine does not adapt."""


def load_base(folder: Path) -> PreTrainedModel:
    """A base as it is trained: fp32 on a CPU, bf16 on a device. Raises RunFailed when it is not there."""
    if not (folder / "config.json").is_file():
        raise RunFailed(Code.NO_BASE, f"The base model {folder} is missing.")
    try:
        weight_files(folder)
    except SetupError as error:
        raise RunFailed(Code.NO_BASE, error.message) from None
    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True, trust_remote_code=False)
    return model.to("cuda") if torch.cuda.is_available() else model


def lora(model: PreTrainedModel, recipe: Recipe) -> LoraConfig:
    """The adapter that a recipe asks for. Raises RunFailed when the model has none of the layers."""
    linear = [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    targets = sorted({name.rpartition(".")[2] for name in linear}.intersection(recipe.target_modules))
    if not targets:
        wanted = ", ".join(recipe.target_modules)
        raise RunFailed(Code.NO_BASE, f"The base model has none of the layers to adapt ({wanted}).")
    return LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=targets,
        exclude_modules=EXPERTS if any(re.fullmatch(EXPERTS, name) for name in linear) else None,
        task_type="CAUSAL_LM",
    )


def save(model: PeftModel, base_name: str, folder: Path) -> None:
    """Put the trained adapter into a folder, which appears whole. Raises RunFailed when a weight is no number.

    The files hold nothing that differs between two equal trainings, and no path of this machine.
    """
    found = get_peft_model_state_dict(model, save_embedding_layers=False)
    tensors = {name: value.detach().float().cpu() for name, value in found.items()}
    if broken := [name for name, value in tensors.items() if not torch.isfinite(value).all()]:
        raise RunFailed(Code.NAN_LOSS, f"{len(broken)} of {len(tensors)} trained weights are no numbers.")
    trained = model.peft_config["default"]
    config = {
        "base_model_name_or_path": base_name,
        "bias": "none",
        "lora_alpha": trained.lora_alpha,
        "lora_dropout": trained.lora_dropout,
        "peft_type": "LORA",
        "r": trained.r,
        "target_modules": sorted(trained.target_modules),
        "task_type": "CAUSAL_LM",
    }
    draft = folder.with_name(f".{folder.name}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    save_file({name: tensors[name].contiguous() for name in sorted(tensors)}, draft / WEIGHTS, {"format": "pt"})
    (draft / CONFIG).write_bytes(orjson.dumps(config, option=orjson.OPT_SORT_KEYS))
    for path in (*draft.iterdir(), draft):
        sync(path)
    draft.rename(folder)
    sync(folder.parent)
