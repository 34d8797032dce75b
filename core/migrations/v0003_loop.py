"""What the loop keeps: leases, its own state, looks at experiments, notices."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    _new_columns()
    op.create_table(
        "looks",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("experiment", sa.String(40), nullable=False),
        sa.Column("findings", sa.Text, nullable=False),
    )
    op.create_index("looks_experiment", "looks", ["experiment", "id"])
    op.create_table(
        "leases",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "states",
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "notices",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at", sa.BigInteger),
        sa.Column("error", sa.Text),
    )
    op.create_index("notices_next", "notices", ["next_at"])


def _new_columns() -> None:
    # Neither runs nor experiments were written before this revision, and workers are heard anew within seconds.
    op.add_column("workers", sa.Column("adopted", sa.Integer, nullable=False, server_default="0"))
    op.add_column("experiments", sa.Column("kind", sa.String(16), nullable=False, server_default="ab"))
    op.add_column("experiments", sa.Column("steps", sa.Text, nullable=False, server_default="[]"))
    op.drop_column("experiments", "config")
    op.create_index("experiments_challenger", "experiments", ["challenger"])
    op.add_column("runs", sa.Column("attempts", sa.Integer, nullable=False, server_default="0"))
    op.create_index("runs_state", "runs", ["state"])
    op.create_index("interactions_reply", "interactions", ["reply"])
