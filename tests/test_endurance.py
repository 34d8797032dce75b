"""What must hold however rough it gets, on the real stack: kills, cuts and swaps under load.

`make test` runs each a few times, `make soak` as often as the figures in the notes say.
"""

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from fixtures_hone import RunningHone
from fixtures_serving import write_noise_adapter
from registry_story import await_approval

from core.approval import Consent
from core.lifecycle import Mover, Stage
from core.registry import Registry
from core.secret import Secret
from core.store import Store
from core.types import Model, Version
from serving import setup
from serving.adapters import version_name
from serving.client import EngineClient

pytestmark = [pytest.mark.engine, pytest.mark.slow]

QUESTION = [{"role": "user", "content": "Who are you?"}]


def session(hone: RunningHone, role: str, connections: int = 64) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        hone.url,
        headers={"authorization": f"Bearer {hone.keys[role]}"},
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=60),
    )


async def interactions(hone: RunningHone, **filters: str) -> list[Mapping[str, Any]]:
    """Every interaction that matches, newest first."""
    rows: list[Mapping[str, Any]] = []
    cursor: str | None = None
    async with session(hone, "ops") as http:
        while True:
            page = {**filters, "limit": "100"} | ({"cursor": cursor} if cursor else {})
            async with http.get("/api/interactions", params=page) as response:
                assert response.status == 200, await response.text()
                body = await response.json()
            rows += body["data"]
            cursor = body["next"]
            if cursor is None:
                return rows


async def ask(http: aiohttp.ClientSession, **fields: Any) -> tuple[int, Mapping[str, Any], Mapping[str, str]]:
    body = {"model": "hone", "messages": QUESTION, "temperature": 0, "max_tokens": 16, **fields}
    async with http.post("/v1/chat/completions", json=body) as response:
        return response.status, await response.json(), response.headers


async def until_ready(http: aiohttp.ClientSession, seconds: float) -> float:
    """Seconds until /readyz says 200; fails after `seconds`."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        try:
            async with http.get("/readyz") as response:
                if response.status == 200:
                    return time.monotonic() - began
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.05)
    raise AssertionError(f"not ready after {seconds} s")


async def test_no_accepted_rating_is_lost_or_doubled_when_the_gateway_is_killed(hone: RunningHone, soak: bool) -> None:
    kills, in_flight = (20 if soak else 3), 64
    accepted: set[str] = set()
    stop = asyncio.Event()

    # Whoever waits for a place in the raters' pool may wait for ever, so the watcher has a pool of its own.
    async with session(hone, "user") as http, session(hone, "user") as watcher:
        _, answer, _ = await ask(http)

        async def rate(worker: int) -> None:
            count = 0
            while not stop.is_set():
                name, body = f"{worker}-{count}", {"response_id": answer["id"], "name": "thumbs", "value": True}
                body["tags"] = {"n": name}
                try:
                    async with http.post("/v1/feedback", json=body, headers={"idempotency-key": name}) as response:
                        if response.status in (200, 201):
                            accepted.add(name)
                            count += 1
                        else:
                            assert response.status in (429, 503), await response.text()
                            await asyncio.sleep(0.05)
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)

        raters = [asyncio.create_task(rate(worker)) for worker in range(in_flight)]
        back = []
        for _ in range(kills):
            await asyncio.sleep(random.Random(len(back)).uniform(0.5, 1.5))
            for pid in await gateways(hone):
                os.kill(pid, signal.SIGKILL)
            back.append(await until_ready(watcher, 10))
        stop.set()
        await asyncio.gather(*raters)

    async with session(hone, "ops") as http:
        query = {"response_id": answer["id"], "history": "true"}
        async with http.get("/v1/feedback", params=query) as response:
            rows = (await response.json())["data"]
    names = [row["tags"]["n"] for row in rows]
    print(f"\nratings accepted {len(accepted)}, kills {kills}, slowest return {max(back):.1f} s")
    assert accepted - set(names) == set()
    assert len(names) == len(set(names))


async def gateways(hone: RunningHone) -> list[int]:
    """The gateway processes that live, as the supervisor's own children."""
    status = json.loads(hone.command("status", "--json").stdout)
    return [process["pid"] for process in status["processes"] if process["name"].startswith("gateway")]


