"""The tables of the loop: scores and checks, runs and their datasets, experiments, and what its processes keep.

Part of core/schema.py, which is the door to all tables.
"""

from sqlalchemy import Column, Float, Index, Integer, String, Table, Text

from core.columns import JsonText, metadata, time

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

experiments = Table(
    "experiments",
    metadata,
    Column("id", String(40), primary_key=True),
    time("created_at"),
    Column("kind", String(16), nullable=False),
    Column("champion", String(128), nullable=False),
    Column("challenger", String(128), nullable=False),
    Column("salt", String(64), nullable=False),
    Column("share", Float, nullable=False),
    Column("state", String(16), nullable=False),
    Column("steps", JsonText, nullable=False),  # the challenger's share from which revision of the plan on
    time("ended_at", nullable=True),
    Column("reason", Text),
    Index("experiments_challenger", "challenger"),
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

looks = Table(
    "looks",
    metadata,
    Column("id", String(40), primary_key=True),
    time("created_at"),
    Column("experiment", String(40), nullable=False),
    Column("findings", JsonText, nullable=False),
    Index("looks_experiment", "experiment", "id"),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("token", Integer, nullable=False),  # grows with each owner, so that an old one's writes can be told
    time("until"),
)

states = Table(
    "states",
    metadata,
    Column("name", String(200), primary_key=True),
    time("updated_at"),
    Column("body", JsonText, nullable=False),
)

notices = Table(
    "notices",
    metadata,
    Column("id", String(40), primary_key=True),
    time("created_at"),
    Column("kind", String(32), nullable=False),
    Column("body", JsonText, nullable=False),
    Column("attempts", Integer, nullable=False),
    time("next_at", nullable=True),  # null: delivered or given up
    Column("error", Text),
    Index("notices_next", "next_at"),
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
    Column("attempts", Integer, nullable=False),
    Column("dataset", String(64)),
    Column("model", String(128)),
    Column("error", Text),
    time("started_at", nullable=True),
    time("ended_at", nullable=True),
    Index("runs_state", "state"),
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

asks = Table(
    "asks",
    metadata,
    Column("id", String(40), primary_key=True),
    time("created_at"),
    Column("interaction", String(40), nullable=False),
    Column("actor", String(64), nullable=False),  # the reviewer whose word on this answer was asked for
    Column("propensity", Float, nullable=False),
    Column("reason", String(32), nullable=False),
    Index("asks_interaction", "interaction", "actor"),
    Index("asks_actor", "actor", "id"),
)
