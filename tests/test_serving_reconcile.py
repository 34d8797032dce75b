"""Adapters follow the plan, whatever happens to plan, engine, ledger and disk; and the engine is kept up."""

import asyncio
import json
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import StoppedClock
from fixtures_serving import QUESTIONS, RealEngine, eventually, greedy, write_noise_adapter
from safetensors.numpy import load_file, save_file

from core import migrate
from core.config import Settings, parse
from core.errors import EngineUnavailable
from core.lifecycle import Mover, Stage
from core.registry import Registry
from core.store import Store
from core.types import Model, Plan, Version
from core.workers import WorkerBeat
from serving import leash, setup
from serving.adapters import version_name, zero_adapter
from serving.client import EngineClient
from serving.engine import record
from serving.fake import FakeEngine, listening
from serving.reconcile import Reconciler

LONGEST_CALL = 60.0


@pytest.fixture
def settings(tmp_path: Path, model_folder: Path) -> Settings:
    return parse({"data": str(tmp_path / "data"), "engine": {"model": str(model_folder)}})


@pytest.fixture
def registry(settings: Settings, clock: StoppedClock) -> Iterator[Registry]:
    settings.data.mkdir()
    migrate.upgrade(settings.database_url)
    store = Store.open(settings.database_url)
    yield Registry(store, clock)
    store.close()


@pytest.fixture
def champion(settings: Settings, registry: Registry) -> Version:
    return registry.install(setup.version_zero(settings), "test").champion


@pytest.fixture
def fake() -> FakeEngine:
    return FakeEngine(key="secret")


@pytest.fixture
async def client(fake: FakeEngine) -> AsyncIterator[EngineClient]:
    with listening(fake) as url:
        async with EngineClient(url, "secret") as opened:
            yield opened


@pytest.fixture
def reconciler(client: EngineClient, registry: Registry, settings: Settings, clock: StoppedClock) -> Reconciler:
    return Reconciler(client, registry, setup.artifacts(settings), longest_call=LONGEST_CALL, clock=clock)


