"""Datasets on the disk: a folder named by the digest of its rows, complete once its manifest is there.

    <folder>/<digest>/rows.jsonl         one row a line; the digest is the SHA-256 of this file
    <folder>/<digest>/exclusions.jsonl   ids and reasons of what became no row
    <folder>/<digest>/manifest.json      written last

Knows JSON, not what a row means.
"""

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from core.disk import sync
from core.errors import Conflict, NotFound
from core.types import JsonObject

FOLDER = "datasets"
"""Where a data folder holds them."""
ROWS, EXCLUSIONS, MANIFEST = "rows.jsonl", "exclusions.jsonl", "manifest.json"
TOMBSTONE: JsonObject = {"erased": True}


@dataclass(frozen=True, slots=True)
class Datasets:
    """All datasets of an install."""

    folder: Path

    def write(self, rows: Sequence[JsonObject], exclusions: Iterable[JsonObject], manifest: JsonObject) -> str:
        """Keep a dataset and return its digest; one that is complete already stays as it is."""
        data = _lines(rows)
        digest = hashlib.sha256(data).hexdigest()
        place = self.folder / digest
        if not (place / MANIFEST).exists():
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            _put(place / ROWS, data)
            _put(place / EXCLUSIONS, _lines(exclusions))
            _put(place / MANIFEST, orjson.dumps({"digest": digest, **manifest}, option=orjson.OPT_INDENT_2))
            sync(self.folder)
        return digest

    def manifest(self, digest: str) -> JsonObject:
        """What a dataset says of itself. Raises NotFound."""
        found: JsonObject = orjson.loads(self._read(digest, MANIFEST))
        return found

    def rows(self, digest: str) -> Sequence[JsonObject]:
        """The rows, checked against the digest. Raises NotFound, and Conflict when they are not what they were."""
        data = self._read(digest, ROWS)
        if hashlib.sha256(data).hexdigest() != digest:
            erased = data.count(b'{"erased":true}\n')
            cause = f"{erased} of its rows were erased" if erased else "its file was changed"
            raise Conflict(f"Dataset {digest[:12]} cannot be trained on: {cause}; make a new one.")
        return [orjson.loads(line) for line in data.splitlines()]

    def exclusions(self, digest: str) -> Sequence[JsonObject]:
        """What became no row, and why. Raises NotFound."""
        return [orjson.loads(line) for line in self._read(digest, EXCLUSIONS).splitlines()]

    def erase(self, digest: str, rows: Collection[int]) -> None:
        """Put tombstones in the place of rows, by line from 0; once more changes nothing. Raises NotFound."""
        lines = self._read(digest, ROWS).splitlines(keepends=True)
        tombstone = _lines([TOMBSTONE])
        _put(self.folder / digest / ROWS, b"".join(tombstone if n in rows else line for n, line in enumerate(lines)))

    def remove(self, digest: str) -> None:
        """Delete a dataset; one that is not there stays away. The manifest goes first."""
        place = self._place(digest)
        (place / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(place, ignore_errors=True)

    def digests(self) -> Iterator[str]:
        """Every dataset that has a folder, complete or not."""
        if self.folder.exists():
            yield from sorted(path.name for path in self.folder.iterdir() if _is_digest(path.name))

    def _place(self, digest: str) -> Path:
        if not _is_digest(digest):
            raise NotFound(f"{digest[:64]!r} is not the digest of a dataset.")
        return self.folder / digest

    def _read(self, digest: str, name: str) -> bytes:
        place = self._place(digest)
        if not (place / MANIFEST).exists():
            raise NotFound(f"There is no dataset {digest[:12]} in {self.folder}.")
        return (place / name).read_bytes()


def _is_digest(name: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{64}", name) is not None


def _lines(records: Iterable[JsonObject]) -> bytes:
    return b"".join(orjson.dumps(each, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE) for each in records)


def _put(path: Path, data: bytes) -> None:
    """Write a whole file under its name, or nothing."""
    draft = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    sync(path.parent)
