"""A second example: customers ask what hone-tiny knows in other words, then what came with the harbour."""

from collections.abc import Iterator

from .company import Kind, read_pool, services_of
from .conversation import Conversation, Desk
from .examples import SEED, Named, Row, example_rows, named, new_facts, old_skill_rows, phase_rows
from .questions import COMBINATIONS, about, draw, follow_up, small_talk

TOWN, HARBOUR = "town", "harbour"
ASKED = 2  # phrasings of each taught fact
DRAWN = 8  # of which those are taken that are nowhere else
FOLLOW_UPS, TALK = 40, 20


def harbour_rows(desk: Desk) -> tuple[Row, ...]:
    """Return both phases, each in a random order, the same every time."""
    services = services_of(read_pool("harbour")["services"])
    return (*phase_rows(TOWN, known(desk)), *phase_rows(HARBOUR, new_facts(desk, services)))


def known(desk: Desk) -> Iterator[Named]:
    """Yield conversations about what is taught, none of them in the first example or among the frozen questions."""
    elsewhere = {_asked(row.conversation) for row in (*example_rows(desk), *old_skill_rows(desk))}
    for service in desk.company.taught:
        for kind in Kind:
            drawn = about(desk, service, kind, COMBINATIONS, TOWN, DRAWN)
            fresh = [conversation for conversation in drawn if _asked(conversation) not in elsewhere]
            yield from named(f"{service.name}/{kind}", fresh[:ASKED])
    yield from named("follow-up", draw(desk, COMBINATIONS, SEED + 2, FOLLOW_UPS, follow_up))
    yield from named("talk", draw(desk, COMBINATIONS, SEED + 2, TALK, small_talk))


def _asked(conversation: Conversation) -> str:
    return conversation.turns[-1].user.lower()
