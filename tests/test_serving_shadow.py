"""The mirror: which calls are mirrored, what a failure tells about a version, and a queue that makes nobody wait."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest
from answers import answer

from core.ids import new_id
from core.rules import Shadow
from core.types import Arm, Finish, Version
from serving.client import EngineClient
from serving.fake import FakeEngine, Knobs, listening
from serving.shadow import PRIORITY, Copy, Echo, Result, ShadowQueue, ask, is_sampled

V1, V2 = Version("tiny-v1-aaaa"), Version("tiny-v2-bbbb")
CALL = {"messages": [{"role": "user", "content": "Hello"}], "temperature": 0, "stream": True, "stream_options": {}}


def copy(version: Version = V1) -> Copy:
    return Copy(new_id(), "/v1/chat/completions", version, CALL)


@pytest.mark.parametrize(
    ("changes", "mirrored"),
    [
        ({}, True),
        ({"arm": Arm.HOLDBACK, "finish": Finish.LENGTH, "tags": {"purpose": "chat"}}, True),
        ({"arm": Arm.CHALLENGER}, False),
        ({"arm": Arm.PINNED}, False),
        ({"arm": Arm.NAMED}, False),
        ({"arm": Arm.EXTERNAL}, False),
        ({"arm": Arm.SHADOW}, False),
        ({"finish": Finish.ERROR}, False),
        ({"finish": Finish.CANCELLED}, False),
        ({"finish": Finish.TOOL_CALLS}, False),
        ({"kind": "completion"}, False),
        ({"stored": False}, False),
        ({"tags": {"purpose": "measurement"}}, False),
    ],
)
def test_only_whole_stored_chats_of_the_champion_are_mirrored(changes: dict[str, object], mirrored: bool) -> None:
    assert is_sampled(answer(**changes), V1, 1.0) is mirrored


def test_the_share_is_met_drawn_anew_for_each_version_and_the_same_everywhere() -> None:
    calls = [answer() for _ in range(4000)]
    first, second = ([call.id for call in calls if is_sampled(call, version, 0.25)] for version in (V1, V2))
    for chosen in (first, second):
        assert abs(len(chosen) - 1000) < 5 * (4000 * 0.25 * 0.75) ** 0.5
    assert abs(len(set(first) & set(second)) - 250) < 5 * (4000 * 0.0625) ** 0.5
    assert first == [call.id for call in calls if is_sampled(call, V1, 0.25)]
    assert set(first) <= {call.id for call in calls if is_sampled(call, V1, 0.5)}


def test_a_copy_asks_the_same_of_another_version_in_one_piece_and_after_everybody_else() -> None:
    asked = orjson.loads(copy(V2).body())
    assert asked == {"messages": CALL["messages"], "temperature": 0, "model": V2, "priority": PRIORITY}
    assert PRIORITY > 0


@asynccontextmanager
async def client_of(engine: FakeEngine) -> AsyncIterator[EngineClient]:
    engine.loaded[V1] = ""
    with listening(engine) as url:
        async with EngineClient(url, "") as client:
            yield client


async def test_an_answer_comes_back_whole() -> None:
    async with client_of(FakeEngine(answer=lambda version, _: f"I am {version}")) as client:
        echo = await ask(client, copy(), 5)
    assert echo is not None
    assert echo.failure is None
    assert orjson.loads(echo.body)["choices"][0]["message"]["content"] == f"I am {V1}"
    assert 0 < echo.seconds < 5


async def test_a_version_that_fails_in_an_engine_that_is_well_fails_by_itself() -> None:
    async with client_of(FakeEngine(knobs={V1: Knobs(fail=1.0)})) as client:
        echo = await ask(client, copy(), 5)
    assert echo is not None
    assert echo.failure == "engine_500"


async def test_the_same_failure_of_an_engine_that_is_not_well_tells_nothing() -> None:
    async with client_of(FakeEngine(knobs={V1: Knobs(fail=1.0)}, healthy=False)) as client:
        assert await ask(client, copy(), 5) is None


async def test_a_version_that_is_not_loaded_and_an_engine_that_breaks_off_or_is_gone_tell_nothing() -> None:
    async with client_of(FakeEngine(knobs={V1: Knobs(cut_after=2)})) as client:
        assert await ask(client, copy(V2), 5) is None
        assert await ask(client, copy(V1), 5) is None
    async with EngineClient("http://127.0.0.1:9", "") as nobody:
        assert await ask(nobody, copy(), 5) is None


async def test_a_version_that_does_not_come_to_an_end_fails() -> None:
    engine = FakeEngine(knobs={V1: Knobs(first_token=30)})
    async with client_of(engine) as client:
        echo = await ask(client, copy(), 0.2)
        assert echo == Echo(b"", "deadline_exceeded", echo.seconds if echo else 0)
        while engine.running:
            await asyncio.sleep(0.01)


class Stage:
    """Work that says when it began and ends when it may."""

    def __init__(self) -> None:
        self.began = 0
        self.most = 0
        self.busy = 0
        self.go = asyncio.Event()

    async def __call__(self) -> Result:
        self.began += 1
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            await self.go.wait()
        finally:
            self.busy -= 1
        return Result.MIRRORED


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_the_queue_holds_what_it_may_leaves_the_rest_out_and_works_on_some_at_a_time() -> None:
    counts: Counter[Result] = Counter()
    queue, stage = ShadowQueue(Shadow(queue=3, concurrency=2), lambda result: counts.update([result])), Stage()
    running = asyncio.create_task(queue.run())
    await settle()
    for _ in range(10):
        queue.offer(stage)
        await settle()
    assert (stage.began, counts) == (2, {Result.DROPPED: 5})
    stage.go.set()
    await settle()
    assert (stage.most, counts) == (2, {Result.DROPPED: 5, Result.MIRRORED: 5})
    running.cancel()
    await asyncio.wait([running])


async def test_what_waits_or_is_under_way_at_the_end_is_left_out_and_counted() -> None:
    counts: Counter[Result] = Counter()
    queue, stage = ShadowQueue(Shadow(queue=3, concurrency=2), lambda result: counts.update([result])), Stage()
    running = asyncio.create_task(queue.run())
    for _ in range(3):
        queue.offer(stage)
    await settle()
    running.cancel()
    await asyncio.wait_for(asyncio.wait([running]), 1)
    assert running.cancelled()
    assert (stage.busy, counts) == (0, {Result.DROPPED: 3})


async def test_work_that_goes_wrong_is_counted_and_the_next_piece_is_done() -> None:
    counts: Counter[Result] = Counter()
    queue = ShadowQueue(Shadow(concurrency=1), lambda result: counts.update([result]))

    async def broken() -> Result:
        raise AttributeError("nobody thought of it")

    async def sound() -> Result:
        return Result.FAILED

    running = asyncio.create_task(queue.run())
    for work in (broken, sound):
        queue.offer(work)
    await settle()
    assert counts == {Result.DROPPED: 1, Result.FAILED: 1}
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])
