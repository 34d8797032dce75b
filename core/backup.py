"""One file that holds an install: a consistent copy of the ledger, the spool, the secret, artifacts and datasets.

A tar whose last member, manifest.json, names each other one with its SHA-256; without it the file is not a backup. Made
while Hone runs; restored into an empty folder only. A ledger in PostgreSQL is backed up with PostgreSQL's own tools.
"""

import hashlib
import io
import os
import re
import secrets
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import orjson

from core import migrate
from core.clock import now
from core.config import Settings
from core.disk import sync
from core.errors import SetupError

LEDGER, SECRET, SPOOL, MANIFEST = "ledger.db", "secret", "spool", "manifest.json"
NAMED_BY_THE_LEDGER = ("artifacts", "datasets")
FORMAT = 1
BLOCK = 2**20
_NAME = re.compile(rf"({LEDGER}|{SECRET}|({'|'.join((SPOOL, *NAMED_BY_THE_LEDGER))})(/[A-Za-z0-9_][A-Za-z0-9._-]*)+)")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds: the ledger's revision and the SHA-256 of each file by its name."""

    format: int
    created_at: int
    revision: str
    files: Mapping[str, str]


def backup(settings: Settings, target: Path) -> Manifest:
    """Write the install to `target`, which must not exist; it appears whole, readable by its owner alone.

    Raises SetupError with the cause and the next step.
    """
    _require_sqlite(settings, "run pg_dump, and copy the secret, artifacts and datasets from")
    if target.exists():
        raise SetupError(f"{target} exists already; name another file for the backup.")
    draft = target.with_name(f".{target.name}-{secrets.token_hex(4)}")
    with _explained(f"The backup {target} cannot be written"):
        try:
            manifest = _write(settings, draft)
            draft.rename(target)
            sync(target.absolute().parent)
        finally:
            draft.unlink(missing_ok=True)
            _ledger_copy(draft).unlink(missing_ok=True)
    return manifest


def restore(settings: Settings, source: Path) -> Manifest:
    """Make the data folder from a backup; the folder must be empty or missing, and is left so by a failure.

    Raises SetupError for a damaged or incomplete backup and for one of a newer version of Hone.
    """
    _require_sqlite(settings, "restore it with pg_restore, and copy the secret, artifacts and datasets back to")
    data = settings.data
    if data.exists() and any(data.iterdir()):
        raise SetupError(f"{data} is not empty; set HONE_DATA to a new folder, or move this one away, and restore.")
    # Inside, since the folder may be a disk of its own, into which nothing can be renamed from elsewhere.
    stage = data / f".restore-{secrets.token_hex(4)}"
    with _explained(f"The backup {source} cannot be restored"):
        stage.mkdir(mode=0o700, parents=True)
        data.chmod(0o700)
        try:
            manifest = _read(source, stage)
            for name in (*NAMED_BY_THE_LEDGER, SPOOL, SECRET, LEDGER):
                if (stage / name).exists():
                    (stage / name).rename(data / name)
            sync(data)
        finally:
            shutil.rmtree(stage)
    return manifest


def _require_sqlite(settings: Settings, advice: str) -> None:
    if not settings.database_url.startswith("sqlite"):
        raise SetupError(f"The ledger is in PostgreSQL: {advice} {settings.data}.")


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error, tarfile.TarError) as error:
        raise SetupError(f"{what}: {error}.") from error


def _write(settings: Settings, draft: Path) -> Manifest:
    digests: dict[str, str] = {}
    with (
        os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        # First what waits: its rows move to the ledger, never back. Last what the ledger names.
        for name, path in _files(settings.data, SPOOL):
            with suppress(FileNotFoundError):
                content = path.read_bytes()
                digests[name] = _add(tar, name, io.BytesIO(content), len(content))
        for name, path in _members(settings, draft):
            with path.open("rb") as member:
                digests[name] = _add(tar, name, member, path.stat().st_size)
        revision = migrate.revision(f"sqlite:///{_ledger_copy(draft)}")
        manifest = Manifest(FORMAT, now(), str(revision), digests)
        text = orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2)
        _add(tar, MANIFEST, io.BytesIO(text), len(text))
        tar.close()
        file.flush()
        os.fsync(file.fileno())
    return manifest


