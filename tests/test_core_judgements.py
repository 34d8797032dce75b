"""Judgements: the latest word of each actor stands, nothing is overwritten, and a repeated request is recognised."""

import pytest
from answers import ALICE, BOB, answer, thumb
from conftest import StoppedClock, WriterFactory
from hypothesis import given
from hypothesis import strategies as st

from core.judgements import stands, superseded
from core.ledger import Ledger, feedback_id
from core.secret import Secret
from core.store import Store
from core.types import Feedback, Role, Subject

ANSWER = answer()


@pytest.fixture
def ledger(store: Store, start_writer: WriterFactory, secret: Secret, clock: StoppedClock) -> Ledger:
    opened = Ledger(store, start_writer(store), secret, clock)
    opened.record(ANSWER).result(10)
    return opened


def rate(ledger: Ledger, *given: Feedback) -> None:
    for each in given:
        ledger.rate(each, f"digest of {each.id}").result(10)


def test_a_judgement_comes_back_exactly(ledger: Ledger) -> None:
    full = thumb(
        ANSWER,
        value=0.0,
        label="rude",
        role=Role.REVIEWER,
        comment="no \0 \U0001f600",
        reasons=("short", "wrong"),
        correction="",
        tags={"a": [1, None]},
    )
    rate(ledger, full, thumb(ANSWER, name="rating", value=None, created_at=full.created_at + 1))
    assert ledger.feedback(ANSWER.id)[0] == full
    assert ledger.feedback_by_id(full.id) == (full, f"digest of {full.id}")


def test_the_latest_word_of_an_actor_under_a_name_stands(ledger: Ledger) -> None:
    first, second = thumb(ANSWER, created_at=1), thumb(ANSWER, created_at=2, value=0.0)
    other_name, other_actor = thumb(ANSWER, name="rating", created_at=3), thumb(ANSWER, actor=BOB, created_at=4)
    rate(ledger, second, first, other_name, other_actor)
    assert [f.id for f in ledger.feedback(ANSWER.id)] == [second.id, other_name.id, other_actor.id]
    history = ledger.feedback(ANSWER.id, history=True)
    assert [(f.id, f.superseded_by) for f in history] == [
        (first.id, second.id),
        (second.id, None),
        (other_name.id, None),
        (other_actor.id, None),
    ]


def test_one_actor_sees_only_its_own(ledger: Ledger) -> None:
    rate(ledger, thumb(ANSWER), thumb(ANSWER, actor=BOB))
    assert [f.actor for f in ledger.feedback(ANSWER.id, actor=BOB, history=True)] == [BOB]


def test_a_retracted_word_is_gone_but_not_forgotten(ledger: Ledger, clock: StoppedClock) -> None:
    given = thumb(ANSWER)
    rate(ledger, given)
    for _ in range(2):
        ledger.retract(given.id, "key-1").result(10)
        clock.advance(5)
    assert ledger.feedback(ANSWER.id) == []
    [kept] = ledger.feedback(ANSWER.id, history=True)
    assert kept.retracted_at == StoppedClock().at
    found = ledger.feedback_by_id(given.id)
    assert found is not None
    assert found[0].retracted_at == StoppedClock().at


def test_retracting_the_latest_word_does_not_bring_an_older_one_back(ledger: Ledger) -> None:
    first, second = thumb(ANSWER, created_at=1), thumb(ANSWER, created_at=2)
    rate(ledger, first, second)
    ledger.retract(second.id, "key-1").result(10)
    assert ledger.feedback(ANSWER.id) == []


def test_the_first_request_under_an_id_wins(ledger: Ledger) -> None:
    first = thumb(ANSWER, value=1.0)
    ledger.rate(first, "one").result(10)
    ledger.rate(thumb(ANSWER, id=first.id, value=0.0), "two").result(10)
    assert ledger.feedback_by_id(first.id) == (first, "one")
    assert ledger.feedback(ANSWER.id, history=True) == [first]


def test_an_idempotency_key_means_one_id_for_one_key(secret: Secret) -> None:
    mine = feedback_id(secret, "key-1", "abc")
    assert mine == feedback_id(secret, "key-1", "abc")
    assert mine.startswith("fb_")
    assert len(mine) == 29
    others = {feedback_id(secret, *pair) for pair in (("key-2", "abc"), ("key-1", "abd"), ("key-1a", "bc"), ("", ""))}
    assert len(others | {mine}) == 5
    assert feedback_id(Secret.of(b"x" * 32), "key-1", "abc") != mine


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["thumbs", "rating"]), st.booleans()), max_size=12))
def test_exactly_the_last_of_each_voice_can_stand(history: list[tuple[str, str, bool]]) -> None:
    given = [
        thumb(ANSWER, actor=Subject(actor), name=name, retracted_at=5 if gone else None)
        for actor, name, gone in history
    ]
    result = superseded(given)
    assert [f.id for f in result] == [f.id for f in given]
    last = {(f.actor, f.name): f for f in given}
    assert {f.id for f in result if stands(f)} == {f.id for f in last.values() if f.retracted_at is None}
    assert ALICE not in {f.actor for f in result}
