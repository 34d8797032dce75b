"""JSON files that are there whole or not at all, whoever reads them while they change."""

import os
import secrets
from pathlib import Path
from typing import Any

import orjson

from core.disk import sync
from core.types import JsonObject


def put(path: Path, content: JsonObject) -> None:
    """Write or replace a file so that it outlives a power cut."""
    draft = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        with draft.open("xb") as file:
            file.write(orjson.dumps(content, option=orjson.OPT_INDENT_2))
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    sync(path.parent)


def get(path: Path) -> dict[str, Any] | None:
    """What a file says, or None while there is none."""
    try:
        content: dict[str, Any] = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return content
