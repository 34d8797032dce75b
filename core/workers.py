"""The workers that say they are alive: what each acts on, and which adapters an engine holds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, select, update

from core.schema import workers as table
from core.store import insert_new


@dataclass(frozen=True, slots=True)
class WorkerBeat:
    """A sign of life. `revision` is the oldest plan that a call of the worker still runs under, `adopted` the one that
    new calls go by, `loaded` the adapters that an engine holds."""

    id: str
    kind: str
    host: str
    pid: int
    started_at: int
    revision: int
    loaded: Sequence[str] = ()
    adopted: int = 0


@dataclass(frozen=True, slots=True)
class Worker(WorkerBeat):
    """A worker and when it was last heard."""

    seen_at: int = 0


def note(conn: Connection, beat: WorkerBeat, at: int) -> None:
    """Keep the newest beat of each worker."""
    row = {**asdict(beat), "loaded": list(beat.loaded), "seen_at": at}
    if conn.execute(update(table).where(table.c.id == beat.id).values(**row)).rowcount == 0:
        insert_new(conn, table, [row])


def heard(conn: Connection, since: int) -> Sequence[Worker]:
    """The workers heard at or after `since`, in the order of their ids."""
    rows = conn.execute(select(table).where(table.c.seen_at >= since).order_by(table.c.id)).mappings()
    return [Worker(**{**row, "loaded": tuple(row["loaded"])}) for row in rows]
