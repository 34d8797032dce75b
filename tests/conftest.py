"""What many tests share: a clock that stands still, a secret, and an empty ledger on each of the two databases."""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cluster import PROGRAMS, Cluster

from core import clock as time
from core import config, migrate
from core.schema import metadata
from core.secret import Secret
from core.spool import Spool
from core.store import Store
from core.writer import Writer

SHARED = "shared"
DATABASES = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]

pytest_plugins = ["fixtures_hone", "fixtures_serving"]


@dataclass
class StoppedClock:
    """Says the same microsecond until it is told to go on."""

    at: int = 1_800_000_000 * time.SECOND

    def __call__(self) -> int:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += round(seconds * time.SECOND)


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
def secret() -> Secret:
    return Secret.of(b"tests" * 6 + b"!!")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if not (PROGRAMS / "initdb").exists():
        pytest.skip(f"PostgreSQL's server programs are not in {PROGRAMS}; install postgresql-15")
    running = Cluster()
    migrate.upgrade(running.create(SHARED))
    yield running
    running.remove()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "ledger.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(tmp_path: Path, migrated_file: Path) -> str:
    """An empty ledger in `tmp_path`."""
    shutil.copy(migrated_file, tmp_path / "ledger.db")
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def postgres_url(cluster: Cluster) -> Iterator[str]:
    """An empty ledger. Its schema is the same for all tests: one that changes it needs a database of its own."""
    yield cluster.url(SHARED)
    cluster.empty(SHARED, metadata.tables)


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty ledger, once on each database."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = Store.open(database_url)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_store(sqlite_url: str) -> Iterator[Store]:
    store = Store.open(sqlite_url)
    yield store
    store.close()


WriterFactory = Callable[..., Writer]


@pytest.fixture
def start_writer(tmp_path: Path) -> Iterator[WriterFactory]:
    """Makes running writers whose spool is in `tmp_path`; settings of the ledger by keyword."""
    running: list[Writer] = []

    def start(store: Store, spool: Path = tmp_path / "spool", **settings: object) -> Writer:
        ledger = config.Ledger.model_validate(settings)
        writer = Writer(store, Spool.open(spool, ledger.spool_mib * 2**20), ledger)
        writer.start()
        running.append(writer)
        return writer

    yield start
    for writer in running:
        writer.close()


@pytest.fixture(autouse=True)
def _keep_small_numbers() -> Iterator[None]:
    """A training in this process flushes numbers near zero, which other tests count on."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)
