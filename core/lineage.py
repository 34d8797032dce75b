"""From answers and raters to datasets and back: which row of which dataset stands on which judgement.

Rows hold ids and keyed digests only, so they may stay when a subject is erased.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

from sqlalchemy import ColumnElement, Connection, select

from core.errors import Conflict
from core.schema import dataset_rows, datasets, interactions
from core.store import insert_new
from core.types import JsonObject, Subject

ANSWERS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Use:
    """One judgement behind one row. `row` is the line of the dataset, from 0; `split` what that row was for."""

    dataset: str
    row: int
    feedback: str
    interaction: str
    actor: str
    weight: float
    split: str


def record(conn: Connection, digest: str, created_at: int, manifest: JsonObject, uses: Sequence[Use]) -> None:
    """Make a dataset known; one that is known already stays as it is.

    Raises Conflict when one of the answers was erased since it was read.
    """
    _refuse_erased(conn, sorted({use.interaction for use in uses}))
    insert_new(conn, datasets, [{"digest": digest, "created_at": created_at, "manifest": manifest}])
    insert_new(conn, dataset_rows, [asdict(use) for use in uses])


def known(conn: Connection) -> frozenset[str]:
    """The digests of all datasets."""
    return frozenset(conn.scalars(select(datasets.c.digest)))


def manifest(conn: Connection, digest: str) -> JsonObject | None:
    """The manifest of a dataset."""
    found: JsonObject | None = conn.scalar(select(datasets.c.manifest).where(datasets.c.digest == digest))
    return found


def touched_by(conn: Connection, subject: Subject) -> Sequence[Use]:
    """Every use of an answer that this subject was given, by dataset and row; it does not matter who judged it."""
    return _uses(
        conn, dataset_rows.c.interaction.in_(select(interactions.c.id).where(interactions.c.subject == subject))
    )


def of_interaction(conn: Connection, interaction_id: str) -> Sequence[Use]:
    """What became of the judgements of one answer."""
    return _uses(conn, dataset_rows.c.interaction == interaction_id)


def of_dataset(conn: Connection, digest: str) -> Sequence[Use]:
    """Who stands behind each row of a dataset."""
    return _uses(conn, dataset_rows.c.dataset == digest)


def _uses(conn: Connection, condition: ColumnElement[bool]) -> Sequence[Use]:
    columns = [dataset_rows.c[field.name] for field in fields(Use)]
    order = dataset_rows.c.dataset, dataset_rows.c.row, dataset_rows.c.feedback
    return [Use(*row) for row in conn.execute(select(*columns).where(condition).order_by(*order))]


def _refuse_erased(conn: Connection, answers: Sequence[str]) -> None:
    for start in range(0, len(answers), ANSWERS_AT_ONCE):
        some = answers[start : start + ANSWERS_AT_ONCE]
        # The lock makes an erasure that comes at the same time wait, and then see the dataset.
        query = select(interactions.c.erased_at).where(interactions.c.id.in_(some)).with_for_update(read=True)
        if any(erased_at is not None for erased_at in conn.scalars(query)):
            raise Conflict("An answer of this dataset was erased while it was made; make it again.")
