"""Erasing a subject: its words go from the ledger, the datasets and the spool; ids, keyed digests and numbers stay.

A call that is under way counts as made later, and what the subject says later is kept as ever. PostgreSQL overwrites
old pages at its own pace; what backups and exports hold is with whoever made them. Knows no HTTP.
"""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, Update, or_, select, update

from core import audit, lineage, states
from core.clock import Clock, now
from core.datasets import Datasets
from core.errors import NotFound, Unavailable
from core.schema import feedback, interactions, nodes, runs
from core.spool import REJECTED, SUFFIX
from core.store import Store
from core.types import JsonObject, Subject, Version
from core.unit import Row, decode

ACTION = "subject.erase"
SERIAL = "erasures"
"""The state that counts erasures, so that every process learns of one."""
BLANK = b" "


@dataclass(frozen=True, slots=True)
class Erased:
    """How many rows lost their words now, and what was ever trained on them."""

    subject: Subject
    interactions: int
    feedback: int
    messages: int
    datasets: Sequence[str]
    versions: Sequence[Version]

    def account(self) -> JsonObject:
        """What the audit log keeps of it."""
        counts = {"interactions": self.interactions, "feedback": self.feedback, "messages": self.messages}
        return {**counts, "datasets": list(self.datasets), "versions": list(self.versions)}


def erase(store: Store, datasets: Datasets, spool: Path, subject: Subject, actor: str, clock: Clock = now) -> Erased:
    """Take away every word of a subject and about its answers; once more takes what came since.

    `spool` is the folder of rows that wait. Raises NotFound for a subject that never called, and Unavailable while rows
    wait or while the database keeps old pages; the next call goes on where this one stopped.
    """
    _check_none_waits(spool)
    with store.write() as conn:
        erased = _erase_rows(conn, subject, clock())
        if erased.interactions or erased.feedback or erased.messages:
            states.put(conn, SERIAL, {"count": serial(conn) + 1}, clock())
            audit.append(conn, actor, ACTION, subject, erased.account(), at=clock())
    _blank_rejected(store, spool, subject)
    forget(datasets, store, subject)
    store.fold()
    return erased


def serial(conn: Connection) -> int:
    """How many erasures there were: once it grew, what a process remembers of messages may be gone."""
    found = states.read(conn, SERIAL)
    count = found.body["count"] if found else 0
    return count if isinstance(count, int) else 0


def touched_by(store: Store, subject: Subject) -> Mapping[str, frozenset[int]]:
    """The datasets with rows that stand on a subject's calls, and the lines of these rows. Raises Unavailable."""
    lines: defaultdict[str, set[int]] = defaultdict(set)
    with store.read() as conn:
        for use in lineage.touched_by(conn, subject):
            lines[use.dataset].add(use.row)
    return {digest: frozenset(rows) for digest, rows in lines.items()}


def forget(datasets: Datasets, store: Store, subject: Subject) -> Sequence[str]:
    """Put tombstones in the place of a subject's rows; the digests of the datasets. Call it once the ledger forgot.

    Folders that the ledger does not know are half made and might hold anybody's text: they go.
    """
    touched = touched_by(store, subject)
    for digest in datasets.digests():
        if not _is_known(store, digest):
            datasets.remove(digest)
        elif digest in touched:
            datasets.erase(digest, touched[digest])
    return sorted(touched)


def _erase_rows(conn: Connection, subject: Subject, at: int) -> Erased:
    mine = interactions.c.subject == subject
    if not subject.isalnum() or conn.execute(select(interactions.c.id).where(mine).limit(1)).first() is None:
        raise NotFound(f"There is no subject {subject[:64]!r}; `hone interactions list --json` shows them.")
    answers = select(interactions.c.id).where(mine)
    about = or_(feedback.c.interaction.in_(answers), feedback.c.actor == subject)
    # Tables in the order in which rows are inserted, so that nobody waits in a circle.
    said = _count(conn, update(feedback).where(about, feedback.c.erased_at.is_(None)).values(body=None, erased_at=at))
    calls = _count(conn, _bare_calls(mine, at))
    words = (nodes.c.subject == subject, nodes.c.erased_at.is_(None))
    messages = _count(conn, update(nodes).where(*words).values(body=None, erased_at=at))
    digests = sorted({use.dataset for use in lineage.touched_by(conn, subject)})
    return Erased(subject, calls, said, messages, digests, _versions(conn, digests))


def _bare_calls(mine: ColumnElement[bool], at: int) -> Update:
    """A call without words: without its place in the tree too, for a message that is said again comes back there."""
    pointers = update(interactions).where(mine, interactions.c.erased_at.is_(None)).values(prompt=None, reply=None)
    return pointers.values(params={}, tags={}, request_id=None, conversation=None, erased_at=at)


def _versions(conn: Connection, digests: Sequence[str]) -> Sequence[Version]:
    made = select(runs.c.model).where(runs.c.dataset.in_(digests), runs.c.model.is_not(None))
    return sorted(set(conn.scalars(made)))


def _count(conn: Connection, query: Update) -> int:
    return conn.execute(query).rowcount


def _is_known(store: Store, digest: str) -> bool:
    with store.read() as conn:
        return lineage.manifest(conn, digest) is not None


def _check_none_waits(spool: Path) -> None:
    waiting = [path for path in spool.glob(f"*{SUFFIX}") if path.stat().st_size]
    if waiting:
        raise Unavailable(
            f"Rows wait in {spool}, perhaps this subject's too; a running gateway stores them once the database works. "
            "Try again then.",
            retry_after=2,
        )


def _blank_rejected(store: Store, spool: Path, subject: Subject) -> None:
    """Overwrite lines that the database refused, where they lie: others may add to the file meanwhile."""
    files = list(spool.glob(f"*{REJECTED}"))
    if not files:
        return
    with store.read() as conn:
        answers = frozenset(conn.scalars(select(interactions.c.id).where(interactions.c.subject == subject)))
    for path in files:
        _blank_file(path, subject, answers)


def _blank_file(path: Path, subject: Subject, answers: frozenset[str]) -> None:
    place = 0
    with path.open("r+b") as file:
        for line in file.read().splitlines(keepends=True):
            if _concerns(line, subject, answers):
                os.pwrite(file.fileno(), BLANK * (len(line) - 1), place)
            place += len(line)
        os.fsync(file.fileno())


def _concerns(line: bytes, subject: Subject, answers: frozenset[str]) -> bool:
    if subject.encode() in line:
        return True
    try:
        unit = decode(line)
    except ValueError:
        return False
    return any(_answer(row) in answers for row in unit)


def _answer(row: Row) -> str:
    return str(row.values.get("interaction"))
