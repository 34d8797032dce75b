"""The ledger: what is recorded comes back exactly, conversations cost what they say, ownership and judgements hold."""

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
from answers import ALICE, BOB, REPLY, answer, says, thumb
from conftest import StoppedClock, WriterFactory
from rows import settled, wait_until
from sqlalchemy import func, select

from core import config, conversation
from core.errors import NotStored, Unavailable
from core.ids import new_id
from core.ledger import InteractionFilter, Ledger, Owner
from core.schema import interactions, metadata, nodes
from core.secret import Secret
from core.spool import Spool
from core.store import Store
from core.types import Arm, Finish, Interaction, Version
from core.writer import Kept, Writer


@pytest.fixture
def writer(store: Store, start_writer: WriterFactory) -> Writer:
    return start_writer(store, patience=0.2)


@pytest.fixture
def ledger(store: Store, writer: Writer, secret: Secret, clock: StoppedClock) -> Ledger:
    return Ledger(store, writer, secret, clock)


@pytest.fixture
def outage(store: Store, writer: Writer, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    """The database takes no rows for the length of the test, though it can be read."""
    with store.write() as conn:
        if conn.dialect.name == "postgresql":
            conn.exec_driver_sql("LOCK TABLE nodes, interactions, feedback IN EXCLUSIVE MODE")
        yield


def record(ledger: Ledger, *recorded: Interaction) -> None:
    for future in [ledger.record(each) for each in recorded]:
        assert future.result(10) is Kept.COMMITTED


def count_nodes(store: Store) -> int:
    with store.read() as conn:
        return conn.scalar(select(func.count()).select_from(nodes)) or 0


FULL = answer(
    "Hello \0 \U0001f600 \u00e9",
    "Hi!",
    "And now?",
    kind="chat",
    arm=Arm.CHALLENGER,
    served=Version("tiny-v0-bbbb"),
    propensity=0.25,
    finish=Finish.TOOL_CALLS,
    experiment="e1",
    conversation="c1",
    parent=new_id(),
    request_id="r1",
    params={"temperature": 0.3, "stop": ["\n"], "seed": 2**53, "tools": [{"type": "function"}]},
    tags={"purpose": "test", "text": "\0"},
    error="cut off",
    stream=True,
    prompt_tokens=12,
    completion_tokens=7,
    first_token=17_000,
    duration=2**40,
    provider="openai/x",
    cost=0.001,
    asked=0.5,
)


def test_an_interaction_comes_back_exactly(ledger: Ledger) -> None:
    record(ledger, FULL)
    found = ledger.interaction(FULL.id)
    assert found is not None
    for field in fields(Interaction):
        assert getattr(found, field.name) == getattr(FULL, field.name), field.name
        assert getattr(FULL, field.name) not in (None, ""), field.name


MESSAGES = [
    {"role": "user", "content": [{"type": "text", "text": "What is 1.10?"}, {"type": "text", "text": ""}]},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "t", "function": {"name": "f", "arguments": "{}"}}]},
    {"role": "tool", "tool_call_id": "t", "content": "-0.0", "n": [1e308, -0.0, 5e-324, 2**63, -(2**63), True, None]},
]


@pytest.mark.parametrize("messages", [(), MESSAGES, MESSAGES[:1] * 3], ids=["none", "every shape", "thrice the same"])
@pytest.mark.parametrize("reply", [None, REPLY, {}], ids=["no reply", "reply", "empty reply"])
def test_messages_and_reply_come_back_exactly(ledger: Ledger, messages: list[dict[str, object]], reply: object) -> None:
    recorded = answer(messages=messages, reply=reply)
    record(ledger, recorded)
    found = ledger.interaction(recorded.id)
    assert found is not None
    assert list(found.messages) == list(messages)
    assert found.reply == reply


def test_a_conversation_of_n_turns_costs_its_messages_once(ledger: Ledger, store: Store) -> None:
    turns, past = 30, ["You are kind."]
    for turn in range(turns):
        past.append(f"question {turn}")
        record(ledger, answer(*past, id=new_id(turn + 1), reply={"role": "assistant", "content": f"answer {turn}"}))
        past.append(f"answer {turn}")
    assert count_nodes(store) <= 1 + 3 * turns
    page = ledger.interactions(InteractionFilter(), limit=100)
    for turn, found in enumerate(reversed(page.items)):
        assert list(found.messages) == says(*past[: 2 + 2 * turn])
        assert found.reply == {"role": "assistant", "content": f"answer {turn}"}


def test_reading_many_turns_of_a_conversation_visits_each_message_once(ledger: Ledger, store: Store) -> None:
    texts = [str(number) for number in range(40)]
    record(ledger, *(answer(*texts[:end], reply=None) for end in range(1, 41)))
    with store.read() as conn:
        leaves = list(conn.scalars(select(interactions.c.prompt)))
        assert len(list(conversation.ancestry(conn, leaves))) == len(leaves) == 40


def test_a_reply_that_comes_back_as_the_past_is_the_same_node(ledger: Ledger, store: Store) -> None:
    record(ledger, answer("q1", reply={"role": "assistant", "content": "a1"}))
    record(ledger, answer("q1", "a1", "q2", reply={"role": "assistant", "content": "a2"}))
    assert count_nodes(store) == 4


