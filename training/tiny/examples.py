"""The example traffic: customers who ask what hone-tiny knows, and then what is new at the company.

Beside it the frozen questions about old skills, none of them in the traffic, by which a successor is compared.
Knows nothing of models.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from .company import Kind, Service, read_pool, texts
from .conversation import Conversation, Desk, Rules, messages_of
from .questions import COMBINATIONS, about, about_stranger, about_taught, draw, follow_up, small_talk

ASKED = 3  # phrasings of each taught fact
PHRASINGS = 20  # of each new fact
SEED = 7
CAREFUL = Rules(careless=False)
ORDINARY, SHIFTED, OLD_SKILLS = "ordinary", "shifted", "oldskills"

Named = tuple[str, Conversation]


@dataclass(frozen=True, slots=True)
class Row:
    """One question of one customer, with the right answer."""

    id: str
    phase: str
    user: str
    conversation: Conversation

    def to_json(self) -> str:
        """Return the line of the file; one turn is a prompt, more are messages."""
        turns = self.conversation.turns
        asked: dict[str, object] = (
            {"prompt": turns[0].user} if len(turns) == 1 else {"messages": messages_of(self.conversation, False)}
        )
        return json.dumps({"id": self.id, "phase": self.phase, "user": self.user, **asked, "answer": turns[-1].answer})


def is_held_back(row_id: str) -> bool:
    """Whether a row is kept from traffic, to measure with: one in three, by its id."""
    return int(hashlib.sha256(row_id.encode()).hexdigest(), 16) % 3 == 0


def example_rows(desk: Desk) -> tuple[Row, ...]:
    """Return both phases, each in a random order, the same every time."""
    return (*phase_rows(ORDINARY, ordinary(desk)), *phase_rows(SHIFTED, new_facts(desk, desk.company.shifted)))


def ordinary(desk: Desk) -> Iterator[Named]:
    """Yield conversations about what is taught, every fact several times, in phrasings that training never sees."""
    for service in desk.company.taught:
        for kind in Kind:
            yield from named(f"{service.name}/{kind}", about(desk, service, kind, COMBINATIONS, "ordinary", ASKED))
    yield from named("follow-up", draw(desk, COMBINATIONS, SEED, 50, follow_up))
    yield from named("talk", draw(desk, COMBINATIONS, SEED, 30, small_talk))


def new_facts(desk: Desk, services: Sequence[Service]) -> Iterator[Named]:
    """Yield conversations about what hone-tiny was never taught."""
    for service in services:
        for kind in Kind:
            yield from named(f"{service.name}/{kind}", about(desk, service, kind, CAREFUL, "new", PHRASINGS))


def old_skill_rows(desk: Desk) -> tuple[Row, ...]:
    """Return the frozen questions: what is taught, what is not, and follow-ups; the same every time."""
    played = {row.conversation.turns[-1].user for row in example_rows(desk)}
    makers = {"taught": (about_taught, 220), "untaught": (about_stranger, 80), "follow-up": (follow_up, 60)}
    return tuple(
        Row(f"{OLD_SKILLS}/{name}", OLD_SKILLS, "examiner", conversation)
        for sort, (make, count) in makers.items()
        for name, conversation in named(sort, draw(desk, COMBINATIONS, SEED + 1, count, make))
        if len(conversation.turns) > 1 or conversation.turns[0].user not in played
    )


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write rows as JSON lines."""
    path.write_text("".join(f"{row.to_json()}\n" for row in rows), encoding="utf-8")


def named(name: str, conversations: Sequence[Conversation]) -> Iterator[Named]:
    """Yield conversations under a name and a number."""
    for number, conversation in enumerate(conversations, start=1):
        yield f"{name.replace(' ', '-')}/{number:02}", conversation


def phase_rows(phase: str, conversations: Iterable[Named]) -> Iterator[Row]:
    """Yield the rows of a phase in a random order, each by one of many customers, the same every time."""
    rows, rng = list(conversations), Random(f"{phase}|{SEED}")
    rng.shuffle(rows)
    users = _users()
    rng.shuffle(users)
    for place, (name, conversation) in enumerate(rows):
        yield Row(f"{phase}/{name}", phase, users[place % len(users)], conversation)


def _users() -> list[str]:
    pool = read_pool("customers")
    return [f"{first}.{last}" for first in texts(pool["first"]) for last in texts(pool["last"])]
