"""Erasing a subject: not a byte of what it said is left, whoever looks wherever, and nothing else is touched."""

import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from answers import ALICE, BOB, answer, says, thumb
from conftest import StoppedClock, WriterFactory
from sqlalchemy import select

from core import audit, committer, erasure, lineage
from core.datasets import Datasets
from core.erasure import Erased
from core.errors import Conflict, NotFound, Unavailable
from core.ledger import InteractionFilter, Ledger
from core.lineage import Use
from core.schema import interactions, metadata, nodes, runs
from core.secret import Secret
from core.store import Store
from core.types import Arm, Interaction, Role, RunState, Subject
from core.unit import Row, encode

ALICES, BOBS = "alice-said-", "bob-said-"
OPS = "key-ops"


@pytest.fixture
def ledger(store: Store, start_writer: WriterFactory, secret: Secret, clock: StoppedClock) -> Ledger:
    return Ledger(store, start_writer(store), secret, clock)


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    return Datasets(tmp_path / "datasets")


def erase(store: Store, datasets: Datasets, subject: Subject = ALICE, spool: Path | None = None) -> Erased:
    empty = datasets.folder.parent / "no-spool"
    return erasure.erase(store, datasets, spool or empty, subject, OPS, StoppedClock())


def call(who: Subject, text: str, **changes: object) -> Interaction:
    """A call that says `text` wherever a client can write something."""
    said = {
        "reply": {"role": "assistant", "content": f"{text}reply"},
        "params": {"stop": [f"{text}stop"], "temperature": 0.5},
        "tags": {"lane": f"{text}tag"},
        "request_id": f"{text}request",
    }
    return answer(f"{text}question", subject=who, **(said | changes))


def judge(interaction: Interaction, text: str, **changes: object) -> object:
    words = {"comment": f"{text}comment", "correction": f"{text}correction", "reasons": (f"{text}reason",)}
    return thumb(interaction, **(words | {"tags": {"over": f"{text}over"}} | changes))


def tell(ledger: Ledger, *calls: Interaction) -> None:
    """Record calls, the judgement of a user and of a reviewer about each."""
    for each in calls:
        text = str(each.messages[0]["content"]).removesuffix("question")
        ledger.record(each).result(10)
        ledger.rate(judge(each, text), "digest").result(10)  # type: ignore[arg-type]
        ledger.rate(judge(each, text, role=Role.REVIEWER, actor="anna"), "digest").result(10)  # type: ignore[arg-type]


def contents(store: Store) -> str:
    """Everything in every column of every table."""
    with store.read() as conn:
        return "".join(str(row) for table in metadata.tables.values() for row in conn.execute(select(table)).all())


def learn(store: Store, datasets: Datasets, calls: Sequence[Interaction], version: str = "tiny-v2-cccc") -> str:
    """A dataset with a row for each call, and the version that a run made of it."""
    digest = datasets.write([{"messages": list(each.messages)} for each in calls], [], {})
    uses = [Use(digest, line, f"fb{line}", each.id, "anna", 1.0, "train") for line, each in enumerate(calls)]
    run = {"id": f"run-{digest[:8]}", "created_at": 1, "state": RunState.DONE, "method": "sft", "reason": "r"}
    rest = {"recipe": {}, "requester": OPS, "lease_token": 1, "progress": {}, "attempts": 1}
    with store.write() as conn:
        lineage.record(conn, digest, 1, {}, uses)
        conn.execute(runs.insert().values(**run, **rest, dataset=digest, model=version))
    return digest