def test_known_messages_are_not_sent_to_the_database_again(ledger: Ledger, writer: Writer) -> None:
    record(ledger, answer("q1"))
    before = writer.stats().committed
    record(ledger, answer("q1"))
    assert writer.stats().committed == before + 1


def test_two_subjects_never_share_a_message(ledger: Ledger, store: Store) -> None:
    record(ledger, answer("q1"), answer("q1", subject=BOB))
    with store.read() as conn:
        found = conn.execute(select(nodes.c.subject, func.count()).group_by(nodes.c.subject)).all()
    assert sorted(map(tuple, found)) == [(ALICE, 2), (BOB, 2)]


def test_equal_words_after_another_past_are_another_message(ledger: Ledger, store: Store) -> None:
    record(ledger, answer("a", "same", "end", reply=None), answer("b", "same", "end", reply=None))
    assert count_nodes(store) == 6


def test_what_must_not_be_stored_leaves_no_word_anywhere(ledger: Ledger, store: Store, tmp_path: Path) -> None:
    marked = "TOPSECRET"
    unstored = answer(
        marked,
        stored=False,
        reply={"role": "assistant", "content": marked},
        params={"temperature": 0.5, "stop": [marked], "user": marked},
        tags={"note": marked},
    )
    record(ledger, unstored)
    with store.read() as conn:
        for table in metadata.sorted_tables:
            assert marked not in str(conn.execute(table.select()).all()), table.name
    found = ledger.interaction(unstored.id)
    assert found is not None
    assert (found.messages, found.reply, found.stored, found.params) == ((), None, False, {"temperature": 0.5})
    assert found.duration == unstored.duration
    assert count_nodes(store) == 0


def test_a_message_that_is_not_json_is_not_stored_and_says_why(ledger: Ledger) -> None:
    failure = ledger.record(answer(messages=[{"role": "user", "content": "\ud800"}])).exception(10)
    assert isinstance(failure, NotStored)
    assert "not JSON" in failure.message


def test_an_unknown_interaction_is_nothing(ledger: Ledger) -> None:
    for unknown in (new_id(), "", "x' OR '1'='1", "\0", "\u00e9"):
        assert ledger.interaction(unknown) is None
        assert ledger.owner(unknown) is None
        assert ledger.feedback(unknown) == []
        assert ledger.feedback_by_id(unknown) is None


def test_the_owner_is_known_here_and_in_other_processes(
    ledger: Ledger, store: Store, writer: Writer, secret: Secret
) -> None:
    recorded = answer(subject=BOB, key_id="key-2", arm=Arm.HOLDBACK, stored=False)
    record(ledger, recorded)
    expected = Owner("key-2", BOB, Arm.HOLDBACK, False)
    assert ledger.owner(recorded.id) == expected
    assert Ledger(store, writer, secret).owner(recorded.id) == expected


def test_an_answer_in_the_spool_can_be_rated(ledger: Ledger, outage: None) -> None:
    recorded = answer()
    assert ledger.record(recorded).result(10) is Kept.SPOOLED
    assert ledger.owner(recorded.id) == Owner(recorded.key_id, ALICE, Arm.CHAMPION, True)
    given = thumb(recorded)
    assert ledger.rate(given, "digest").result(10) is Kept.SPOOLED
    assert ledger.feedback_by_id(given.id) == (given, "digest")


def test_what_went_through_the_spool_is_the_same(ledger: Ledger, store: Store, writer: Writer) -> None:
    with store.write() as conn:
        if conn.dialect.name == "postgresql":
            conn.exec_driver_sql("LOCK TABLE nodes, interactions, feedback IN EXCLUSIVE MODE")
        assert ledger.record(FULL).result(10) is Kept.SPOOLED
        given = thumb(FULL, correction="Better \0", reasons=("short", "wrong"), tags={"a": 1})
        assert ledger.rate(given, "digest").result(10) is Kept.SPOOLED
    wait_until(lambda: settled(writer))
    found = ledger.interaction(FULL.id)
    assert found == replace(FULL, messages=list(FULL.messages))
    assert ledger.feedback(FULL.id) == [given]


def test_the_owner_of_an_answer_that_was_not_stored_is_forgotten(store: Store, secret: Secret, tmp_path: Path) -> None:
    writer = Writer(store, Spool.open(tmp_path / "s", 1), config.Ledger(queue=1))
    ledger = Ledger(store, writer, secret)
    refused = answer()
    assert isinstance(ledger.record(refused).exception(0), NotStored)
    assert ledger.owner(refused.id) is None
    writer.close()


def test_an_unreadable_database_is_unavailable(sqlite_url: str, start_writer: WriterFactory, secret: Secret) -> None:
    store = Store.open(sqlite_url)
    ledger = Ledger(store, start_writer(store), secret)
    Path(sqlite_url.removeprefix("sqlite:///")).unlink()
    for read in (ledger.owner, ledger.interaction, ledger.feedback, ledger.feedback_by_id):
        with pytest.raises(Unavailable):
            read(new_id())
    store.close()
