"""Which answers reviewers were asked about, and with what probability; retractions by their time."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "asks",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("interaction", sa.String(40), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("propensity", sa.Float, nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
    )
    op.create_index("asks_interaction", "asks", ["interaction", "actor"])
    op.create_index("asks_actor", "asks", ["actor", "id"])
    op.create_index("retractions_created", "retractions", ["created_at"])
