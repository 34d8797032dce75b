"""Datasets, and who stands behind each of their rows."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "datasets",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("manifest", sa.Text, nullable=False),
    )
    op.create_table(
        "dataset_rows",
        sa.Column("dataset", sa.String(64), primary_key=True),
        sa.Column("row", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("feedback", sa.String(64), primary_key=True),
        sa.Column("interaction", sa.String(40), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("weight", sa.Float, nullable=False),
        sa.Column("split", sa.String(16), nullable=False),
    )
    op.create_index("dataset_rows_interaction", "dataset_rows", ["interaction"])
    op.create_index("dataset_rows_feedback", "dataset_rows", ["feedback"])