def candidate(settings: Settings, registry: Registry, tmp_path: Path, number: int = 1) -> Model:
    """A version other than version 0, in shadow."""
    base = setup.resolve(settings)
    folder = tmp_path / f"adapter-{number}"
    zero_adapter(base, folder)
    weights = load_file(folder / "adapter_model.safetensors")
    draws = np.random.default_rng(number)
    noise = {name: draws.standard_normal(tensor.shape).astype(np.float32) for name, tensor in weights.items()}
    save_file(noise, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    artifact = setup.artifacts(settings).add(folder, {"number": number})
    zero = registry.model(current(registry).champion)
    version = version_name(base, artifact.digest)
    model = replace(zero, id=version, digest=artifact.digest, path=artifact.digest, stage=Stage.CANDIDATE)
    registry.register(model, "test")
    return registry.advance(version, Stage.SHADOW, mover=Mover.MONITORING, actor="test", reason="test")


def current(registry: Registry) -> Plan:
    plan = registry.plan()
    assert plan is not None
    return plan


def reject(registry: Registry, version: Version) -> None:
    registry.advance(version, Stage.REJECTED, mover=Mover.OPERATOR, actor="test", reason="test")


def beat(registry: Registry, revision: int, name: str = "gateway-1") -> None:
    registry.beat(WorkerBeat(name, "gateway", "host", 1, 0, revision))


async def test_what_the_plan_wants_is_loaded_from_the_artifacts(
    reconciler: Reconciler, champion: Version, fake: FakeEngine, registry: Registry, settings: Settings
) -> None:
    await reconciler.tick()
    assert fake.loaded == {champion: str(settings.data / "artifacts" / registry.model(champion).digest)}
    assert reconciler.loaded == {champion}


async def test_a_version_that_enters_the_plan_is_loaded_beside_the_champion(
    reconciler: Reconciler, champion: Version, fake: FakeEngine, registry: Registry, settings: Settings, tmp_path: Path
) -> None:
    await reconciler.tick()
    shadow = candidate(settings, registry, tmp_path)
    await reconciler.tick()
    assert fake.loaded.keys() == {champion, shadow.id}


async def test_a_dropped_version_stays_until_every_gateway_has_taken_leave(
    reconciler: Reconciler, champion: Version, fake: FakeEngine, registry: Registry, settings: Settings, tmp_path: Path
) -> None:
    shadow = candidate(settings, registry, tmp_path)
    before = current(registry).revision
    beat(registry, before, "gateway-1")
    beat(registry, before, "gateway-2")
    await reconciler.tick()
    reject(registry, shadow.id)
    after = current(registry).revision
    await reconciler.tick()
    assert shadow.id in fake.loaded
    beat(registry, after, "gateway-1")
    await reconciler.tick()
    assert shadow.id in fake.loaded
    beat(registry, after, "gateway-2")
    await reconciler.tick()
    assert fake.loaded.keys() == reconciler.loaded == {champion}


async def test_a_gateway_that_died_holds_a_version_no_longer_than_a_call_may_take(
    reconciler: Reconciler,
    champion: Version,
    fake: FakeEngine,
    registry: Registry,
    settings: Settings,
    tmp_path: Path,
    clock: StoppedClock,
) -> None:
    shadow = candidate(settings, registry, tmp_path)
    beat(registry, current(registry).revision)
    await reconciler.tick()
    reject(registry, shadow.id)
    clock.advance(LONGEST_CALL)
    await reconciler.tick()
    assert shadow.id in fake.loaded
    clock.advance(1)
    await reconciler.tick()
    assert fake.loaded.keys() == {champion}


async def test_an_adapter_that_nobody_entered_is_taken_out(
    reconciler: Reconciler, champion: Version, fake: FakeEngine
) -> None:
    fake.loaded["stranger"] = "/stranger"
    await reconciler.tick()
    assert fake.loaded.keys() == {champion}


async def test_an_engine_that_forgot_everything_gets_it_back_even_without_the_ledger(
    reconciler: Reconciler, champion: Version, fake: FakeEngine, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    await reconciler.tick()
    fake.loaded.clear()
    (settings.data / "ledger.db").rename(settings.data / "gone.db")
    await reconciler.tick()
    await reconciler.tick()
    assert fake.loaded.keys() == {champion}
    assert caplog.text.count("the ledger cannot be read") == 1
    (settings.data / "gone.db").rename(settings.data / "ledger.db")
    await reconciler.tick()


async def test_nothing_is_taken_out_while_the_ledger_cannot_be_read(
    reconciler: Reconciler, champion: Version, fake: FakeEngine, settings: Settings
) -> None:
    await reconciler.tick()
    fake.loaded["stranger"] = "/stranger"
    (settings.data / "ledger.db").rename(settings.data / "gone.db")
    await reconciler.tick()
    assert "stranger" in fake.loaded


async def test_a_spoilt_artifact_is_told_once_and_keeps_no_other_out(
    reconciler: Reconciler,
    champion: Version,
    fake: FakeEngine,
    registry: Registry,
    settings: Settings,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shadow = candidate(settings, registry, tmp_path)
    (settings.data / "artifacts" / shadow.digest / "adapter_config.json").write_text("{}")
    for _ in range(3):
        await reconciler.tick()
    assert fake.loaded.keys() == reconciler.loaded == {champion}
    told = [entry for entry in caplog.records if entry.levelno == logging.ERROR]
    assert len(told) == 1
    assert shadow.id in told[0].getMessage()


async def test_before_the_first_plan_nothing_happens(reconciler: Reconciler, fake: FakeEngine) -> None:
    fake.loaded["stranger"] = "/stranger"
    await reconciler.tick()
    assert reconciler.plan is None
    assert fake.loaded == {"stranger": "/stranger"}


async def test_an_engine_that_is_down_is_an_error_for_the_keeper(
    registry: Registry, settings: Settings, champion: Version
) -> None:
    async with EngineClient("http://127.0.0.1:9", "secret") as lost:
        reconciler = Reconciler(lost, registry, setup.artifacts(settings), longest_call=LONGEST_CALL)
        with pytest.raises(EngineUnavailable):
            await reconciler.tick()


@pytest.mark.engine
async def test_version_0_answers_exactly_as_the_base_does(engine: RealEngine) -> None:
    async with engine.client() as client:
        for question in QUESTIONS:
            assert await greedy(client, engine.champion, question) == await greedy(client, "hone-tiny", question)


@pytest.mark.engine
async def test_an_adapter_takes_effect_under_its_own_name_only(engine: RealEngine, tmp_path: Path) -> None:
    noise = Version("hone-tiny-noise")
    write_noise_adapter(setup.resolve(engine.settings), tmp_path / "noise")
    async with engine.client() as client:
        before = [await greedy(client, engine.champion, question) for question in QUESTIONS]
        with engine.left_alone():
            await client.load(noise, str(tmp_path / "noise"))
            assert await client.loaded() == engine.wanted() | {noise}
            assert await greedy(client, noise, QUESTIONS[0]) != before[0]
            assert [await greedy(client, engine.champion, question) for question in QUESTIONS] == before
            await client.unload(noise)
            assert not await client.answers(noise)


@pytest.mark.engine
async def test_a_killed_vllm_comes_back_with_its_adapters_by_itself(engine: RealEngine) -> None:
    group = int(json.loads(record(engine.settings.data).read_text())["pgid"])
    os.killpg(group, signal.SIGKILL)
    eventually(10, lambda: not leash.group_exists(group))
    async with engine.client() as client:
        assert not await client.answers(engine.champion)
        deadline = time.monotonic() + 120
        while not await client.answers(engine.champion):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)
        assert await client.loaded() == engine.wanted()
