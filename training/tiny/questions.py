"""Questions that training never sees, by sort: the material of the evaluation and of the example traffic."""

from collections.abc import Callable, Sequence
from random import Random

from .company import Kind, Service
from .conversation import (
    Conversation,
    Desk,
    Rules,
    Speaker,
    State,
    Turn,
    ask,
    ask_odd,
    ask_off_topic,
    chat,
    follow,
    switch,
)

COMBINATIONS = Rules(held_pairs=True, held_strangers=True, careless=False)
TEMPLATES = Rules(held_templates=True, held_strangers=True, careless=False)
KINDS = tuple(Kind)

Maker = Callable[[Speaker], Sequence[Turn]]


def draw(desk: Desk, rules: Rules, seed: int, count: int, make: Maker) -> tuple[Conversation, ...]:
    """Make conversations, the same for the same seed; only the last turn of each is a question."""
    speaker = Speaker(desk, Random(seed), rules)
    return tuple(Conversation(tuple(make(speaker))) for _ in range(count))


def about_taught(speaker: Speaker) -> Sequence[Turn]:
    """Ask about a taught service."""
    return (ask(speaker, speaker.taught(), speaker.rng.choice(KINDS))[0],)


def about_stranger(speaker: Speaker) -> Sequence[Turn]:
    """Ask about a service that nobody taught."""
    return (ask(speaker, speaker.stranger(), speaker.rng.choice(KINDS))[0],)


def follow_up(speaker: Speaker) -> Sequence[Turn]:
    """Ask in full, make small talk now and then, and ask on in words that need what was said before."""
    rng = speaker.rng
    turn, state = ask(speaker, speaker.either(0.15), rng.choice(KINDS))
    turns = [turn]
    if rng.random() < 0.25:
        turns.append(chat(speaker, state)[0])
    if rng.random() < 0.6:
        turn, state = follow(speaker, state, rng.choice([kind for kind in KINDS if kind != state.kind]))
    else:
        turn, state = switch(speaker, state, speaker.either(0.15))
    return (*turns, turn)


def small_talk(speaker: Speaker) -> Sequence[Turn]:
    """Greet, thank, ask who is there."""
    return (chat(speaker, State())[0],)


def odd(speaker: Speaker) -> Sequence[Turn]:
    """Ask about a taught service what no fact answers."""
    return (ask_odd(speaker, speaker.taught())[0],)


def off_topic(speaker: Speaker) -> Sequence[Turn]:
    """Ask something that has nothing to do with the company."""
    return (ask_off_topic(speaker)[0],)


def about(desk: Desk, service: Service, kind: Kind, rules: Rules, seed: str, count: int) -> tuple[Conversation, ...]:
    """Ask for one fact in `count` different phrasings, the same for the same seed."""
    speaker = Speaker(desk, Random(f"{seed}|{service.name}|{kind}"), rules)
    found: dict[str, Turn] = {}
    while len(found) < count:
        turn, _ = ask(speaker, service, kind)
        found.setdefault(turn.user.lower(), turn)
    return tuple(Conversation((turn,)) for turn in found.values())
