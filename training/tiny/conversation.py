"""Conversations with the help desk: what is asked, what a follow-up refers to, and the one right answer.

Every move says something and hands on the state that the next turn may refer to. Knows nothing of tokens.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from .company import Company, Kind, Service, load_company
from .phrasing import Phrasebook, complete, dress, fill, is_held_pair, load_phrasebook, misspell, scribble
from .strangers import Strangers, load_strangers
from .talk import Talk, load_talk


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything that conversations are made from."""

    company: Company
    phrasebook: Phrasebook
    strangers: Strangers
    talk: Talk


@dataclass(frozen=True, slots=True)
class Turn:
    """What the user says, and the right answer."""

    user: str
    answer: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns in order, after an optional system message."""

    turns: tuple[Turn, ...]
    system: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """What a follow-up may refer to; `lost` after something that has nothing to do with services."""

    service: Service | None = None
    kind: Kind | None = None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """Which part of the pools may be drawn; the default is what training sees."""

    held_templates: bool = False
    held_pairs: bool = False
    held_strangers: bool = False
    careless: bool = True


Step = tuple[Turn, State]
Move = Callable[["Speaker", State], Step]


@dataclass(frozen=True, slots=True)
class Speaker:
    """A user at the desk who draws what to say from one random source."""

    desk: Desk
    rng: Random
    rules: Rules

    def taught(self) -> Service:
        """Draw a taught service."""
        return self.rng.choice(self.desk.company.taught)

    def stranger(self) -> Service:
        """Draw a service that nobody taught."""
        return self.desk.strangers.draw(self.rng, self.rules.held_strangers)

    def either(self, strange: float) -> Service:
        """Draw a stranger with this probability, else a taught service."""
        return self.stranger() if self.rng.random() < strange else self.taught()

    def question(self, service: Service, kind: Kind) -> str:
        """Ask for one fact in a whole question."""
        template = self.desk.phrasebook.draw(self.rng, kind, self.rules.held_templates)
        while service.known and is_held_pair(service.name, template) != self.rules.held_pairs:
            template = self.desk.phrasebook.draw(self.rng, kind, self.rules.held_templates)
        return self.say(template, service)

    def say(self, template: str, service: Service | None = None) -> str:
        """Turn a template into what is typed."""
        rng, talk = self.rng, self.desk.talk
        template = complete(rng, template, self.desk.phrasebook.slots, self.rules.held_templates)
        if self.rules.careless and rng.random() < 0.05:
            template = misspell(rng, template)
        text = fill(template, self.name(service)) if service else template
        return scribble(rng, dress(rng, text, talk.greetings, talk.endings))

    def name(self, service: Service) -> str:
        """Name a service, now and then by another of its names."""
        return self.rng.choice(service.also) if service.also and self.rng.random() < 0.15 else service.name


def messages_of(conversation: Conversation, with_last_answer: bool = True) -> list[dict[str, str]]:
    """Return a conversation as chat messages."""
    messages = [{"role": "system", "content": conversation.system}] if conversation.system else []
    for turn in conversation.turns:
        messages += [{"role": "user", "content": turn.user}, {"role": "assistant", "content": turn.answer}]
    return messages if with_last_answer else messages[:-1]


def load_desk() -> Desk:
    """Read all pools."""
    company = load_company()
    return Desk(company, load_phrasebook(), load_strangers(company.taught), load_talk())


def conversations(desk: Desk, seed: int) -> Iterator[Conversation]:
    """Yield what training sees, without end, the same for the same seed."""
    rng = Random(seed)
    while True:
        yield converse(desk, rng, Rules(), rng.choices((1, 2, 3, 4, 6, 8), weights=(62, 17, 10, 5, 4, 2))[0])


def converse(desk: Desk, rng: Random, rules: Rules, length: int) -> Conversation:
    """Hold one conversation of `length` turns."""
    speaker, state, turns = Speaker(desk, rng, rules), State(), list[Turn]()
    for _ in range(length):
        turn, state = _next_move(rng, state, first=not turns)(speaker, state)
        turns.append(turn)
    return Conversation(tuple(turns), rng.choice(desk.talk.systems) if rng.random() < 0.15 else "")


def ask(speaker: Speaker, service: Service, kind: Kind) -> Step:
    """Ask a whole question."""
    text = speaker.question(service, kind)
    return Turn(text, answer(speaker.desk, service, kind)), State(service, kind)


def follow(speaker: Speaker, state: State, kind: Kind) -> Step:
    """Ask for another fact without naming the service."""
    text = speaker.say(speaker.rng.choice(speaker.desk.phrasebook.forms[kind].follow.of(speaker.rules.held_templates)))
    return Turn(text, answer(speaker.desk, state.service, kind)), State(state.service, kind)


def switch(speaker: Speaker, state: State, service: Service) -> Step:
    """Name another service without saying what is asked."""
    pools = speaker.desk.phrasebook
    pool = pools.next_service if state.kind else pools.bare
    text = speaker.say(speaker.rng.choice(pool.of(speaker.rules.held_templates)), service)
    return Turn(text, answer(speaker.desk, service, state.kind)), State(service, state.kind)


def chat(speaker: Speaker, state: State) -> Step:
    """Say something that is no question about a service; what was asked before stays in mind."""
    small_talk = speaker.rng.choice(tuple(speaker.desk.talk.small_talk.values()))
    phrase = speaker.rng.choice(small_talk.phrases.of(speaker.rules.held_templates))
    return Turn(scribble(speaker.rng, phrase), small_talk.answer), state


def ask_odd(speaker: Speaker, service: Service) -> Step:
    """Ask about a service what no fact answers."""
    text = speaker.say(speaker.rng.choice(speaker.desk.phrasebook.odd.of(speaker.rules.held_templates)), service)
    return Turn(text, speaker.desk.talk.unknown), State(service)


def ask_off_topic(speaker: Speaker) -> Step:
    """Ask something that has nothing to do with the company."""
    text = speaker.rng.choice(speaker.desk.talk.off_topic.of(speaker.rules.held_templates))
    while "{w}" in text:
        text = text.replace("{w}", speaker.desk.strangers.word(speaker.rng, speaker.rules.held_strangers), 1)
    return Turn(speaker.say(text), speaker.desk.talk.unknown), State(lost=True)


def answer(desk: Desk, service: Service | None, kind: Kind | None) -> str:
    """Return the one right answer, as far as service and kind of question are known."""
    if service is None:
        return desk.talk.which_service
    if not service.known:
        return desk.talk.unknown
    return service.answer(kind) if kind else desk.talk.which_fact.format(t=f"the {service.name}")


def _next_move(rng: Random, state: State, first: bool) -> Move:
    moves = OPENINGS if first else LOST if state.lost else CONTINUATIONS
    return rng.choices(tuple(moves), weights=tuple(moves.values()))[0]


def _ask_taught(speaker: Speaker, state: State) -> Step:
    return ask(speaker, speaker.taught(), speaker.rng.choice(tuple(Kind)))


def _ask_stranger(speaker: Speaker, state: State) -> Step:
    return ask(speaker, speaker.stranger(), speaker.rng.choice(tuple(Kind)))


def _follow(speaker: Speaker, state: State) -> Step:
    return follow(speaker, state, speaker.rng.choice([kind for kind in Kind if kind != state.kind]))


def _switch(speaker: Speaker, state: State) -> Step:
    return switch(speaker, state, speaker.either(0.3))


def _ask_odd(speaker: Speaker, state: State) -> Step:
    return ask_odd(speaker, speaker.either(0.3))


def _ask_off_topic(speaker: Speaker, state: State) -> Step:
    return ask_off_topic(speaker)


OPENINGS: dict[Move, int] = {
    _ask_taught: 50,
    _ask_stranger: 26,
    chat: 10,
    _ask_off_topic: 7,
    _ask_odd: 5,
    _switch: 4,
    _follow: 2,
}
CONTINUATIONS: dict[Move, int] = {
    _follow: 42,
    _switch: 20,
    _ask_taught: 14,
    _ask_stranger: 6,
    chat: 13,
    _ask_odd: 3,
    _ask_off_topic: 2,
}
LOST: dict[Move, int] = {_ask_taught: 60, _ask_stranger: 25, chat: 15}