def test_no_word_of_the_subject_is_in_any_column_and_all_of_the_others_are(
    store: Store, ledger: Ledger, datasets: Datasets
) -> None:
    mine = [call(ALICE, f"{ALICES}{n}-") for n in range(5)]
    shadow = replace(call(ALICE, f"{ALICES}shadow-"), arm=Arm.SHADOW, parent=mine[0].id)
    tell(ledger, *mine, shadow, *(call(BOB, f"{BOBS}{n}-") for n in range(5)))
    before = contents(store)
    assert before.count(ALICES) >= 6 * 10
    done = erase(store, datasets)
    assert (done.interactions, done.feedback, done.messages) == (6, 12, 12)
    after = contents(store)
    assert ALICES not in after
    assert after.count(BOBS) == before.count(BOBS)
    kept = ledger.interaction(mine[0].id)
    assert kept is not None
    assert (kept.messages, kept.reply, kept.params, kept.tags) == ((), None, {}, {})
    assert (kept.id, kept.subject, kept.served, kept.finish) == (mine[0].id, ALICE, mine[0].served, mine[0].finish)
    said = ledger.feedback(mine[0].id)
    assert [(word.value, word.comment, word.correction, word.reasons) for word in said] == [(1.0, None, None, ())] * 2


def test_once_more_finds_nothing_and_writes_nothing_down(store: Store, ledger: Ledger, datasets: Datasets) -> None:
    tell(ledger, call(ALICE, ALICES))
    first = erase(store, datasets)
    with store.read() as conn:
        head, serial = audit.head(conn), erasure.serial(conn)
    again = erase(store, datasets)
    assert again == replace(first, interactions=0, feedback=0, messages=0)
    with store.read() as conn:
        assert (audit.head(conn), erasure.serial(conn)) == (head, serial)


def test_the_audit_log_says_who_asked_and_how_much_but_not_what(
    store: Store, ledger: Ledger, datasets: Datasets
) -> None:
    calls = [call(ALICE, ALICES), call(ALICE, f"{ALICES}2-")]
    tell(ledger, *calls)
    digest = learn(store, datasets, calls)
    erase(store, datasets)
    with store.read() as conn:
        (row,) = audit.page(conn).items
        assert erasure.serial(conn) == 1
    assert (row.actor, row.action, row.target) == (OPS, "subject.erase", ALICE)
    assert row.body == {
        "interactions": 2, "feedback": 4, "messages": 4, "datasets": [digest], "versions": ["tiny-v2-cccc"],
    }  # fmt: skip
    assert audit.verify(store).ok


@pytest.mark.parametrize("unknown", ["c" * 64, "", "x'; --", "a" * 63 + "\0"])
def test_an_unknown_subject_is_said_to_be_one(store: Store, ledger: Ledger, datasets: Datasets, unknown: str) -> None:
    tell(ledger, call(ALICE, ALICES))
    with pytest.raises(NotFound, match="no subject"):
        erase(store, datasets, Subject(unknown))
    assert ALICES in contents(store)


# Datasets.


def test_what_was_trained_on_the_subject_is_named_and_its_rows_are_gone_for_training(
    store: Store, ledger: Ledger, datasets: Datasets
) -> None:
    mine, theirs = call(ALICE, ALICES), call(BOB, BOBS)
    tell(ledger, mine, theirs)
    both = learn(store, datasets, [theirs, mine], "tiny-v2-both")
    other = learn(store, datasets, [theirs], "tiny-v3-bob")
    done = erase(store, datasets)
    assert (done.datasets, done.versions) == ([both], ["tiny-v2-both"])
    rows = (datasets.folder / both / "rows.jsonl").read_text()
    assert ALICES not in rows
    assert BOBS in rows
    with pytest.raises(Conflict, match="1 of its rows were erased; make a new one"):
        datasets.rows(both)
    assert len(datasets.rows(other)) == 1


def test_an_erasure_that_was_cut_off_before_the_datasets_is_finished_by_the_next(
    store: Store, ledger: Ledger, datasets: Datasets
) -> None:
    mine = call(ALICE, ALICES)
    tell(ledger, mine)
    digest = learn(store, datasets, [mine])
    away = Datasets(datasets.folder.with_name("unmounted"))
    erase(store, away)
    path = datasets.folder / digest / "rows.jsonl"
    assert ALICES in path.read_text()
    erase(store, datasets)
    assert ALICES not in path.read_text()


# What comes afterwards.


