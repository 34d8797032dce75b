"""The generator of hone-tiny: how much it says, that it says the same every time, and that nothing held out leaks."""

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from random import Random

import pytest

from training.tiny.company import Kind
from training.tiny.conversation import (
    Conversation,
    Desk,
    Rules,
    Speaker,
    State,
    Turn,
    conversations,
    follow,
    load_desk,
    switch,
)
from training.tiny.phrasing import fill, is_held_pair
from training.tiny.questions import COMBINATIONS, about_stranger, about_taught, draw

SAMPLE = 12_000


@pytest.fixture(scope="module")
def desk() -> Desk:
    return load_desk()


@pytest.fixture(scope="module")
def seen(desk: Desk) -> list[Conversation]:
    return list(islice(conversations(desk, 1), SAMPLE))


@pytest.fixture(scope="module")
def typed(seen: list[Conversation]) -> set[str]:
    return {_plain(turn.user) for turn in _turns(seen)}


def _plain(text: str) -> str:
    return text.lower().rstrip(".?! ")


def _turns(talks: Iterable[Conversation]) -> Iterable[Turn]:
    return (turn for talk in talks for turn in talk.turns)


def _names(desk: Desk) -> Iterable[tuple[str, str]]:
    return ((service.name, name) for service in desk.company.taught for name in (service.name, *service.also))


def test_at_least_forty_services_with_four_facts_and_a_hundred_templates_a_kind(desk: Desk) -> None:
    assert len(desk.company.taught) >= 40
    assert all(set(service.facts) == set(Kind) for service in desk.company.taught)
    assert len(Kind) >= 4
    for kind in Kind:
        whole = {template for family in desk.phrasebook.templates(kind) for template in family}
        assert len(whole) >= 110


def test_every_fact_has_an_answer_of_its_own(desk: Desk) -> None:
    services = (*desk.company.taught, *desk.company.shifted, *desk.company.novel)
    answers = [service.answer(kind) for service in services for kind in Kind]
    assert len(set(answers)) == len(answers) == 4 * len(services)


def test_the_same_seed_says_the_same_and_another_seed_does_not(desk: Desk, seen: list[Conversation]) -> None:
    again = list(islice(conversations(load_desk(), 1), 2_000))
    assert again == seen[:2_000]
    assert list(islice(conversations(desk, 2), 2_000)) != again


def test_an_answer_depends_on_nothing_but_service_and_kind(desk: Desk, seen: list[Conversation]) -> None:
    known = {service.answer(kind) for service in desk.company.taught for kind in Kind}
    known |= {talk.answer for talk in desk.talk.small_talk.values()} | {desk.talk.unknown, desk.talk.which_service}
    known |= {desk.talk.which_fact.format(t=f"the {service.name}") for service in desk.company.taught}
    counts = Counter(turn.answer for turn in _turns(seen))
    assert set(counts) == known


def test_training_contains_conversations_small_talk_and_enough_not_knowing(
    desk: Desk, seen: list[Conversation]
) -> None:
    unknown = sum(turn.answer == desk.talk.unknown for turn in _turns(seen)) / len(list(_turns(seen)))
    assert 0.2 < unknown < 0.5
    assert sum(len(talk.turns) > 1 for talk in seen) > SAMPLE / 5
    assert max(len(talk.turns) for talk in seen) == 8
    assert sum(bool(talk.system) for talk in seen) > SAMPLE / 10


@pytest.mark.parametrize("held", [False, True])
def test_held_out_templates_are_never_typed_in_training(desk: Desk, typed: set[str], held: bool) -> None:
    families = [family for kind in Kind for family in desk.phrasebook.templates(kind, held)]
    fills = {_plain(fill(template, name)) for _, name in _names(desk) for f in families for template in f}
    assert bool(fills & typed) is not held


@pytest.mark.parametrize("held", [False, True])
def test_held_out_pairs_of_service_and_phrasing_are_never_typed_in_training(
    desk: Desk, typed: set[str], held: bool
) -> None:
    templates = [template for kind in Kind for family in desk.phrasebook.templates(kind) for template in family]
    fills = {
        _plain(fill(template, name))
        for service, name in _names(desk)
        for template in templates
        if is_held_pair(service, template) is held
    }
    assert bool(fills & typed) is not held


def test_new_facts_and_held_out_strangers_are_never_typed_in_training(desk: Desk, typed: set[str]) -> None:
    everything = " | ".join(typed)
    new = [service.name for service in (*desk.company.shifted, *desk.company.novel)]
    assert "library" in everything
    assert desk.strangers.real.train[0] in everything
    assert [name for name in new if name in everything] == []
    assert [name for name in new if f"the {name.split()[0]} " in everything] == []
    assert [name for name in desk.strangers.real.held if f"the {name} " in everything] == []
    assert not set(desk.strangers.invented.train) & set(desk.strangers.invented.held)


def test_no_stranger_and_no_new_service_bears_a_taught_name(desk: Desk) -> None:
    known = desk.strangers.known
    assert len(known) > len(desk.company.taught)
    new = {service.name for service in (*desk.company.shifted, *desk.company.novel)}
    pools = {*desk.strangers.real.train, *desk.strangers.real.held, *desk.strangers.invented.train}
    assert not known & (new | pools)
    assert not {talk.turns[0].answer for talk in draw(desk, COMBINATIONS, 5, 300, about_stranger)} - {desk.talk.unknown}


def test_the_questions_of_the_evaluation_are_none_of_training(desk: Desk, typed: set[str]) -> None:
    asked = {_plain(talk.turns[0].user) for talk in draw(desk, COMBINATIONS, 3, 500, about_taught)}
    assert len(asked) > 400
    assert not asked & typed


def test_a_follow_up_refers_to_the_service_before_and_a_new_name_to_the_question_before(desk: Desk) -> None:
    speaker = Speaker(desk, Random(0), Rules())
    library, cinema = desk.company.taught[0], desk.company.taught[8]
    turn, state = follow(speaker, State(library, Kind.HOURS), Kind.PRICE)
    assert turn.answer == library.answer(Kind.PRICE)
    turn, state = switch(speaker, state, cinema)
    assert (turn.answer, state) == (cinema.answer(Kind.PRICE), State(cinema, Kind.PRICE))
    assert follow(speaker, State(), Kind.PRICE)[0].answer == desk.talk.which_service
    stranger = speaker.stranger()
    assert follow(speaker, State(stranger, Kind.HOURS), Kind.PRICE)[0].answer == desk.talk.unknown
