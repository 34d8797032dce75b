"""An engine is kept up: ready means answering, a restart brings everything back, and some failures need a person."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from core import migrate
from core.config import Settings, parse
from core.errors import SetupError
from core.registry import Registry
from core.store import Store
from core.types import Version
from serving import setup
from serving.client import EngineClient
from serving.fake import FakeEngine, Knobs, listening
from serving.keeper import Keeper, pause_before
from serving.reconcile import Reconciler


@pytest.fixture
def settings(tmp_path: Path, model_folder: Path) -> Settings:
    return parse({"data": str(tmp_path / "data"), "engine": {"model": str(model_folder)}})


@pytest.fixture
def registry(settings: Settings) -> Iterator[Registry]:
    settings.data.mkdir()
    migrate.upgrade(settings.database_url)
    store = Store.open(settings.database_url)
    yield Registry(store)
    store.close()


@pytest.fixture
def champion(settings: Settings, registry: Registry) -> Version:
    return registry.install(setup.version_zero(settings), "test").champion


class Scripted:
    """An engine whose life a test writes: a fake engine on one port that ends with a status when told to."""

    def __init__(self, fake: FakeEngine, port: int) -> None:
        self.fake = fake
        self.port = port
        self.starts = 0
        self.fate: int | None = None
        """The status with which each start ends at once; None: it runs until `end`."""
        self._over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._server: AbstractContextManager[str] | None = None

    @property
    def alive(self) -> bool:
        return not self._over.done()

    async def start(self) -> None:
        self.starts += 1
        self._over = asyncio.get_running_loop().create_future()
        if self.fate is not None:
            self.end(self.fate)
            return
        self.fake.loaded.clear()
        self._server = listening(self.fake, self.port)
        self._server.__enter__()

    def end(self, status: int) -> None:
        if not self._over.done():
            self._over.set_result(status)

    async def stop(self) -> None:
        self.end(0)
        if self._server:
            self._server.__exit__(None, None, None)
            self._server = None

    async def ended(self) -> int:
        return await asyncio.shield(self._over)

    def tail(self) -> str:
        return "its last words"


@pytest.fixture
async def engine_process() -> AsyncIterator[Scripted]:
    with listening(FakeEngine()) as url:
        port = int(url.rpartition(":")[2])
    scripted = Scripted(FakeEngine(key="secret"), port)
    yield scripted
    await scripted.stop()


KeeperFactory = Callable[..., Keeper]


@pytest.fixture
async def make_keeper(engine_process: Scripted, registry: Registry, settings: Settings) -> AsyncIterator[KeeperFactory]:
    async with EngineClient(f"http://127.0.0.1:{engine_process.port}", "secret") as client:
        reconciler = Reconciler(client, registry, setup.artifacts(settings), longest_call=60.0)
        yield lambda timeout=30.0: Keeper(
            engine_process, client, reconciler, lambda plan, loaded: None, start_timeout=timeout
        )


async def eventually(fact: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.02)


async def test_a_kept_engine_is_ready_with_its_adapters_and_comes_back_with_them(
    make_keeper: KeeperFactory, engine_process: Scripted, champion: Version
) -> None:
    keeper = make_keeper()
    running = asyncio.create_task(keeper.run())
    for starts in (1, 2, 3):
        await eventually(lambda: any(call.body["model"] == champion for call in engine_process.fake.calls))
        assert engine_process.starts == starts
        assert champion in engine_process.fake.loaded
        engine_process.fake.calls.clear()
        engine_process.end(137)
    keeper.stop()
    await asyncio.wait_for(running, 5)
    assert not engine_process.alive


async def test_an_engine_that_refuses_to_start_is_for_a_person_with_its_last_words(
    make_keeper: KeeperFactory, engine_process: Scripted, champion: Version
) -> None:
    engine_process.fate = 2
    with pytest.raises(SetupError, match=r"status 2\. .*\n.*its last words"):
        await asyncio.wait_for(make_keeper().run(), 5)
    assert engine_process.starts == 1


async def test_an_engine_that_is_killed_at_its_start_is_tried_three_times(
    make_keeper: KeeperFactory, engine_process: Scripted, champion: Version
) -> None:
    engine_process.fate = 137
    with pytest.raises(SetupError, match="status 137"):
        await asyncio.wait_for(make_keeper().run(), 10)
    assert engine_process.starts == 3


async def test_an_engine_that_was_ready_once_is_restarted_even_when_it_refuses(
    make_keeper: KeeperFactory, engine_process: Scripted, champion: Version
) -> None:
    keeper = make_keeper()
    running = asyncio.create_task(keeper.run())
    await eventually(lambda: bool(engine_process.fake.calls))
    engine_process.fate = 2
    engine_process.end(1)
    await eventually(lambda: engine_process.starts >= 4)
    engine_process.fate = None
    engine_process.fake.calls.clear()
    await eventually(lambda: bool(engine_process.fake.calls))
    keeper.stop()
    await asyncio.wait_for(running, 5)


async def test_an_engine_that_never_answers_fails_by_time(
    make_keeper: KeeperFactory, engine_process: Scripted, champion: Version
) -> None:
    engine_process.fake.knobs[""] = Knobs(fail=1.0)
    with pytest.raises(SetupError, match=r"not ready after 0\.3 s"):
        await asyncio.wait_for(make_keeper(0.3).run(), 15)
    assert engine_process.starts == 3


async def test_a_stop_during_the_start_does_not_wait_for_it(
    make_keeper: KeeperFactory, engine_process: Scripted, champion: Version
) -> None:
    engine_process.fake.healthy = False
    keeper = make_keeper()
    running = asyncio.create_task(keeper.run())
    await eventually(lambda: engine_process.starts == 1)
    await asyncio.sleep(0.2)
    began = time.monotonic()
    keeper.stop()
    await asyncio.wait_for(running, 5)
    assert time.monotonic() - began < 1
    assert not engine_process.alive


def test_pauses_grow_from_none_to_half_a_minute() -> None:
    pauses = [pause_before(failures) for failures in range(1, 12)]
    assert pauses[:4] == [0.0, 0.5, 1.0, 2.0]
    assert pauses == sorted(pauses)
    assert pauses[-1] == pause_before(10_000) == 30.0
