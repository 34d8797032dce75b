"""The files of a model folder: JSON, and safetensors weights by name and shape, all from headers."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from core.errors import SetupError

INDEX = "model.safetensors.index.json"
_LENGTH = 8
"""A safetensors file begins with the length of its header."""


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; raises SetupError when it is missing or none."""
    try:
        content = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise SetupError(f"{path} is missing; HONE_MODEL must name hone-tiny, a model folder or a hub id.") from None
    except (OSError, orjson.JSONDecodeError) as error:
        raise SetupError(f"{path} cannot be read as JSON ({error}); fetch the model again.") from None
    if not isinstance(content, dict):
        raise SetupError(f"{path} holds no JSON object; fetch the model again.")
    return content


def weight_files(folder: Path) -> Sequence[Path]:
    """The safetensors files of a model, all of them there; raises SetupError when one is missing or none is named."""
    if (folder / INDEX).exists():
        names = sorted(set(read_json(folder / INDEX).get("weight_map", {}).values()))
        missing = [name for name in names if not (folder / name).exists()]
        if missing:
            raise SetupError(f"{folder} lacks {len(missing)} of {len(names)} weight files, e.g. {missing[0]}.")
        return [folder / name for name in names]
    if found := sorted(folder.glob("*.safetensors")):
        return found
    pickled = next(folder.glob("*.bin"), None)
    why = f"only {pickled.name}, which can run code when it is read" if pickled else "no weights"
    raise SetupError(f"{folder} holds {why}; Hone reads *.safetensors (save_pretrained of transformers writes them).")


def shapes(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of each weight of the model."""
    for path in weight_files(folder):
        yield from header(path)


def header(path: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of each tensor in one safetensors file; raises SetupError when it is cut short or none."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        if not 0 < length <= path.stat().st_size - _LENGTH:
            raise SetupError(f"{path} is cut short or no safetensors file; fetch it again.")
        content = file.read(length)
    try:
        entries = orjson.loads(content)
        yield from ((name, tuple(entry["shape"])) for name, entry in entries.items() if name != "__metadata__")
    except (orjson.JSONDecodeError, AttributeError, TypeError, KeyError):
        raise SetupError(f"{path} is no safetensors file; fetch it again.") from None