def _members(settings: Settings, draft: Path) -> Iterator[tuple[str, Path]]:
    ledger = Path(settings.database_url.removeprefix("sqlite:///"))
    _copy_ledger(ledger, _ledger_copy(draft))
    yield LEDGER, _ledger_copy(draft)
    yield SECRET, settings.data / SECRET
    for folder in NAMED_BY_THE_LEDGER:
        yield from _files(settings.data, folder)


def _files(data: Path, folder: str) -> Iterator[tuple[str, Path]]:
    for path in sorted((data / folder).rglob("*")):
        name = path.relative_to(data).as_posix()
        # Names that begin with a dot are unfinished.
        if path.is_file() and not path.is_symlink() and _NAME.fullmatch(name):
            yield name, path


def _ledger_copy(draft: Path) -> Path:
    return draft.with_name(f"{draft.name}.db")


def _copy_ledger(source: Path, target: Path) -> None:
    if not source.exists():
        raise SetupError(f"There is no ledger {source} to back up; does HONE_DATA name the right folder?")
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True)) as original,
        closing(sqlite3.connect(target)) as copy,
    ):
        target.chmod(0o600)
        original.backup(copy)
        # One file, without a log beside it.
        copy.execute("PRAGMA journal_mode = delete")
    _check_ledger(target)


def _check_ledger(path: Path) -> None:
    with closing(sqlite3.connect(path)) as copy:
        found = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise SetupError(f"The ledger is damaged: {found}; go back to an older backup.")


def _add(tar: tarfile.TarFile, name: str, file: IO[bytes], size: int) -> str:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    reader = _Hashing(file)
    tar.addfile(member, reader)  # type: ignore[arg-type]
    return reader.digest.hexdigest()


class _Hashing:
    """A file whose bytes are digested as they are read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        block = self._file.read(size)
        self.digest.update(block)
        return block


def _read(source: Path, stage: Path) -> Manifest:
    with tarfile.open(source, mode="r:") as tar:
        manifest, found = _unpack(tar, source, stage)
    wrong = {name for name, _ in found.items() ^ manifest.files.items()} | {LEDGER, SECRET} - found.keys()
    if wrong:
        raise SetupError(f"{source} is damaged: {', '.join(sorted(wrong))} differs or is missing.")
    migrate.check_known(manifest.revision)
    _check_ledger(stage / LEDGER)
    return manifest


def _unpack(tar: tarfile.TarFile, source: Path, stage: Path) -> tuple[Manifest, Mapping[str, str]]:
    """The members' digests and what the manifest says; nothing but plain files with names of ours gets to the disk."""
    found: dict[str, str] = {}
    for member in tar:
        known = member.isfile() and (member.name == MANIFEST or _NAME.fullmatch(member.name))
        content = tar.extractfile(member) if known else None
        if content is None:
            raise SetupError(f"{source} holds {member.name!r}, which no backup does; it is not restored.")
        if member.name == MANIFEST:
            return _manifest(content.read(), source), found
        found[member.name] = _extract(content, stage, PurePosixPath(member.name))
    raise SetupError(f"{source} is not a whole backup: its manifest is missing.")


def _manifest(text: bytes, source: Path) -> Manifest:
    try:
        fields = orjson.loads(text)
        manifest = Manifest(**{**fields, "files": dict(fields["files"])})
    except (ValueError, TypeError, KeyError):
        raise SetupError(f"{source} is damaged: its manifest cannot be read.") from None
    if manifest.format != FORMAT:
        raise SetupError(f"{source} has format {manifest.format}; this version of Hone reads {FORMAT}.")
    return manifest


def _extract(content: IO[bytes], stage: Path, name: PurePosixPath) -> str:
    for folder in reversed(name.parents):
        (stage / folder).mkdir(mode=0o700, exist_ok=True)
    target, digest = stage / name, hashlib.sha256()
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        while block := content.read(BLOCK):
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()
