"""Processes that die while they write, and many that write at once: what was accepted is there, once."""

import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from conftest import WriterFactory
from processes import PROCESSES
from rows import bodies, chat, settled, stored, wait_until
from sqlalchemy import text
from writing_process import write_for_a_while, write_until_killed

from core.store import Store

KILLS = 20
WRITERS = 8


@contextmanager
def locked(store: Store) -> Iterator[None]:
    """Nobody else can write meanwhile, so that rows go to the spool."""
    with store.write() as conn:
        if conn.dialect.name == "postgresql":
            conn.execute(text("LOCK TABLE nodes, retractions IN EXCLUSIVE MODE"))
        yield


def grown(path: Path, before: int) -> bool:
    return size(path) > before


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def test_killing_a_writer_twenty_times_loses_nothing_that_was_accepted(
    store: Store, database_url: str, start_writer: WriterFactory, tmp_path: Path
) -> None:
    rng, spool, accepted = random.Random(7), tmp_path / "spool", tmp_path / "accepted"
    spooled = 0
    for number in range(KILLS):
        before = size(accepted)
        process = PROCESSES.Process(target=write_until_killed, args=(database_url, spool, accepted, f"{number:02}"))
        process.start()
        wait_until(partial(grown, accepted, before))
        if number % 2:
            with locked(store):
                time.sleep(rng.uniform(0.05, 0.15))
                process.kill()
                process.join()
        else:
            time.sleep(rng.uniform(0, 0.1))
            process.kill()
            process.join()
        spooled += sum(size(path) for path in spool.glob("*.jsonl"))
    names = accepted.read_text().split("\n")[:-1]
    writer = start_writer(store)
    wait_until(lambda: settled(writer))
    found = stored(store)
    assert len(names) > 10 * KILLS
    assert spooled > 0
    assert set(names) <= set(found)
    assert len(names) == len(set(names))
    texts = bodies(store)
    assert sorted(texts) == found
    assert all(texts[name] == chat(name)[0].values["body"] for name in names)
    assert writer.stats().rejected == 0


def test_eight_processes_write_at_once_and_no_client_sees_a_lock(
    store: Store, database_url: str, start_writer: WriterFactory, tmp_path: Path
) -> None:
    reports = [tmp_path / f"report-{number}" for number in range(WRITERS)]
    started = [
        PROCESSES.Process(target=write_for_a_while, args=(database_url, tmp_path / "spool", report, report.name, 2.0))
        for report in reports
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()
    seen = [json.loads(report.read_text())["seen"] for report in reports]
    assert all(set(each) <= {"committed", "spooled", "direct"} for each in seen), seen
    assert all(each["committed"] > 20 and each["direct"] > 0 for each in seen), seen
    assert size(tmp_path / "ledger.db-wal") <= 64 * 2**20
    writer = start_writer(store)
    wait_until(lambda: settled(writer))
    assert len(stored(store)) == sum(sum(each.values()) for each in seen)
