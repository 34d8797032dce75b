"""Customers: rows of a file played through the official OpenAI client, rated, corrected and counted.

A row is one question of one customer with the right answer. Only what Hone asks to have rated is rated; which of these
answers are, and which are corrected, follows from the seed and the row alone, not from the order in which answers come.
Knows nothing of what happens to the ratings.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, cast

import openai

from agent.cli.openai_calls import translated
from core.errors import BadRequest, HoneError
from core.stats import wilson
from core.text import same_answer
from core.types import Json, JsonObject

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam

VERSION_HEADER = "x-hone-version"
ASK_HEADER = "x-hone-ask"


@dataclass(frozen=True, slots=True)
class Row:
    """One question: `messages` end with what the customer `user` asks, `answer` is right."""

    id: str
    phase: str
    user: str
    messages: tuple[JsonObject, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class Customs:
    """How customers behave: shares of the answers asked about that are rated and, if wrong, corrected; turns a row."""

    rate: float = 1.0
    correct: float = 1.0
    repeat: int = 1
    concurrency: int = 4
    seed: int = 0
    temperature: float = 0.0
    max_tokens: int = 64


@dataclass(frozen=True, slots=True)
class Outcome:
    """One answered question and what its customer did about it."""

    phase: str
    version: str
    right: bool
    asked: bool
    rated: bool
    corrected: bool


@dataclass(frozen=True, slots=True)
class Report:
    """All answered questions, the number of calls that failed for good, and the seconds that it took."""

    outcomes: Sequence[Outcome]
    failed: int
    seconds: float
    failure: str | None = None
    """What the first failed call was told."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What one customer would do about one answer, if asked."""

    rates: bool
    corrects: bool


SILENCE = Wish(rates=False, corrects=False)


