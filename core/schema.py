"""The ledger's tables, one definition for SQLite and PostgreSQL; migrations/ brings a database here.

Append-only, save for the few state rows (plan, versions, runs, experiments, workers, keys), which change by
compare-and-swap. Every text a person wrote sits in a `body` column under its subject, so that erasing a subject is one
UPDATE a table. Times are microseconds since the epoch.

Messages form a tree by content: a node's id is a keyed digest of its parent's id and its own message, so that the
turns of a conversation share their past and n turns cost O(n). An interaction points at the last message it was given
(`prompt`) and at its answer (`reply`).
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

from core.columns import JsonText, time

metadata = MetaData()


nodes = Table(
    "nodes",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("subject", String(64), nullable=False),
    Column("parent", String(64)),
    time("created_at"),
    Column("body", JsonText),  # the message; null once erased
    time("erased_at", nullable=True),
    Index("nodes_subject", "subject"),
)

interactions = Table(
    "interactions",
    metadata,
    Column("id", String(40), primary_key=True),
    time("created_at"),
    Column("kind", String(16), nullable=False),
    Column("key_id", String(40), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("conversation", String(64)),
    Column("experiment", String(40)),
    Column("arm", String(16), nullable=False),
    Column("assigned", String(128), nullable=False),
    Column("served", String(128)),
    Column("propensity", Float, nullable=False),
    Column("asked", Float),
    Column("revision", Integer, nullable=False),
    Column("config_digest", String(64), nullable=False),
    Column("parent", String(40)),
    Column("prompt", String(64)),
    Column("reply", String(64)),
    Column("params", JsonText, nullable=False),
    Column("tags", JsonText, nullable=False),
    Column("finish", String(16), nullable=False),
    Column("error", Text),
    Column("stream", Boolean, nullable=False),
    Column("stored", Boolean, nullable=False),
    Column("prompt_tokens", Integer),
    Column("completion_tokens", Integer),
    Column("first_token", BigInteger),
    Column("duration", BigInteger),
    Column("request_id", String(200)),
    Column("provider", String(128)),
    Column("cost", Float),
    time("erased_at", nullable=True),
    Index("interactions_subject", "subject", "id"),
    Index("interactions_served", "served", "id"),
    Index("interactions_arm", "arm", "id"),
    Index("interactions_experiment", "experiment", "id"),
    Index("interactions_parent", "parent", "id"),
)

feedback = Table(
    "feedback",
    metadata,
    Column("id", String(64), primary_key=True),
    time("created_at"),
    Column("interaction", String(40), nullable=False),
    Column("name", String(64), nullable=False),
    Column("value", Float),
    Column("label", String(64)),
    Column("actor", String(64), nullable=False),
    Column("key_id", String(40), nullable=False),
    Column("role", String(16), nullable=False),
    Column("corrected", Boolean, nullable=False),
    Column("body", JsonText),  # comment, reasons, correction, tags; null once erased
    Column("request_digest", String(64), nullable=False),
    time("erased_at", nullable=True),
    Index("feedback_interaction", "interaction", "name", "actor"),
    Index("feedback_created", "created_at", "id"),
    Index("feedback_actor", "actor"),
)

retractions = Table(
    "retractions",
    metadata,
    Column("feedback", String(64), primary_key=True),
    time("created_at"),
    Column("key_id", String(40), nullable=False),
)

scores = Table(
    "scores",
    metadata,
    Column("id", String(40), primary_key=True),
    time("created_at"),
    Column("interaction", String(40), nullable=False),
    Column("version", String(128), nullable=False),
    Column("source", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("value", Float, nullable=False),
    Index("scores_interaction", "interaction"),
    Index("scores_name", "name", "id"),
)

checks = Table(
    "checks",
    metadata,
    Column("id", String(40), primary_key=True),
    time("created_at"),
    Column("kind", String(32), nullable=False),
    Column("stream", String(64), nullable=False),
    Column("version", String(128)),
    Column("statistic", Float),
    Column("threshold", Float),
    Column("verdict", String(16), nullable=False),
    Column("count", Integer, nullable=False),
    Column("details", JsonText, nullable=False),
    Index("checks_kind", "kind", "id"),
)

models = Table(
    "models",
    metadata,
    Column("id", String(128), primary_key=True),
    time("created_at"),
    Column("stage", String(24), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("base", Text, nullable=False),
    Column("base_digest", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("path", Text, nullable=False),
    Column("parent", String(128)),
    Column("run", String(40)),
    Column("manifest", JsonText, nullable=False),
    Column("evidence", JsonText),  # the snapshot frozen on arrival at awaiting_approval
    Column("evidence_digest", String(64)),
    time("evidence_at", nullable=True),
    Column("evidence_void", Text),
)

moves = Table(
    "moves",
    metadata,
    Column("id", String(40), primary_key=True),
    time("created_at"),
    Column("model", String(128), nullable=False),
    Column("source", String(24), nullable=False),
    Column("target", String(24), nullable=False),
    Column("mover", String(16), nullable=False),
    Column("actor", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Index("moves_model", "model", "id"),
)

plan = Table(
    "plan",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1: one row decides
    Column("revision", Integer, nullable=False),
    time("updated_at"),
    Column("champion", String(128), nullable=False),
    Column("previous", String(128)),
    Column("shadow", String(128)),
    Column("split", JsonText),
    Column("holdback", JsonText),
)

workers = Table(
    "workers",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    time("started_at"),
    time("seen_at"),
    Column("revision", Integer, nullable=False),  # the plan that this worker acts on
    Column("loaded", JsonText, nullable=False),  # engines: the adapters they hold
)

experiments = Table(
    "experiments",
    metadata,
    Column("id", String(40), primary_key=True),
    time("created_at"),
    Column("champion", String(128), nullable=False),
    Column("challenger", String(128), nullable=False),
    Column("salt", String(64), nullable=False),
    Column("share", Float, nullable=False),
    Column("state", String(16), nullable=False),
    Column("config", JsonText, nullable=False),
    time("ended_at", nullable=True),
    Column("reason", Text),
)

exposures = Table(
    "exposures",
    metadata,
    Column("experiment", String(40), primary_key=True),
    Column("subject", String(64), primary_key=True),
    time("created_at"),
    Column("arm", String(16), nullable=False),
    Column("share", Float, nullable=False),
    Column("interaction", String(40), nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(40), primary_key=True),
    time("created_at"),
    Column("state", String(16), nullable=False),
    Column("method", String(32), nullable=False),
    Column("recipe", JsonText, nullable=False),
    Column("reason", Text, nullable=False),
    Column("requester", String(64), nullable=False),
    Column("trigger", String(64)),
    Column("lease_owner", String(64)),
    Column("lease_token", Integer, nullable=False),
    time("lease_until", nullable=True),
    Column("progress", JsonText, nullable=False),
    Column("dataset", String(64)),
    Column("model", String(128)),
    Column("error", Text),
    time("started_at", nullable=True),
    time("ended_at", nullable=True),
)

datasets = Table(
    "datasets",
    metadata,
    Column("digest", String(64), primary_key=True),
    time("created_at"),
    Column("manifest", JsonText, nullable=False),
)

dataset_rows = Table(
    "dataset_rows",
    metadata,
    Column("dataset", String(64), primary_key=True),
    Column("row", Integer, primary_key=True, autoincrement=False),  # the line of the dataset, from 0
    Column("feedback", String(64), primary_key=True),
    Column("interaction", String(40), nullable=False),
    Column("actor", String(64), nullable=False),
    Column("weight", Float, nullable=False),
    Column("split", String(16), nullable=False),
    Index("dataset_rows_interaction", "interaction"),
    Index("dataset_rows_feedback", "feedback"),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(40), primary_key=True),
    time("created_at"),
    Column("name", String(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("created_by", String(64), nullable=False),
    time("revoked_at", nullable=True),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    time("created_at"),
    Column("actor", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", String(128), nullable=False),
    Column("body", JsonText, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
)
