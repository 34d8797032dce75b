"""What is seen on the loop's walk, by customers and by operators, for the tests that judge it."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
from fixtures_hone import RunningHone

from agent.loop_documents import ModelDetails, RunDetails, SuccessionDocument
from core.lifecycle import Stage


@dataclass(slots=True)
class Tally:
    """What the customers were told, by act: the statuses of all answers, and the ids of what was accepted."""

    act: str = ""
    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    chats: list[str] = field(default_factory=list)
    ratings: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)

    async def note(self, response: httpx.Response) -> None:
        self.statuses.setdefault(self.act, Counter())[response.status_code] += 1
        if response.is_success:
            made = orjson.loads(await response.aread())["id"]
            (self.chats if response.url.path.endswith("completions") else self.ratings).append(made)


@dataclass(slots=True)
class Seen:
    """What there was to see on the way."""

    hone: RunningHone
    tally: Tally
    seconds: dict[str, float] = field(default_factory=dict)
    old: str = ""
    new: str = ""
    ordinary: Sequence[bool] = ()
    shifted: Sequence[bool] = ()
    """Whether the first champion was right."""
    digest: str | None = None
    """Of the dataset, when the trainer was killed."""
    run: RunDetails | None = None
    starts: Sequence[int] = ()
    """The steps from which trainers went on."""
    after_kill: list[Stage] = field(default_factory=list)
    """Where the candidate stood when the engine had just been killed."""
    since_kill: dict[str, int] = field(default_factory=dict)
    """Rows of the candidate's own that came after the engine was killed, by act."""
    candidate: ModelDetails | None = None
    """As it awaited approval."""
    leaders: list[Sequence[int]] = field(default_factory=list)
    """The fencing tokens of those who had led, before the conductor was killed and at the end of the A/B."""
    refusals: Sequence[str | None] = ()
    changes: list[SuccessionDocument] = field(default_factory=list)
    loaded: list[frozenset[str]] = field(default_factory=list)
    changing: tuple[int, int] = (0, 0)
    right: dict[str, Sequence[bool]] = field(default_factory=dict)
    """Held-back questions by version."""
    forgotten: str = ""
    """The answer of the customer who was forgotten."""
    traces: list[Sequence[str]] = field(default_factory=list)
    """Files that had the customer's word, before and after."""
    erased: Mapping[str, Any] = field(default_factory=dict)

    @contextmanager
    def act(self, name: str) -> Iterator[None]:
        self.tally.act, began = name, time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 1)