def test_what_is_said_again_is_kept_again_and_brings_nothing_old_back(
    store: Store, ledger: Ledger, datasets: Datasets
) -> None:
    before = answer("Hello", ALICES, "And?", subject=ALICE)
    ledger.record(before).result(10)
    erase(store, datasets)
    ledger.forget_messages()
    for _ in range(2):
        after = answer("Hello", ALICES, "And?", subject=ALICE)
        ledger.record(after).result(10)
        found = ledger.interaction(after.id)
        assert found is not None
        assert (list(found.messages), found.reply) == (list(after.messages), after.reply)
        old = ledger.interaction(before.id)
        assert old is not None
        assert (old.messages, old.reply) == ((), None)
    done = erase(store, datasets)
    assert (done.interactions, done.messages) == (2, 4)
    assert ALICES not in contents(store)


def test_a_commit_from_before_an_erasure_does_not_enter_the_memory_of_after(
    store: Store, ledger: Ledger, datasets: Datasets
) -> None:
    with store.write():
        slow = ledger.record(answer("Hello", subject=ALICE))
        ledger.forget_messages()
    slow.result(10)
    erase(store, datasets)
    after = answer("Hello", subject=ALICE)
    ledger.record(after).result(10)
    found = ledger.interaction(after.id)
    assert found is not None
    assert list(found.messages) == says("Hello")


def test_one_commit_may_bring_the_same_erased_message_back_twice(store: Store, secret: Secret) -> None:
    def unit(name: str, body: object, erased_at: int | None = None) -> Sequence[Row]:
        node = {"id": name, "subject": ALICE, "parent": None, "created_at": 2, "body": body, "erased_at": erased_at}
        return [Row("nodes", node)]

    def bodies() -> dict[str, object]:
        with store.read() as conn:
            return {row.id: row.body for row in conn.execute(select(nodes.c.id, nodes.c.body))}

    committer.commit(store, [unit("gone", None, 1), unit("there", {"content": "first"})])
    back = [unit(name, {"content": "again"}) for name in ("gone", "there", "new")]
    assert committer.commit(store, [*back, *back]) == [None] * 6
    assert bodies() == {"gone": {"content": "again"}, "there": {"content": "first"}, "new": {"content": "again"}}


# The files.


