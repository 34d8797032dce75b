"""The first schema: conversations, judgements, versions, work and access."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _conversations()
    _judgements()
    _measures()
    _versions()
    _experiments()
    _work()
    _access()


def _conversations() -> None:
    op.create_table(
        "nodes",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("parent", sa.String(64)),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text),
        sa.Column("erased_at", sa.BigInteger),
    )
    op.create_index("nodes_subject", "nodes", ["subject"])
    op.create_table(
        "interactions",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("key_id", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("conversation", sa.String(64)),
        sa.Column("experiment", sa.String(40)),
        sa.Column("arm", sa.String(16), nullable=False),
        sa.Column("assigned", sa.String(128), nullable=False),
        sa.Column("served", sa.String(128)),
        sa.Column("propensity", sa.Float, nullable=False),
        sa.Column("asked", sa.Float),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("config_digest", sa.String(64), nullable=False),
        sa.Column("parent", sa.String(40)),
        sa.Column("prompt", sa.String(64)),
        sa.Column("reply", sa.String(64)),
        sa.Column("params", sa.Text, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("finish", sa.String(16), nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("stored", sa.Boolean, nullable=False),
        sa.Column("prompt_tokens", sa.Integer),
        sa.Column("completion_tokens", sa.Integer),
        sa.Column("first_token", sa.BigInteger),
        sa.Column("duration", sa.BigInteger),
        sa.Column("request_id", sa.String(200)),
        sa.Column("provider", sa.String(128)),
        sa.Column("cost", sa.Float),
        sa.Column("erased_at", sa.BigInteger),
    )
    op.create_index("interactions_arm", "interactions", ["arm", "id"])
    op.create_index("interactions_experiment", "interactions", ["experiment", "id"])
    op.create_index("interactions_parent", "interactions", ["parent", "id"])
    op.create_index("interactions_served", "interactions", ["served", "id"])
    op.create_index("interactions_subject", "interactions", ["subject", "id"])


def _judgements() -> None:
    op.create_table(
        "feedback",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("interaction", sa.String(40), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.Float),
        sa.Column("label", sa.String(64)),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(40), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("corrected", sa.Boolean, nullable=False),
        sa.Column("body", sa.Text),
        sa.Column("request_digest", sa.String(64), nullable=False),
        sa.Column("erased_at", sa.BigInteger),
    )
    op.create_index("feedback_actor", "feedback", ["actor"])
    op.create_index("feedback_created", "feedback", ["created_at", "id"])
    op.create_index("feedback_interaction", "feedback", ["interaction", "name", "actor"])
    op.create_table(
        "retractions",
        sa.Column("feedback", sa.String(64), primary_key=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("key_id", sa.String(40), nullable=False),
    )


def _measures() -> None:
    op.create_table(
        "scores",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("interaction", sa.String(40), nullable=False),
        sa.Column("version", sa.String(128), nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.Float, nullable=False),
    )
    op.create_index("scores_interaction", "scores", ["interaction"])
    op.create_index("scores_name", "scores", ["name", "id"])
    op.create_table(
        "checks",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("stream", sa.String(64), nullable=False),
        sa.Column("version", sa.String(128)),
        sa.Column("statistic", sa.Float),
        sa.Column("threshold", sa.Float),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
    )
    op.create_index("checks_kind", "checks", ["kind", "id"])


def _versions() -> None:
    op.create_table(
        "models",
        sa.Column("id", sa.String(128), primary_key=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("stage", sa.String(24), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("base", sa.Text, nullable=False),
        sa.Column("base_digest", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("parent", sa.String(128)),
        sa.Column("run", sa.String(40)),
        sa.Column("manifest", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text),
        sa.Column("evidence_digest", sa.String(64)),
        sa.Column("evidence_at", sa.BigInteger),
        sa.Column("evidence_void", sa.Text),
    )
    op.create_table(
        "moves",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("source", sa.String(24), nullable=False),
        sa.Column("target", sa.String(24), nullable=False),
        sa.Column("mover", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("moves_model", "moves", ["model", "id"])
    op.create_table(
        "plan",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("champion", sa.String(128), nullable=False),
        sa.Column("previous", sa.String(128)),
        sa.Column("shadow", sa.String(128)),
        sa.Column("split", sa.Text),
        sa.Column("holdback", sa.Text),
    )


def _experiments() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("champion", sa.String(128), nullable=False),
        sa.Column("challenger", sa.String(128), nullable=False),
        sa.Column("salt", sa.String(64), nullable=False),
        sa.Column("share", sa.Float, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("config", sa.Text, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("reason", sa.Text),
    )
    op.create_table(
        "exposures",
        sa.Column("experiment", sa.String(40), primary_key=True),
        sa.Column("subject", sa.String(64), primary_key=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("arm", sa.String(16), nullable=False),
        sa.Column("share", sa.Float, nullable=False),
        sa.Column("interaction", sa.String(40), nullable=False),
    )


def _work() -> None:
    op.create_table(
        "workers",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("loaded", sa.Text, nullable=False),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("method", sa.String(32), nullable=False),
        sa.Column("recipe", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("requester", sa.String(64), nullable=False),
        sa.Column("trigger", sa.String(64)),
        sa.Column("lease_owner", sa.String(64)),
        sa.Column("lease_token", sa.Integer, nullable=False),
        sa.Column("lease_until", sa.BigInteger),
        sa.Column("progress", sa.Text, nullable=False),
        sa.Column("dataset", sa.String(64)),
        sa.Column("model", sa.String(128)),
        sa.Column("error", sa.Text),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
    )


def _access() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
    )
    op.create_table(
        "audit",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("target", sa.String(128), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
    )
