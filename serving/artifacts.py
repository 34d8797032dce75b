"""Adapters on disk, named by their content: a folder appears whole and verified, or not at all, and never changes.

The digest of an artifact is that of its manifest, which holds the digest of each file. Knows nothing of versions.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from core.disk import sync
from core.errors import BadRequest, NotFound, SetupError
from core.types import Json, JsonObject
from serving.adapters import CONFIG, WEIGHTS
from serving.model_files import header, read_json

MANIFEST = "manifest.json"
REQUIRED = (CONFIG, WEIGHTS)
ALLOWED = frozenset(
    {
        *REQUIRED,
        "README.md",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.json",
        "merges.txt",
        "chat_template.jinja",
    }
)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A verified adapter folder."""

    digest: str
    path: Path
    manifest: JsonObject


class Artifacts:
    """The store of one data folder; `max_rank` is the largest adapter rank that the engine takes."""

    def __init__(self, folder: Path, max_rank: int) -> None:
        self._folder = folder
        self._max_rank = max_rank

    def add(self, source: Path, about: Mapping[str, Json]) -> Artifact:
        """Take a copy of an adapter folder; `about` says where it came from and is part of its identity.

        Adding the same content again gives the same artifact. Raises BadRequest for a file that has no place in an
        adapter, a link, a rank that the engine would refuse, or tensors that belong to no adapter.
        """
        names = _checked(source)
        if fault := self._fault(source):
            raise BadRequest(fault)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=self._folder))
        try:
            for name in names:
                shutil.copyfile(source / name, draft / name, follow_symlinks=False)
            manifest = orjson.dumps({"about": about, "files": _sums(draft, names)}, option=orjson.OPT_SORT_KEYS)
            digest = hashlib.sha256(manifest).hexdigest()
            (draft / MANIFEST).write_bytes(manifest)
            _place(draft, self._folder / digest)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return self.open(digest)

    def open(self, digest: str) -> Artifact:
        """A stored artifact, every byte checked.

        Raises NotFound, or SetupError when the disk has changed it or the engine takes smaller ranks only by now.
        """
        path = self._folder / digest
        if not (digest.isalnum() and (path / MANIFEST).is_file()):
            raise NotFound(f"The artifact {digest[:64]} is not in {self._folder}; restore it from a backup.")
        content = (path / MANIFEST).read_bytes()
        manifest = read_json(path / MANIFEST)
        if hashlib.sha256(content).hexdigest() != digest or _sums(path, manifest["files"]) != manifest["files"]:
            raise SetupError(f"The artifact {path} is not what it was when it was stored; restore it from a backup.")
        if fault := self._fault(path):
            raise SetupError(f"{fault} Raise engine.max_lora_rank; the artifact is {path}.")
        return Artifact(digest, path, manifest)

    def _fault(self, folder: Path) -> str | None:
        """Why the engine would not take an adapter."""
        rank = read_json(folder / CONFIG).get("r")
        if not isinstance(rank, int) or not 0 < rank <= self._max_rank:
            return f"The adapter's rank is {rank}; the engine takes 1 to {self._max_rank}."
        for name, shape in header(folder / WEIGHTS):
            if ".lora_A." not in name and ".lora_B." not in name:
                return f"{WEIGHTS} holds {name}, which is no part of a LoRA adapter."
            if len(shape) != 2 or shape[0 if ".lora_A." in name else 1] > self._max_rank:
                return f"{name} has the shape {shape}; the engine takes ranks up to {self._max_rank}."
        return None


def _checked(source: Path) -> list[str]:
    """The names of a folder's files, none of them a surprise."""
    if not source.is_dir():
        raise BadRequest(f"The adapter folder {source} does not exist.")
    entries = sorted(source.iterdir())
    for entry in entries:
        if entry.is_symlink() or not entry.is_file():
            raise BadRequest(f"{entry} is a link or no plain file; an adapter folder holds plain files only.")
        if entry.name not in ALLOWED:
            raise BadRequest(f"{entry.name} has no place in an adapter; allowed are {', '.join(sorted(ALLOWED))}.")
    names = [entry.name for entry in entries]
    if missing := [name for name in REQUIRED if name not in names]:
        raise BadRequest(f"{source} is no adapter: it lacks {', '.join(missing)}.")
    return names


def _sums(folder: Path, names: "Mapping[str, Json] | list[str]") -> dict[str, str]:
    sums = {}
    for name in names:
        path = folder / Path(name).name
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                sums[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums


def _place(draft: Path, target: Path) -> None:
    """Rename a finished folder into place after its bytes are on the disk; an equal one that is there stays."""
    for path in (*draft.iterdir(), draft):
        sync(path)
    try:
        draft.rename(target)
    except OSError:
        if not (target / MANIFEST).exists():
            raise
    sync(target.parent)
