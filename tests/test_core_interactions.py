"""Listing interactions: filters, pages that miss and repeat nothing, and an index behind each of them."""

from dataclasses import replace

import pytest
from answers import ALICE, BOB, answer
from conftest import WriterFactory
from hypothesis import given
from hypothesis import strategies as st

from core import interactions
from core.errors import BadRequest
from core.ids import encode, new_id
from core.ledger import InteractionFilter, Ledger
from core.secret import Secret
from core.store import Store
from core.types import Arm, Finish, Interaction, Version

FILTERS = {
    "all": InteractionFilter(),
    "subject": InteractionFilter(subject=BOB),
    "served": InteractionFilter(served=Version("v2")),
    "arm": InteractionFilter(arm=Arm.SHADOW),
    "finish": InteractionFilter(finish=Finish.CANCELLED),
    "key": InteractionFilter(key_id="key-2"),
    "experiment": InteractionFilter(experiment="e1"),
    "parent": InteractionFilter(parent="p1"),
    "since": InteractionFilter(since=20_000),
    "until": InteractionFilter(until=20_000),
    "tag": InteractionFilter(tag=("purpose", "test")),
    "several": InteractionFilter(subject=ALICE, arm=Arm.SHADOW, since=10_000, until=50_000),
}


def number_of(found: Interaction) -> int:
    return int(str(found.request_id))


@pytest.fixture
def ledger(store: Store, start_writer: WriterFactory, secret: Secret) -> Ledger:
    """Sixty interactions, one a millisecond, with features that differ."""
    opened = Ledger(store, start_writer(store), secret)
    recorded = [
        answer(
            f"question {number}",
            id=encode((number << 80) + number),
            request_id=str(number),
            subject=(ALICE, BOB)[number % 2],
            served=Version(f"v{number % 3}"),
            arm=(Arm.CHAMPION, Arm.SHADOW)[number % 5 == 0],
            finish=(Finish.STOP, Finish.CANCELLED)[number % 7 == 0],
            key_id=f"key-{number % 4}",
            experiment="e1" if number % 6 == 0 else None,
            parent="p1" if number in (3, 33) else None,
            tags={"purpose": "test", "n": number} if number % 8 == 0 else {"purpose": "Test", "x": '"purpose":"test"'},
        )
        for number in range(60)
    ]
    for future in [opened.record(each) for each in recorded]:
        future.result(10)
    return opened


EXPECTED = {
    "all": set(range(60)),
    "subject": {n for n in range(60) if n % 2},
    "served": {n for n in range(60) if n % 3 == 2},
    "arm": {n for n in range(60) if n % 5 == 0},
    "finish": {n for n in range(60) if n % 7 == 0},
    "key": {n for n in range(60) if n % 4 == 2},
    "experiment": {n for n in range(60) if n % 6 == 0},
    "parent": {3, 33},
    "since": set(range(20, 60)),
    "until": set(range(20)),
    "tag": {n for n in range(60) if n % 8 == 0},
    "several": {10, 20, 30, 40},
}


def test_every_filter_finds_its_rows_newest_first_over_all_pages(ledger: Ledger) -> None:
    for name, wanted in FILTERS.items():
        found: list[int] = []
        cursor = None
        while True:
            page = ledger.interactions(wanted, cursor, 7)
            assert len(page.items) <= 7
            found += map(number_of, page.items)
            cursor = page.next
            if cursor is None:
                break
        assert found == sorted(EXPECTED[name], reverse=True), name


def test_a_page_that_ends_exactly_with_the_rows_is_the_last(ledger: Ledger) -> None:
    assert ledger.interactions(InteractionFilter(), None, 60).next is None
    assert ledger.interactions(InteractionFilter(), None, 59).next is not None


def test_rows_that_arrive_meanwhile_do_not_move_the_pages(ledger: Ledger) -> None:
    first = ledger.interactions(InteractionFilter(), None, 10)
    ledger.record(answer(id=new_id(), request_id="999")).result(10)
    second = ledger.interactions(InteractionFilter(), first.next, 10)
    assert [number_of(each) for each in second.items] == list(range(49, 39, -1))


def test_pages_carry_the_messages(ledger: Ledger) -> None:
    for found in ledger.interactions(InteractionFilter(), None, 60).items:
        assert found.messages[0]["content"] == f"question {number_of(found)}"
        assert found.reply is not None


@pytest.mark.parametrize("wanted", FILTERS.values(), ids=FILTERS)
@pytest.mark.parametrize("before", [None, "0" * 26], ids=["first", "next"])
def test_no_page_sorts_or_reads_the_table_past_its_index(
    sqlite_url: str, wanted: InteractionFilter, before: str | None
) -> None:
    store = Store.open(sqlite_url)
    with store.read() as conn:
        statement = interactions.query(wanted, before, 50).compile(conn, compile_kwargs={"literal_binds": True})
        steps = [row.detail for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")]
    store.close()
    assert len(steps) == 1
    assert "USING INDEX" in steps[0]
    assert "TEMP B-TREE" not in steps[0]


@pytest.mark.parametrize("bad", ["\0", "a\ud800"])
def test_a_text_that_nothing_can_have_is_refused_by_name(ledger: Ledger, bad: str) -> None:
    with pytest.raises(BadRequest) as caught:
        ledger.interactions(InteractionFilter(key_id=bad))
    assert caught.value.param == "key_id"
    with pytest.raises(BadRequest):
        ledger.interactions(InteractionFilter(tag=("purpose", bad)))
    with pytest.raises(BadRequest):
        ledger.interactions(InteractionFilter(), before=bad)


@given(st.integers(-(2**70), 2**70))
def test_any_time_can_be_asked_for(micros: int) -> None:
    [condition] = InteractionFilter(since=micros).conditions()
    assert "id" in str(condition)
    assert replace(InteractionFilter(), since=micros).since == micros