def read_rows(path: Path, phases: Sequence[str]) -> list[Row]:
    """The rows of a JSONL file, of the named phases only if any are named.

    Raises BadRequest naming the line and the reason when a row is malformed, or an unknown phase.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise BadRequest(f"{path} is not UTF-8 text.") from None
    rows: dict[str, Row] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            row = read_row(line, f"{path}, line {number}")
            if row.id in rows:
                raise BadRequest(f"{path}, line {number}: the id {row.id!r} was used before.")
            rows[row.id] = row
    known = {row.phase for row in rows.values()}
    if missing := [phase for phase in phases if phase not in known]:
        raise BadRequest(f"{path} has no phase {missing[0]!r}; it has {', '.join(sorted(known)) or 'no rows'}.")
    return [row for row in rows.values() if not phases or row.phase in phases]


def read_row(line: str, place: str) -> Row:
    """One line of the file; raises BadRequest that begins with `place`."""
    try:
        values = json.loads(line)
    except ValueError as error:
        raise BadRequest(f"{place}: not JSON ({error}).") from None
    if not isinstance(values, dict):
        raise BadRequest(f"{place}: not a JSON object.")
    return Row(
        id=_text(values, "id", place),
        phase=_text(values, "phase", place),
        user=_text(values, "user", place),
        messages=_messages(values, place),
        answer=_text(values, "answer", place),
    )


def _text(values: Mapping[str, Json], name: str, place: str) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{place}: {name!r} must be a text that is not empty.")
    return value


def _messages(values: Mapping[str, Json], place: str) -> tuple[JsonObject, ...]:
    if ("prompt" in values) == ("messages" in values):
        raise BadRequest(f"{place}: there must be either 'prompt' or 'messages'.")
    if "prompt" in values:
        return ({"role": "user", "content": _text(values, "prompt", place)},)
    messages = values["messages"]
    if not isinstance(messages, list) or not messages or not all(_is_message(message) for message in messages):
        raise BadRequest(f"{place}: 'messages' must be a list of objects with a 'role' and a 'content'.")
    return tuple(messages)


def _is_message(message: Json) -> bool:
    return isinstance(message, dict) and all(isinstance(message.get(name), str) for name in ("role", "content"))


def wish(customs: Customs, row: Row, turn: int) -> Wish:
    """What the customer does about the answer to `row` when it is played for the `turn`-th time, counted from 1."""
    rng = Random(f"{customs.seed}|{turn}|{row.id}")
    rates, corrects = rng.random() < customs.rate, rng.random() < customs.correct
    return Wish(rates, rates and corrects)


def user_name(row: Row, turn: int) -> str:
    """Each further time brings a new customer."""
    return row.user if turn == 1 else f"{row.user}#{turn}"


class Customers:
    """Plays rows against one Hone; `step` is called after each of them."""

    def __init__(self, client: openai.AsyncOpenAI, customs: Customs, step: Callable[[], None] = lambda: None) -> None:
        self._client = client
        self._customs = customs
        self._step = step
        self._outcomes: list[Outcome] = []
        self._failures: list[str] = []

    async def play(self, rows: Iterable[Row]) -> Report:
        """Play every row as often as is wished, so many at a time, in the order of the file."""
        rows = list(rows)
        plays = iter([(row, turn) for turn in range(1, self._customs.repeat + 1) for row in rows])
        started = time.monotonic()

        async def customer() -> None:
            for row, turn in plays:
                await self._one(row, turn)
                self._step()

        async with asyncio.TaskGroup() as group:
            for _ in range(self._customs.concurrency):
                group.create_task(customer())
        seconds = time.monotonic() - started
        return Report(self._outcomes, len(self._failures), seconds, next(iter(self._failures), None))

    async def _one(self, row: Row, turn: int) -> None:
        try:
            with translated(str(self._client.base_url)):
                self._outcomes.append(await self._serve(row, turn))
        except HoneError as error:
            self._failures.append(f"{row.id}: {error.message}")

    async def _serve(self, row: Row, turn: int) -> Outcome:
        raw = await self._client.chat.completions.with_raw_response.create(
            model="hone",
            messages=cast("list[ChatCompletionMessageParam]", list(row.messages)),
            temperature=self._customs.temperature,
            max_tokens=self._customs.max_tokens,
            user=user_name(row, turn),
        )
        answer = raw.parse()
        right = same_answer(answer.choices[0].message.content or "", row.answer)
        asked = ASK_HEADER in raw.headers
        wanted = wish(self._customs, row, turn) if asked else SILENCE
        corrected = wanted.corrects and not right
        if wanted.rates:
            await self._rate(answer.id, right, row.answer if corrected else None)
        version = raw.headers.get(VERSION_HEADER) or answer.model
        return Outcome(row.phase, version, right, asked, wanted.rates, corrected)

    async def _rate(self, response_id: str, good: bool, correction: str | None) -> None:
        body: JsonObject = {"response_id": response_id, "name": "thumbs", "value": good}
        await self._client.post(
            "/feedback",
            cast_to=object,
            body={**body, **({"correction": correction} if correction else {})},
            options={"headers": {"idempotency-key": f"replay-{response_id}"}},
        )


def summary(report: Report) -> JsonObject:
    """The result as it is printed: shares of right answers by phase and by version, with 95 % Wilson intervals."""
    return {
        "phases": _shares(report.outcomes, lambda outcome: outcome.phase),
        "versions": _shares(report.outcomes, lambda outcome: outcome.version),
        "asked": sum(outcome.asked for outcome in report.outcomes),
        "rated": sum(outcome.rated for outcome in report.outcomes),
        "corrected": sum(outcome.corrected for outcome in report.outcomes),
        "failed": report.failed,
        "seconds": round(report.seconds, 3),
    }


def _shares(outcomes: Sequence[Outcome], group: Callable[[Outcome], str]) -> JsonObject:
    names = sorted({group(outcome) for outcome in outcomes})
    return {name: _share([outcome.right for outcome in outcomes if group(outcome) == name]) for name in names}


def _share(marks: Sequence[bool]) -> JsonObject:
    right, n = sum(marks), len(marks)
    interval = wilson(right, n)
    return {"n": n, "right": right, "rate": right / n, "low": interval.low, "high": interval.high}


async def check_open(client: openai.AsyncOpenAI) -> None:
    """Raise before the start what every call would raise; the client's own error."""
    models = await client.with_options(max_retries=0).models.list()
    if not models.data:
        raise HoneError("The server offers no model; is it a Hone? Check HONE_URL.")