async def test_each_cut_stream_is_a_row_and_stops_the_engine(hone: RunningHone, soak: bool) -> None:
    cuts, rng, ids = (1000 if soak else 60), random.Random(7), []
    gate = asyncio.Semaphore(32)

    async def cut(http: aiohttp.ClientSession) -> None:
        # The lowest temperature at which hone-tiny rambles on, so that there is something to cut.
        body = {"model": "hone", "messages": QUESTION, "stream": True, "max_tokens": 400, "temperature": 2.0}
        async with gate, http.post("/v1/chat/completions", json=body) as response:
            assert response.status == 200
            events = rng.randint(1, 12)
            async for line in response.content:
                if line.startswith(b"data: {"):
                    ids.append(json.loads(line[6:])["id"])
                    events -= 1
                if events <= 0:
                    response.close()
                    return

    async with session(hone, "user", 32) as http:
        await asyncio.gather(*(cut(http) for _ in range(cuts)))
    quiet = await seconds_until_quiet(hone)
    rows = {row["id"]: row for row in await interactions(hone)}
    seen = set(ids)
    print(f"\nstreams {cuts}, rows {len(seen & rows.keys())}, engine quiet after {quiet:.2f} s")
    assert len(seen) == cuts
    assert seen <= rows.keys()
    assert {rows[i]["finish"] for i in seen} <= {"cancelled", "stop", "length"}
    assert sum(rows[i]["finish"] == "cancelled" for i in seen) > cuts / 2
    assert quiet <= 2


async def seconds_until_quiet(hone: RunningHone) -> float:
    began = time.monotonic()
    async with engine(hone) as client:
        while await client.running() and time.monotonic() - began < 30:
            await asyncio.sleep(0.02)
    return time.monotonic() - began


def engine(hone: RunningHone) -> EngineClient:
    return EngineClient(hone.settings.engine_url, Secret.load(hone.data).engine_key())


async def test_a_swap_under_load_fails_nobody_and_rows_name_who_answered(hone: RunningHone, soak: bool) -> None:
    swaps = 100 if soak else 8
    store = Store.open(hone.settings.database_url)
    registry = Registry(store)
    try:
        rival = await asyncio.to_thread(put_rival_in_shadow, hone, registry)
        async with session(hone, "ops") as http:
            expected = {v: await text_of(http, v) for v in (registry_plan(registry).champion, rival)}
            assert len(set(expected.values())) == 2
            stop, told = asyncio.Event(), []

            async def chat() -> None:
                while not stop.is_set():
                    status, body, headers = await ask(http)
                    assert status == 200, body
                    told.append((body["id"], headers["x-hone-version"], body["choices"][0]["message"]["content"]))

            talkers = [asyncio.create_task(chat()) for _ in range(16)]
            for count in range(swaps):
                await asyncio.to_thread(swap, registry, rival, first=count == 0)
                await asyncio.sleep(0.6)
            stop.set()
            await asyncio.gather(*talkers)
            if registry_plan(registry).champion == rival:
                await asyncio.to_thread(swap, registry, rival, first=False)
        rows = {row["id"]: row["served"] for row in await interactions(hone)}
        print(f"\nswaps {swaps}, answers {len(told)}, versions {sorted({v for _, v, _ in told})}")
        assert {version for _, version, _ in told} == set(expected)
        assert all(rows[i] == version and text == expected[version] for i, version, text in told)
    finally:
        store.close()


def registry_plan(registry: Registry) -> Any:
    plan = registry.plan()
    assert plan is not None
    return plan


async def text_of(http: aiohttp.ClientSession, version: Version) -> str:
    """What a version says when asked by name; waits until the engine holds it."""
    for _ in range(100):
        status, body, _ = await ask(http, model=version)
        if status == 200:
            return str(body["choices"][0]["message"]["content"])
        await asyncio.sleep(0.1)
    raise AssertionError(f"{version} never answered: {body}")


def put_rival_in_shadow(hone: RunningHone, registry: Registry) -> Version:
    """Register an adapter that changes every answer, and have the engine load it."""
    settings, folder = hone.settings, hone.data / "rival"
    base = setup.resolve(settings)
    write_noise_adapter(base, folder)
    artifact = setup.artifacts(settings).add(folder, {"kind": "rival"})
    version = version_name(base, artifact.digest)
    registry.register(
        Model(
            id=version,
            created_at=0,
            stage=Stage.CANDIDATE,
            revision=0,
            base=base.name,
            base_digest=base.digest,
            digest=artifact.digest,
            path=str(artifact.path),
            parent=registry_plan(registry).champion,
        ),
        "test",
    )
    registry.advance(version, Stage.SHADOW, mover=Mover.MONITORING, actor="test", reason="to be swapped in")
    return version


def swap(registry: Registry, rival: Version, *, first: bool) -> None:
    if not first:
        registry.rollback(mover=Mover.OPERATOR, actor="test", reason="swap under load")
        return
    # At once: the conductor of this Hone sends back to shadow what awaits approval on evidence that is not its own.
    await_approval(registry, rival, shadowed=True)
    frozen = registry.evidence(rival)
    assert frozen is not None
    registry.promote(rival, Consent("test", "swap under load", frozen.digest))
