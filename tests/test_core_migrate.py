"""Migrations: they arrive at the schema of the code, once, on both databases, and never go on from the unknown."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from cluster import Cluster
from processes import PROCESSES
from sqlalchemy import inspect, text

from core import migrate
from core.errors import SetupError, Unavailable
from core.ids import new_id
from core.schema import metadata
from core.store import Store


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new.db'}"
    cluster: Cluster = request.getfixturevalue("cluster")
    name = f"empty_{new_id()}"
    request.addfinalizer(lambda: cluster.drop(name))
    return cluster.create(name)


def test_a_migrated_database_is_the_schema_of_the_code(store: Store) -> None:
    with store.write() as conn:
        assert compare_metadata(MigrationContext.configure(conn), metadata) == []


def test_the_comparison_notices_a_difference(sqlite_url: str) -> None:
    store = Store.open(sqlite_url)
    with store.write() as conn:
        conn.execute(text("DROP INDEX nodes_subject"))
        assert len(compare_metadata(MigrationContext.configure(conn), metadata)) == 1
    store.close()


def test_upgrading_twice_is_upgrading_once(empty_url: str) -> None:
    for _ in range(2):
        migrate.upgrade(empty_url)
        assert migrate.revision(empty_url) == migrate.head()


def test_processes_that_upgrade_at_once_all_succeed(empty_url: str) -> None:
    started = [PROCESSES.Process(target=migrate.upgrade, args=(empty_url,)) for _ in range(4)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0] * 4
    assert migrate.revision(empty_url) == migrate.head()


def test_a_newer_database_is_refused_and_left_alone(empty_url: str) -> None:
    migrate.upgrade(empty_url)
    store = Store.open(empty_url)
    with store.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    with pytest.raises(SetupError, match=f"9999.*{migrate.head()}"):
        migrate.upgrade(empty_url)
    assert migrate.revision(empty_url) == "9999"


def test_an_upgrade_that_fails_leaves_nothing_behind(empty_url: str) -> None:
    store = Store.open(empty_url, create=True)
    with store.write() as conn:
        conn.execute(text("CREATE TABLE audit (x INTEGER)"))
    with pytest.raises(Exception, match="already exists"):
        migrate.upgrade(empty_url)
    with store.read() as conn:
        assert inspect(conn).get_table_names() == ["audit"]
    store.close()


def test_the_revision_of_nothing(empty_url: str, tmp_path: Path) -> None:
    if empty_url.startswith("sqlite"):
        with pytest.raises(Unavailable):
            migrate.revision(empty_url)
        assert not (tmp_path / "new.db").exists()
    else:
        assert migrate.revision(empty_url) is None
