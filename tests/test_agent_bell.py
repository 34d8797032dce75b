"""Waiting for other threads: every answer arrives, a burst rings seldom, giving up does no harm."""

import asyncio
import random
import threading
from concurrent.futures import Future

import pytest

from agent.bell import Bell


async def test_every_answer_arrives_whatever_thread_gives_it() -> None:
    bell, draws = Bell(), random.Random(3)
    futures: list[Future[int]] = [Future() for _ in range(3000)]

    def answer(share: list[int]) -> None:
        for number in share:
            futures[number].set_result(number)

    order = draws.sample(range(len(futures)), len(futures))
    threads = [threading.Thread(target=answer, args=(order[start::6],)) for start in range(6)]
    waiting = [asyncio.create_task(bell.wait(future)) for future in futures]
    await asyncio.sleep(0)
    for thread in threads:
        thread.start()
    async with asyncio.timeout(20):
        assert await asyncio.gather(*waiting) == list(range(len(futures)))
    for thread in threads:
        thread.join()


class CountedBell(Bell):
    """Counts how often it woke the loop."""

    rings = 0

    def _wake(self) -> None:
        self.rings += 1
        super()._wake()


async def test_answers_that_come_together_ring_once() -> None:
    bell = CountedBell()
    futures: list[Future[int]] = [Future() for _ in range(100)]
    waiting = [asyncio.create_task(bell.wait(future)) for future in futures]
    await asyncio.sleep(0)
    for future in futures:
        future.set_result(1)
    await asyncio.gather(*waiting)
    assert bell.rings == 1


async def test_a_failure_is_raised_and_an_answer_that_is_there_is_not_waited_for() -> None:
    bell = Bell()
    failed: Future[int] = Future()
    failed.set_exception(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await bell.wait(failed)


async def test_who_gives_up_leaves_the_future_to_others() -> None:
    bell = Bell()
    future: Future[int] = Future()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await bell.wait(future)
    other = asyncio.create_task(bell.wait(future))
    await asyncio.sleep(0)
    future.set_result(5)
    assert await other == 5
