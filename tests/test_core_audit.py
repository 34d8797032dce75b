"""The audit chain: whatever is changed behind its back is found, and nobody's row is lost."""

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, delete, insert, select, update

from core import audit
from core.errors import BadRequest
from core.schema import audit as table
from core.store import Store

ROWS = 12
Tamper = Callable[[Connection], object]


@pytest.fixture
def chain(store: Store) -> Store:
    """A ledger with a chain of twelve rows."""
    _fill(store)
    return store


def _fill(store: Store) -> None:
    with store.write() as conn:
        for number in range(1, ROWS + 1):
            audit.append(
                conn, "ops", "test.done", f"thing-{number}", {"number": number, "why": "caf\u00e9 \x00"}, at=number
            )


def head_of(store: Store) -> str:
    with store.read() as conn:
        return audit.head(conn).digest


def digest_of(row: audit.AuditRow) -> str:
    """A row's digest as its description says, without the code that makes it."""
    body = json.dumps(row.body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    fields = [row.seq, row.created_at, row.actor, row.action, row.target, body, row.previous]
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def row_5(**values: object) -> Tamper:
    return lambda conn: conn.execute(update(table).where(table.c.seq == 5).values(**values))


def test_an_empty_chain_is_sound(store: Store) -> None:
    assert audit.verify(store) == audit.AuditReport(True, 0, audit.GENESIS)
    assert audit.verify(store, head=audit.GENESIS).ok


def test_an_untouched_chain_is_sound_and_its_rows_come_back(chain: Store) -> None:
    assert audit.verify(chain) == audit.AuditReport(True, ROWS, head_of(chain))
    with chain.read() as conn:
        rows = audit.page(conn).items
    assert [row.seq for row in rows] == list(range(1, ROWS + 1))
    assert rows[0].previous == audit.GENESIS
    assert rows[3].body == {"number": 4, "why": "caf\u00e9 \x00"}


def test_a_digest_can_be_computed_by_anyone_from_the_stored_columns(chain: Store) -> None:
    with chain.read() as conn:
        row = audit.page(conn).items[6]
    assert digest_of(row) == row.digest


EDITS = {
    "created_at": 99,
    "actor": "somebody",
    "action": "test.undone",
    "target": "thing-6",
    "body": {"number": 6},
    "previous": "f" * 64,
    "digest": "f" * 64,
}


def test_the_edits_cover_every_column_but_the_place() -> None:
    assert {"seq", *EDITS} == {column.name for column in table.columns}


@pytest.mark.parametrize("column", EDITS)
def test_an_edit_of_any_column_is_found_where_it_is(chain: Store, column: str) -> None:
    with chain.write() as conn:
        row_5(**{column: EDITS[column]})(conn)
    report = audit.verify(chain)
    assert (report.ok, report.rows, report.broken_at) == (False, 4, 5)
    assert "row 5" in str(report.reason)


def _delete(*places: int) -> Tamper:
    return lambda conn: conn.execute(delete(table).where(table.c.seq.in_(places)))


def _swap(conn: Connection, names: Sequence[str]) -> None:
    columns = [table.c[name] for name in names]
    fifth, ninth = (conn.execute(select(*columns).where(table.c.seq == seq)).mappings().one() for seq in (5, 9))
    conn.execute(update(table).where(table.c.seq == 5).values(**ninth))
    conn.execute(update(table).where(table.c.seq == 9).values(**fifth))


def _close_the_gap(conn: Connection) -> None:
    conn.execute(delete(table).where(table.c.seq == 5))
    for seq in range(6, ROWS + 1):
        conn.execute(update(table).where(table.c.seq == seq).values(seq=seq - 1))


def _slip_in(seq: int) -> Tamper:
    values = {"created_at": 1, "actor": "x", "action": "x", "target": "x", "body": {}, "previous": audit.GENESIS}
    return lambda conn: conn.execute(insert(table).values(seq=seq, digest="0" * 64, **values))


def _forge(place: int, **values: object) -> Tamper:
    """An edit by somebody who knows how digests are made and computes the row's own anew."""

    def forge(conn: Connection) -> None:
        row = {**conn.execute(select(table).where(table.c.seq == place)).mappings().one(), **values}
        row["digest"] = digest_of(audit.AuditRow(**row))
        conn.execute(update(table).where(table.c.seq == place).values(**row))

    return forge


TAMPERINGS: dict[str, tuple[Tamper, int]] = {
    "the first row deleted": (_delete(1), 1),
    "a row in the middle deleted": (_delete(5), 5),
    "a row deleted and the later ones renumbered": (_close_the_gap, 5),
    "two rows swapped whole": (lambda conn: _swap(conn, [name for name in EDITS]), 5),
    "the contents of two rows swapped": (lambda conn: _swap(conn, ["actor", "action", "target", "body"]), 5),
    "a row moved to the end": (row_5(seq=ROWS + 1), 5),
    "a row slipped in before the first": (_slip_in(0), 1),
    "a row slipped in far before the first": (_slip_in(-(2**31) + 1), 1),
    "a row edited with a digest to match": (_forge(5, actor="somebody"), 6),
    "the last row moved on with a digest to match": (_forge(ROWS, seq=ROWS + 1), ROWS),
    "a row added by hand": (_slip_in(ROWS + 1), ROWS + 1),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_rows_taken_moved_or_slipped_in_are_found(chain: Store, name: str) -> None:
    tamper, place = TAMPERINGS[name]
    with chain.write() as conn:
        tamper(conn)
    report = audit.verify(chain)
    assert (report.ok, report.broken_at) == (False, place)


@pytest.mark.parametrize("column", ["created_at", "actor", "body", "digest"])
def test_a_value_of_a_foreign_type_as_sqlite_takes_it_is_an_edit_not_a_crash(sqlite_url: str, column: str) -> None:
    store = Store.open(sqlite_url)
    _fill(store)
    with store.write() as conn:
        conn.exec_driver_sql(f"UPDATE audit SET {column} = x'ff00' WHERE seq = 5")
    assert audit.verify(store).broken_at == 5
    store.close()


def test_a_cut_is_found_by_a_head_that_was_kept_and_only_by_it(chain: Store) -> None:
    kept = head_of(chain)
    with chain.write() as conn:
        _delete(ROWS - 1, ROWS)(conn)
    assert audit.verify(chain).ok
    report = audit.verify(chain, head=kept)
    assert (report.ok, report.rows, report.broken_at) == (False, ROWS - 2, ROWS - 1)
    assert kept in str(report.reason)


def test_a_chain_that_was_emptied_is_found_by_a_kept_head(chain: Store) -> None:
    kept = head_of(chain)
    with chain.write() as conn:
        conn.execute(delete(table))
    assert not audit.verify(chain, head=kept).ok


def test_a_chain_written_anew_is_found_by_a_kept_head(chain: Store) -> None:
    kept = head_of(chain)
    with chain.write() as conn:
        conn.execute(delete(table))
        for number in range(1, ROWS + 1):
            audit.append(conn, "ops", "test.done", f"thing-{number}", {"number": number}, at=number)
    assert audit.verify(chain).ok
    assert not audit.verify(chain, head=kept).ok


def test_a_head_kept_long_ago_still_holds(chain: Store) -> None:
    kept = head_of(chain)
    with chain.write() as conn:
        audit.append(conn, "ops", "test.done", "later", {})
    assert audit.verify(chain, head=kept).ok


def test_an_undone_transaction_leaves_no_row(chain: Store) -> None:
    with pytest.raises(RuntimeError), chain.write() as conn:
        audit.append(conn, "ops", "test.done", "nothing", {})
        raise RuntimeError
    assert audit.verify(chain).rows == ROWS


def test_eight_threads_at_once_keep_one_unbroken_chain(store: Store) -> None:
    start = threading.Barrier(8)

    def work(thread: int) -> None:
        start.wait()
        for number in range(15):
            with store.write() as conn:
                audit.append(conn, f"thread-{thread}", "test.done", str(number), {})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    report = audit.verify(store)
    assert (report.ok, report.rows) == (True, 120)
    with store.read() as conn:
        actors = [(row.actor, row.target) for row in audit.page(conn, limit=200).items]
    assert len(set(actors)) == 120


def test_verifying_goes_on_past_one_read(store: Store) -> None:
    with store.write() as conn:
        for number in range(audit.CHUNK + 1):
            audit.append(conn, "ops", "test.done", str(number), {}, at=number)
    assert audit.verify(store).rows == audit.CHUNK + 1
    with store.write() as conn:
        conn.execute(update(table).where(table.c.seq == audit.CHUNK + 1).values(actor="x"))
    assert audit.verify(store).broken_at == audit.CHUNK + 1


def test_pages_show_each_row_once_in_order(chain: Store) -> None:
    seen: list[int] = []
    cursor: str | None = None
    while True:
        with chain.read() as conn:
            page = audit.page(conn, cursor, limit=5)
        seen += [row.seq for row in page.items]
        if (cursor := page.next) is None:
            break
    assert seen == list(range(1, ROWS + 1))


def test_a_full_last_page_has_no_successor(chain: Store) -> None:
    with chain.read() as conn:
        assert audit.page(conn, limit=ROWS).next is None


def test_a_foreign_cursor_is_refused(chain: Store) -> None:
    for cursor in ("", "-1", "x", "\u0665", "9" * 30, "1 or 1=1"):
        with chain.read() as conn, pytest.raises(BadRequest, match="not a place in the audit log"):
            audit.page(conn, cursor)
