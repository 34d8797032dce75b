"""The base model: a folder of safetensors weights, found by name, path or hub id, and looked at before anything starts.

Reads files only. Knows nothing of vLLM and of adapters.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from core.config import BUILT_IN_MODEL
from core.errors import SetupError
from serving import hub
from serving.model_files import read_json, weight_files

BUILT_IN = Path(__file__).parent / "hone_tiny"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")
CONTEXT_NAMES = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length", "max_seq_len")
SPOKEN = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
"""Beside the weights, what decides an answer."""


@dataclass(frozen=True, slots=True)
class Base:
    """A model that adapters are made for. `digest` is over weights, configuration and tokenizer."""

    name: str
    folder: Path
    digest: str
    context: int
    """Tokens that the model was made for, prompt and answer together."""
    architecture: str
    size: int
    """Bytes of weights."""
    chats: bool
    """Whether it brings a chat template."""


def resolve(model: str, digests: Path | None = None) -> Base:
    """The base behind `hone-tiny`, a folder or a Hugging Face id; an id that is not on this disk is downloaded.

    `digests` names a file that remembers digests by path, size and time, for weights of many GiB. Raises SetupError.
    """
    name, folder = _find(model)
    config = read_json(folder / "config.json")
    weights = weight_files(folder)
    if not any((folder / file).exists() for file in TOKENIZERS):
        raise SetupError(f"{folder} holds no tokenizer ({', '.join(TOKENIZERS)}); save the model with its tokenizer.")
    files = [*weights, *(folder / file for file in SPOKEN if (folder / file).exists())]
    return Base(
        name=name,
        folder=folder,
        digest=_digest(files, digests),
        context=_context(config, folder),
        architecture=_architecture(config, folder),
        size=sum(path.stat().st_size for path in weights),
        chats=_chats(folder),
    )


def _find(model: str) -> tuple[str, Path]:
    """The name and the folder of a model."""
    if model == BUILT_IN_MODEL:
        return model, BUILT_IN
    path = Path(model).expanduser().absolute()
    if path.is_dir():
        return path.name, path
    if hub.is_id(model):
        cached = hub.cached(model)
        return model, cached if cached and _is_whole(cached) else hub.fetch(model)
    raise SetupError(f"The model folder {model} does not exist; set HONE_MODEL to a folder or a Hugging Face id.")


def _is_whole(folder: Path) -> bool:
    """Whether a download came to its end."""
    try:
        return (folder / "config.json").exists() and bool(weight_files(folder))
    except SetupError:
        return False


def _context(config: Mapping[str, Any], folder: Path) -> int:
    for part in (config, config.get("text_config") or {}):
        for name in CONTEXT_NAMES:
            if isinstance(part.get(name), int) and part[name] > 0:
                return int(part[name])
    raise SetupError(f"{folder}/config.json names no context length ({CONTEXT_NAMES[0]}).")


def _architecture(config: Mapping[str, Any], folder: Path) -> str:
    name = str(next(iter(config.get("architectures") or ()), "nothing"))
    if "CausalLM" not in name:
        raise SetupError(f"{folder} is a {name}, not a causal language model; choose one that generates text.")
    return name


def _chats(folder: Path) -> bool:
    if (folder / "chat_template.jinja").exists() or (folder / "chat_template.json").exists():
        return True
    settings = folder / "tokenizer_config.json"
    return settings.exists() and bool(read_json(settings).get("chat_template"))


def _digest(files: Sequence[Path], digests: Path | None) -> str:
    known = _remembered(digests)
    parts = {_fingerprint(path): path for path in files}
    sums = {mark: known.get(mark) or _sha256(path) for mark, path in parts.items()}
    if digests and sums.items() - known.items():
        digests.parent.mkdir(parents=True, exist_ok=True)
        draft = digests.with_suffix(f".{os.getpid()}")
        draft.write_bytes(orjson.dumps(sums))
        draft.replace(digests)
    lines = (f"{sums[mark]}  {path.name}\n" for mark, path in parts.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _remembered(digests: Path | None) -> Mapping[str, str]:
    if not digests or not digests.exists():
        return {}
    try:
        return dict(orjson.loads(digests.read_bytes()))
    except (ValueError, TypeError):
        return {}


def _fingerprint(path: Path) -> str:
    status = path.stat()
    return f"{path.absolute()} {status.st_size} {status.st_mtime_ns}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
