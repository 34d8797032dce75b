"""Harvest: every judgement of a span once, beside its answer, in short reads; what cannot teach is set aside."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from answers import ALICE, BOB, answer, thumb
from conftest import StoppedClock, WriterFactory
from sqlalchemy import update

from core import schema
from core.ledger import Ledger
from core.secret import Secret
from core.store import Store
from core.types import Arm, Feedback, Interaction, Role
from training.harvest import Judged, bar, harvest, read
from training.rows import Reason


@pytest.fixture
def ledger(store: Store, start_writer: WriterFactory, secret: Secret, clock: StoppedClock) -> Ledger:
    return Ledger(store, start_writer(store), secret, clock)


Keep = Callable[..., None]


@pytest.fixture
def keep(ledger: Ledger) -> Keep:
    """Records calls and judgements, durably."""

    def record(*things: Interaction | Feedback) -> None:
        futures = [ledger.record(t) if isinstance(t, Interaction) else ledger.rate(t, "digest") for t in things]
        for future in futures:
            future.result(10)

    return record


def test_a_judgement_comes_beside_its_whole_answer(store: Store, keep: Keep) -> None:
    call = answer("Hello", "Hi!", "And now?", tags={"a": "b"})
    word = thumb(call, value=0.0, correction="Later.")
    keep(call, word)
    [found] = harvest(store).judged
    assert found.feedback == word
    assert found.interaction is not None
    assert (found.interaction.id, list(found.interaction.messages)) == (call.id, list(call.messages))
    assert found.interaction.reply == call.reply


@pytest.mark.parametrize("page", [1, 2, 3, 7, 100])
def test_pages_lose_and_repeat_nothing_even_within_one_microsecond(store: Store, keep: Keep, page: int) -> None:
    calls = [answer(f"question {n}") for n in range(3)]
    words = [thumb(call, created_at=10 + n // 4, actor=f"actor {n}") for n, call in enumerate(calls * 4)]
    keep(*calls, *words)
    found = [each.feedback.id for each in read(store, page=page)]
    assert found == [word.id for word in sorted(words, key=lambda word: (word.created_at, word.id))]


def test_a_span_has_its_start_and_not_its_end(store: Store, keep: Keep) -> None:
    call = answer()
    words = [thumb(call, created_at=at, actor=str(at)) for at in (9, 10, 19, 20)]
    keep(call, *words)
    assert [each.feedback.created_at for each in read(store, 10, 20)] == [10, 19]


def test_what_no_longer_stands_is_set_aside_whenever_it_was_taken_back(
    store: Store, keep: Keep, ledger: Ledger
) -> None:
    call, other = answer(), answer()
    first, second = thumb(call, created_at=10), thumb(call, created_at=90)
    gone, kept = thumb(other, created_at=11), thumb(other, created_at=12, actor=BOB)
    keep(call, other, first, second, gone, kept)
    ledger.retract(gone.id, "key-1").result(10)
    found = harvest(store, until=50)
    assert [each.feedback.id for each in found.judged] == [kept.id]
    assert {feedback.id: reason for feedback, reason in found.barred} == {
        first.id: Reason.SUPERSEDED,
        gone.id: Reason.RETRACTED,
    }


def test_the_same_actor_may_judge_two_answers(store: Store, keep: Keep) -> None:
    calls = [answer(), answer()]
    keep(*calls, *(thumb(call) for call in calls))
    assert len(harvest(store).judged) == 2


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (answer(arm=Arm.SHADOW), Reason.SHADOW),
        (answer(tags={"purpose": "measurement"}), Reason.MEASUREMENT),
        (answer(stored=False, messages=(), reply=None), Reason.NOT_STORED),
    ],
    ids=lambda case: str(getattr(case, "value", "")),
)
def test_calls_that_teach_nothing_are_set_aside(store: Store, keep: Keep, call: Interaction, reason: Reason) -> None:
    plain = answer(tags={"purpose": "measuring"})
    keep(call, plain, thumb(call), thumb(plain))
    found = harvest(store)
    assert [each.feedback.interaction for each in found.judged] == [plain.id]
    assert [(feedback.interaction, why) for feedback, why in found.barred] == [(call.id, reason)]


def test_an_erased_call_is_set_aside_and_a_missing_one_too(store: Store, keep: Keep) -> None:
    erased, missing = answer(), answer(subject=BOB)
    keep(erased, thumb(erased), thumb(missing))
    with store.write() as conn:
        conn.execute(update(schema.nodes).where(schema.nodes.c.subject == ALICE).values(body=None, erased_at=5))
    found = {feedback.interaction: reason for feedback, reason in harvest(store).barred}
    assert found == {erased.id: Reason.ERASED, missing.id: Reason.UNKNOWN_ANSWER}


def test_a_preference_brings_the_answer_that_lost_and_may_name_a_shadow(store: Store, keep: Keep) -> None:
    served = answer()
    shadow = answer(arm=Arm.SHADOW, parent=served.id, reply={"role": "assistant", "content": "Better."})
    word = thumb(shadow, role=Role.REVIEWER, actor="rita", tags={"over": served.id})
    keep(served, shadow, word)
    [found] = harvest(store).judged
    assert found.preference
    assert found.loser is not None
    assert found.loser.id == served.id


def test_a_preference_over_a_missing_answer_teaches_nothing() -> None:
    call = answer()
    word = replace(thumb(call), tags={"over": "nowhere"})
    assert bar(Judged(word, call, None)) is Reason.UNKNOWN_ANSWER


def test_threads_may_harvest_while_others_write(store: Store, keep: Keep) -> None:
    calls = [answer(f"question {n}") for n in range(40)]
    keep(*calls, *(thumb(call, created_at=n + 1) for n, call in enumerate(calls)))
    with ThreadPoolExecutor(5) as pool:
        later = pool.submit(lambda: [keep(call, thumb(call, created_at=10**6)) for call in map(answer, "abcdef")])
        found = list(pool.map(lambda _: [each.feedback.id for each in read(store, until=1000, page=7)], range(8)))
        later.result()
    assert len(found[0]) == 40
    assert all(each == found[0] for each in found)
