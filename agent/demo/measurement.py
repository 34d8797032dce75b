"""The held-back questions, asked of one version by name: tagged, so that nothing learns from them or is judged."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import openai

from agent.cli.customers import VERSION_HEADER, Row
from agent.cli.openai_calls import translated
from agent.demo.record import Share
from core.errors import HoneError
from core.interactions import MEASUREMENT
from core.text import same_answer

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam

AT_ONCE = 8
MAX_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Answered:
    """One question, by its phase; `failure` is what a call that failed for good was told."""

    phase: str
    right: bool
    failure: str | None = None


async def measure(
    client: openai.AsyncOpenAI, version: str, rows: Sequence[Row], step: Callable[[int], None]
) -> list[Answered]:
    """Every row once; `step` gets the number of those that are done. The key must be an operator's."""
    waiting = iter(rows)
    answered: list[Answered] = []

    async def ask() -> None:
        for row in waiting:
            answered.append(await _one(client, version, row))
            step(len(answered))

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(ask())
    return answered


def by_phase(answered: Sequence[Answered], phases: Sequence[str]) -> Iterator[tuple[str, Share]]:
    """What was right in each phase; a question without an answer is not right."""
    for phase in phases:
        marks = [one.right for one in answered if one.phase == phase]
        yield phase, Share(len(marks), sum(marks))


async def _one(client: openai.AsyncOpenAI, version: str, row: Row) -> Answered:
    try:
        with translated(str(client.base_url)):
            return Answered(row.phase, await _is_right(client, version, row))
    except HoneError as error:
        return Answered(row.phase, False, f"{row.id}: {error.message}")


async def _is_right(client: openai.AsyncOpenAI, version: str, row: Row) -> bool:
    name, value = MEASUREMENT
    raw = await client.chat.completions.with_raw_response.create(
        model=version,
        messages=cast("list[ChatCompletionMessageParam]", list(row.messages)),
        temperature=0,
        max_tokens=MAX_TOKENS,
        metadata={name: value},
        user=f"measurement of {row.user}",
    )
    if (answering := raw.headers.get(VERSION_HEADER)) != version:
        raise HoneError(f"{answering} answered in the place of {version}.")
    return same_answer(raw.parse().choices[0].message.content or "", row.answer)
