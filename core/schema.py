"""The ledger's tables, one definition for SQLite and PostgreSQL; migrations/ brings a database here.

Append-only, save for the few state rows (plan, versions, runs, experiments, workers, keys), which change by
compare-and-swap. Every text a person wrote sits in a `body` column under its subject, so that erasing a subject is one
UPDATE a table. Times are microseconds since the epoch.

Messages form a tree by content: a node's id is a keyed digest of its parent's id and its own message, so that the
turns of a conversation share their past and n turns cost O(n). An interaction points at the last message it was given
(`prompt`) and at its answer (`reply`). The tables of the loop are in core/schema_loop.py.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
)

from core.columns import JsonText, time
from core.columns import metadata as metadata
from core.schema_loop import asks as asks
from core.schema_loop import checks as checks
from core.schema_loop import dataset_rows as dataset_rows
from core.schema_loop import datasets as datasets
from core.schema_loop import experiments as experiments
from core.schema_loop import exposures as exposures
from core.schema_loop import leases as leases
from core.schema_loop import looks as looks
from core.schema_loop import notices as notices
from core.schema_loop import runs as runs
from core.schema_loop import scores as scores
from core.schema_loop import states as states

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
    Index("interactions_reply", "reply"),
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
    Index("retractions_created", "created_at"),
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
    Column("revision", Integer, nullable=False),  # the oldest plan that a call of this worker still runs under
    Column("adopted", Integer, nullable=False),  # the plan that new calls go by
    Column("loaded", JsonText, nullable=False),  # engines: the adapters they hold
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
