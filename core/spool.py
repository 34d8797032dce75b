"""A local folder of rows that wait for the database: append-only files, one a process, on the disk before they count.

A file is locked while its process lives; what a dead process left behind is adopted when the next one starts. Lines
that cannot become rows are set aside in a `.rejected` file. Knows nothing of what is in a line. One thread uses it.
"""

import errno
import fcntl
import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from core.disk import sync

SUFFIX, REJECTED = ".jsonl", ".rejected"
CHUNK_BYTES = 4 * 2**20

log = logging.getLogger(__name__)


class SpoolFull(OSError):
    """The spool holds as much as it may."""


@dataclass(slots=True)
class _File:
    """An open, locked file: `end` bytes of whole lines, of which `start` bytes are done with."""

    path: Path
    descriptor: int
    end: int
    start: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some of the oldest waiting lines."""

    lines: Sequence[bytes]
    file: _File
    end: int


class Spool:
    """The folder's waiting lines, oldest first, and a file of this process to append to."""

    def __init__(self, folder: Path, cap: int) -> None:
        self._folder = folder
        self._cap = cap
        self._orphans = _adopt(folder)
        self._own = _create(folder)
        self._closed = False

    @classmethod
    def open(cls, folder: Path, cap: int) -> Self:
        """The spool in `folder`, at most `cap` bytes of it. Raises OSError when the folder cannot be used."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(folder, cap)

    @property
    def waiting(self) -> int:
        """Bytes that wait."""
        return sum(file.end - file.start for file in (*self._orphans, self._own))

    def append(self, lines: Sequence[bytes]) -> None:
        """Put lines on the disk, all or none. Raises SpoolFull beyond the cap, OSError when the disk refuses."""
        data = b"".join(lines)
        if len(data) + sum(file.end for file in (*self._orphans, self._own)) > self._cap:
            raise SpoolFull(errno.ENOSPC, f"the spool in {self._folder} is full")
        if not _in_place(self._own):
            self._replace()
        file = self._own
        try:
            _write(file.descriptor, data, file.end)
            os.fsync(file.descriptor)
        except OSError:
            with suppress(OSError):
                os.ftruncate(file.descriptor, file.end)
            raise
        file.end += len(data)

    def peek(self, lines: int) -> Chunk | None:
        """Up to `lines` of the oldest waiting lines; None when nothing waits."""
        for file in (*self._orphans, self._own):
            if file.start < file.end:
                return _read(file, lines)
        return None

    def done(self, chunk: Chunk, rejected: Mapping[int, str]) -> None:
        """Forget a chunk. `rejected` maps places in it to the reason why they did not become rows; they are set aside.

        Raises OSError when they cannot be; the chunk then waits on.
        """
        if rejected:
            self._set_aside(chunk, rejected)
        chunk.file.start = chunk.end
        if chunk.file.start == chunk.file.end:
            self._clear(chunk.file)

    def close(self) -> None:
        """Give up the locks; an empty file of our own is removed. Closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._own.end == 0 and _in_place(self._own):
            self._own.path.unlink()
        for file in (*self._orphans, self._own):
            os.close(file.descriptor)

    def _clear(self, file: _File) -> None:
        if file is self._own:
            os.ftruncate(file.descriptor, 0)
            file.start = file.end = 0
        else:
            self._orphans.remove(file)
            file.path.unlink(missing_ok=True)
            os.close(file.descriptor)

    def _set_aside(self, chunk: Chunk, rejected: Mapping[int, str]) -> None:
        path = chunk.file.path.with_suffix(REJECTED)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            data = b"".join(chunk.lines[place] for place in rejected)
            _write(descriptor, data, os.fstat(descriptor).st_size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        for reason in rejected.values():
            log.error("a spooled line could not become rows and was set aside in %s: %s", path, reason)

    def _replace(self) -> None:
        """Start a new file where ours was taken away; what waited in the old one is drained through its descriptor."""
        lost, self._own = self._own, _create(self._folder)
        self._orphans.append(lost)


def _create(folder: Path) -> _File:
    while True:
        path = folder / f"{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        file = _File(path, descriptor, 0)
        # Between creation and lock another process may take the file for an orphan and remove it.
        if _lock(descriptor) and _in_place(file):
            sync(folder)
            return file
        os.close(descriptor)


def _adopt(folder: Path) -> list[_File]:
    """The files whose processes are dead, oldest first; from now on they are ours."""
    found = [file for path in folder.glob(f"*{SUFFIX}") if (file := _take_over(path))]
    return sorted(found, key=lambda file: os.fstat(file.descriptor).st_mtime_ns)


def _take_over(path: Path) -> _File | None:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    file = _File(path, descriptor, 0)
    if _lock(descriptor) and _in_place(file):
        file.end = _whole(descriptor)
        if file.end:
            return file
        path.unlink()
    os.close(descriptor)
    return None


def _whole(descriptor: int) -> int:
    """The length up to the last newline: a torn last line was never acknowledged."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - 2**16)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _read(file: _File, lines: int) -> Chunk:
    found: list[bytes] = []
    end = file.start
    with os.fdopen(os.dup(file.descriptor), "rb") as stream:
        stream.seek(file.start)
        while len(found) < lines and end < min(file.end, file.start + CHUNK_BYTES):
            found.append(stream.readline())
            end += len(found[-1])
    return Chunk(found, file, end)


def _write(descriptor: int, data: bytes, place: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, place)
        view, place = view[written:], place + written


def _in_place(file: _File) -> bool:
    try:
        there = file.path.stat()
    except OSError:
        return False
    return os.path.samestat(there, os.fstat(file.descriptor))


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
