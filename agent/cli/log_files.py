"""The processes' log files, read: their ends, what was added since, and JSON lines as people read them."""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from core.types import JsonObject

BLOCK = 1 << 16
LONGEST_TAIL = 1 << 22
LARGEST = 1 << 24
SHOWN_ELSEWHERE = frozenset({"time", "level", "process", "message", "logger", "traceback"})


def size(path: Path) -> int:
    """Bytes in a file; 0 when there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def make_room(path: Path) -> None:
    """Put a file that has grown large aside, in place of the one that was put aside before."""
    if size(path) > LARGEST:
        path.replace(path.with_suffix(".log.1"))


def since(path: Path, offset: int, lines: int) -> list[str]:
    """The last `lines` lines that were written behind `offset`, at most 4 MiB of them."""
    try:
        with path.open("rb") as file:
            file.seek(max(offset, size(path) - LONGEST_TAIL))
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-lines:] if lines else []


def tail(path: Path, lines: int) -> list[str]:
    """The last `lines` lines of a file."""
    return since(path, 0, lines)


def follow(paths: Mapping[str, Path], pause: float = 0.2) -> Iterator[tuple[str, str]]:
    """Each (name, line) that is added from now on, for ever; files may appear later or start anew."""
    places = {name: size(path) for name, path in paths.items()}
    while True:
        for name, path in paths.items():
            end = size(path)
            start = places[name] if places[name] <= end else 0
            lines, places[name] = _complete_lines(path, start, end)
            yield from ((name, line) for line in lines)
        time.sleep(pause)


def _complete_lines(path: Path, start: int, end: int) -> tuple[list[str], int]:
    """The finished lines between two places, and where the next one begins."""
    if start == end:
        return [], start
    with path.open("rb") as file:
        file.seek(start)
        block = file.read(min(end - start, BLOCK))
    whole = block.rfind(b"\n") + 1
    if whole == 0 and len(block) == BLOCK:
        whole = BLOCK
    return block[:whole].decode("utf-8", errors="replace").splitlines(), start + whole


def fields(line: str) -> JsonObject | None:
    """The fields of a line that is a JSON object; None for any other line."""
    if not line.startswith("{"):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def readable(line: str) -> str:
    """A line as people read it: time, level and message first, then what else it carries."""
    record = fields(line)
    if record is None or "message" not in record:
        return line
    head = f"{record.get('time', '')} {str(record.get('level', '')).upper():<7} {record['message']}"
    rest = " ".join(f"{name}={value}" for name, value in record.items() if name not in SHOWN_ELSEWHERE)
    trace = f"\n{record['traceback']}" if record.get("traceback") else ""
    return f"{head} {rest}".rstrip() + trace
