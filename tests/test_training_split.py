"""The split: no subject, prompt or pair of look-alikes lies in two parts, whatever the traffic looks like."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import combinations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lessons import ALL, curated, judged, reasons, sentence

from training.curation import Curated
from training.harvest import Judged
from training.near_duplicates import jaccard, sketch
from training.rows import Method, Part, Reason, Row, SftExample
from training.rules import Rules
from training.split import share_of

QUESTIONS = ["When do you open?", "when do you open", "Where is it?", "Where is it now?", "Who are you?", "How much?"]
QUESTIONS += [f"What is {name}?" for name in ("alum", "brass", "cobalt", "dew", "ember", "flint", "gold")]
ANSWERS = [
    "At nine.",
    "At ten.",
    "On the left of the old mill by the river",
    "on the left of the old mill by the river bank",
]


def parts_of(result: Curated, given: Iterable[Judged]) -> dict[str, dict[str, set[Part]]]:
    """Where each subject and each prompt ended up."""
    calls = {judged.feedback.id: judged.interaction for judged in given}
    found: dict[str, dict[str, set[Part]]] = {"subject": defaultdict(set), "prompt": defaultdict(set)}
    for row in result.rows:
        for voice in row.provenance.voices:
            call = calls[voice.feedback]
            assert call is not None
            found["subject"][call.subject].add(row.part)
            asked = str(call.messages[-1]["content"])
            found["prompt"]["".join(filter(str.isalnum, asked.casefold()))].add(row.part)
    return found


def leaks(result: Curated, given: Iterable[Judged]) -> list[object]:
    crossing: list[object] = [
        (kind, name)
        for kind, places in parts_of(result, given).items()
        for name, parts in places.items()
        if len(parts) > 1
    ]
    sketches = [(row, sketch(texts(row)).shingles) for row in result.rows]
    for (a, left), (b, right) in combinations(sketches, 2):
        if a.part is not b.part and jaccard(left, right) >= ALL.near_duplicate:
            crossing.append((a, b))
    return crossing


def texts(row: Row) -> list[str]:
    assert isinstance(row.example, SftExample)
    return [*(message.content for message in row.example.messages), row.example.completion]


def parts(result: Curated) -> dict[Part, int]:
    return {part: sum(row.part is part for row in result.rows) for part in Part}


words = st.builds(
    judged,
    st.sampled_from(QUESTIONS),
    st.sampled_from(ANSWERS),
    by=st.sampled_from([f"user {n}" for n in range(12)]),
    reviewer=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(words, max_size=60), st.text(max_size=3))
def test_nothing_lies_in_two_parts(given: list[Judged], salt: str) -> None:
    assert leaks(curated(given, rules=replace(ALL, salt=salt)), given) == []


def one_big_component(rng: Random) -> Iterator[Judged]:
    """Everybody asks two popular questions and two of their own: all rows hang together."""
    popular = [(sentence(rng), sentence(rng)) for _ in range(20)]
    for user in range(150):
        asked = [*rng.sample(popular, 2), (sentence(rng), sentence(rng)), (sentence(rng), sentence(rng))]
        yield from (judged(question, reply, by=f"user {user}") for question, reply in asked)


def test_a_place_where_everything_hangs_together_still_has_three_parts_and_no_leak() -> None:
    given = list(one_big_component(Random(3)))
    result = curated(given)
    assert leaks(result, given) == []
    found = parts(result)
    assert found[Part.HELDOUT] >= 0.08 * len(result.rows)
    assert found[Part.VALIDATION] >= 0.05 * len(result.rows)
    # What is lost are mostly second voices: the rows themselves stay.
    assert len(result.rows) >= 0.95 * 320
    assert set(reasons(result)) == {Reason.STRADDLES}


def test_shares_are_about_what_the_rules_say() -> None:
    rng = Random(4)
    given = [judged(sentence(rng), sentence(rng), by=f"user {n}") for n in range(1_500)]
    found = parts(curated(given))
    assert abs(found[Part.HELDOUT] / 1_500 - ALL.heldout) < 0.04
    assert abs(found[Part.VALIDATION] / 1_500 - ALL.validation) < 0.04


def test_a_subject_stays_where_it_was_when_others_come() -> None:
    rng = Random(5)
    first = [judged(sentence(rng), sentence(rng), by=f"user {n}") for n in range(100)]
    later = first + [judged(sentence(rng), sentence(rng), by=f"user {n}") for n in range(50, 200)]
    before, after = (parts_of(curated(given), given)["subject"] for given in (first, later))
    moved = [name for name, where in before.items() if after[name] != where]
    # A second row may bring its subject's group another first member.
    assert len(moved) <= 10


@pytest.mark.parametrize("users", range(1, 12))
def test_few_users_leave_something_to_learn_from(users: int) -> None:
    rng = Random(users)
    given = [judged(sentence(rng), sentence(rng), by=f"user {n % users}") for n in range(24)]
    for salt in map(str, range(20)):
        found = parts(curated(given, rules=replace(ALL, salt=salt)))
        assert found[Part.TRAIN] >= 1
        if users >= 6:
            assert min(found.values()) >= 1


def test_reviewers_do_not_tie_the_calls_that_they_judge() -> None:
    rng = Random(6)
    given = [judged(sentence(rng), sentence(rng), by="rita", reviewer=True, subject=f"caller {n}") for n in range(300)]
    assert min(parts(curated(given)).values()) >= 15


def test_rows_of_one_prompt_under_different_instructions_stay_together() -> None:
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "When do you open?"}]
    given = [
        judged("when do you open", sentence(Random(n)), by=f"user {n}", messages=turns if n % 2 else turns[1:])
        for n in range(2)
    ]
    for salt in map(str, range(15)):
        result = curated(given, rules=replace(ALL, salt=salt))
        assert len(result.rows) == 2
        assert len({row.part for row in result.rows}) == 1


@given(st.text(), st.text())
def test_a_share_is_always_the_same_number_below_one(salt: str, name: str) -> None:
    assert 0 <= share_of(salt, name) < 1
    assert share_of(salt, name) == share_of(salt, name)


def test_every_method_is_split() -> None:
    rng = Random(7)
    given = [judged(sentence(rng), sentence(rng), by=f"user {n}", correction=sentence(rng)) for n in range(80)]
    rules: Rules = ALL
    for method in Method:
        assert min(parts(curated(given, method, rules)).values()) >= 1