def bytes_of(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_no_byte_is_left_in_any_file_however_often_and_in_whatever_order_subjects_go(
    sqlite_store: Store, start_writer: WriterFactory, secret: Secret, datasets: Datasets, tmp_path: Path
) -> None:
    ledger, rng = Ledger(sqlite_store, start_writer(sqlite_store), secret), Random(5)
    people = {f"person-{n:02}": Subject(f"{n:064x}") for n in range(12)}
    told = []
    for number in range(300):
        name = rng.choice(list(people))
        long = "x" * rng.choice([10, 100, 1000, 9000])
        told.append(call(people[name], f"{name}-{number}-", messages=says(f"{name}-{long}-question")))
        ledger.record(told[-1]).result(10)
        ledger.rate(judge(told[-1], f"{name}-"), "d").result(10)  # type: ignore[arg-type]
    learn(sqlite_store, datasets, told)
    left = list(people)
    rng.shuffle(left)
    while left:
        name = left.pop()
        assert name.encode() in bytes_of(tmp_path)
        done = erase(sqlite_store, datasets, people[name], tmp_path / "spool")
        assert done.interactions and done.messages and done.feedback
        raw = bytes_of(tmp_path)
        gone = [other for other in people if other not in left and other.encode() in raw]
        assert not gone
        assert all(other.encode() in raw for other in left)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_whoever_reads_meanwhile_is_waited_for_and_then_the_log_is_empty(
    sqlite_store: Store, start_writer: WriterFactory, secret: Secret, datasets: Datasets, tmp_path: Path
) -> None:
    ledger = Ledger(sqlite_store, start_writer(sqlite_store), secret)
    tell(ledger, call(ALICE, ALICES))
    reading, leave = threading.Event(), threading.Event()

    def read() -> None:
        with sqlite_store.read() as conn:
            conn.execute(select(interactions.c.id)).all()
            reading.set()
            leave.wait(10)

    reader = threading.Thread(target=read)
    reader.start()
    reading.wait(5)
    threading.Timer(0.6, leave.set).start()
    started = time.monotonic()
    erase(sqlite_store, datasets)
    assert time.monotonic() - started > 0.4
    reader.join()
    assert ALICES.encode() not in bytes_of(tmp_path)
    assert (tmp_path / "ledger.db-wal").stat().st_size == 0


def test_writers_go_on_while_a_reader_keeps_the_log(sqlite_store: Store, tmp_path: Path) -> None:
    """What is done for erasure must not hold rows up for longer than the writer's patience."""
    leave = threading.Event()
    reading = threading.Event()

    def read() -> None:
        with sqlite_store.read() as conn:
            conn.execute(select(interactions.c.id)).all()
            reading.set()
            leave.wait(10)

    def write() -> float:
        started = time.monotonic()
        committer.commit(
            sqlite_store, [[Row("retractions", {"feedback": str(started), "created_at": 1, "key_id": "k"})]]
        )
        return time.monotonic() - started

    reader = threading.Thread(target=read)
    reader.start()
    reading.wait(5)
    write()
    folder = threading.Thread(target=sqlite_store.fold)
    folder.start()
    slowest = max(write() for _ in range(20))
    leave.set()
    folder.join()
    reader.join()
    assert slowest < 1.0


# The spool.


def test_rows_that_wait_are_stored_before_anybody_is_erased(
    store: Store, ledger: Ledger, datasets: Datasets, tmp_path: Path
) -> None:
    tell(ledger, call(ALICE, ALICES))
    waiting = tmp_path / "elsewhere" / "1-aa.jsonl"
    waiting.parent.mkdir()
    waiting.write_bytes(encode([Row("nodes", {"subject": ALICE})]))
    with pytest.raises(Unavailable, match="Rows wait"):
        erase(store, datasets, spool=waiting.parent)
    assert ALICES in contents(store)
    waiting.write_bytes(b"")
    assert erase(store, datasets, spool=waiting.parent).interactions == 1


def test_what_the_spool_set_aside_is_blanked_where_it_is_the_subjects(
    store: Store, ledger: Ledger, datasets: Datasets, tmp_path: Path
) -> None:
    mine, theirs = call(ALICE, ALICES), call(BOB, BOBS)
    tell(ledger, mine, theirs)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    path = folder / "1-aa.rejected"
    lines = [
        encode([Row("nodes", {"id": "n", "subject": who, "body": {"content": text}})]) for who, text in
        ((ALICE, ALICES), (BOB, BOBS))
    ]  # fmt: skip
    lines += [encode([Row("feedback", {"interaction": each.id, "body": text})]) for each, text in
              ((mine, ALICES), (theirs, BOBS))]  # fmt: skip
    lines.append(b"damaged " + ALICE.encode() + b" " + ALICES.encode() + b"\n")
    path.write_bytes(b"".join(lines))
    erase(store, datasets, spool=folder)
    assert ALICES.encode() not in path.read_bytes()
    left = path.read_bytes().splitlines(keepends=True)
    assert [len(line) for line in left] == [len(line) for line in lines]
    assert [line for line in left if line.strip()] == [lines[1], lines[3]]


def test_lists_of_interactions_show_what_was_erased_without_words(
    store: Store, ledger: Ledger, datasets: Datasets
) -> None:
    tell(ledger, call(ALICE, ALICES), call(BOB, BOBS))
    erase(store, datasets)
    rows = {row.subject: row for row in ledger.interactions(InteractionFilter()).items}
    assert {who: len(row.messages) for who, row in rows.items()} == {BOB: 1, ALICE: 0}
    assert not ledger.stands(rows[ALICE].id)
    assert ledger.stands(rows[BOB].id)
    assert not ledger.stands("nobody")
