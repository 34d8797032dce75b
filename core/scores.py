"""Scores as rows: what monitoring measured of an answer, one number a name."""

from collections.abc import Sequence
from dataclasses import fields

from sqlalchemy import Connection, select

from core.schema import scores as table
from core.types import Score, Version


def of_interaction(conn: Connection, interaction_id: str) -> Sequence[Score]:
    """Every score of one answer, oldest first."""
    columns = [table.c[field.name] for field in fields(Score)]
    query = select(*columns).where(table.c.interaction == interaction_id).order_by(table.c.created_at, table.c.id)
    return [Score(**{**row, "version": Version(row["version"])}) for row in conn.execute(query).mappings()]
