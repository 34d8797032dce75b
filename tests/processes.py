"""Processes for tests that need several: forked from a server without threads that has loaded what loads slowly."""

import multiprocessing

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["core.ledger", "core.migrate", "psycopg", "sqlalchemy.dialects.postgresql.psycopg", "pytest"]
)
