"""What a process does that writes to the ledger until somebody kills it, or for a while."""

import itertools
import json
import os
import random
import time
from collections import Counter
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from threading import Semaphore

from rows import chat, unit
from sqlalchemy import select

from core import config
from core.errors import HoneError
from core.schema import retractions
from core.spool import Spool
from core.store import Store, insert_new
from core.writer import Kept, Writer

IN_FLIGHT = 64


def writer_of(url: str, spool: Path, **settings: object) -> tuple[Store, Writer]:
    store = Store.open(url)
    writer = Writer(store, Spool.open(spool, 2**30), config.Ledger.model_validate(settings))
    writer.start()
    return store, writer


def write_until_killed(url: str, spool: Path, accepted: Path, name: str) -> None:
    """Append the name of each unit to `accepted` once it is durable, as a client would note that it was told so."""
    notes = os.open(accepted, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    _, writer = writer_of(url, spool, patience=0.05)
    free = Semaphore(IN_FLIGHT)

    def note(each: str, done: Future[Kept]) -> None:
        free.release()
        if not done.exception() and done.result() is not Kept.HELD:
            os.write(notes, f"{each}\n".encode())

    for number in itertools.count():
        free.acquire()
        each = f"{name}-{number:07}"
        writer.submit(chat(each)).add_done_callback(partial(note, each))


def write_for_a_while(url: str, spool: Path, report: Path, name: str, seconds: float) -> None:
    """Submit, read and write directly, as a gateway does, and report what clients would have seen."""
    store, writer = writer_of(url, spool)
    seen: Counter[str] = Counter()
    slowest, rng, end = 0.0, random.Random(name), time.monotonic() + seconds
    for number in itertools.count():
        if time.monotonic() > end:
            break
        try:
            started = time.monotonic()
            futures = [writer.submit(unit(f"{name}-{number}-{each}")) for each in range(rng.randint(1, 20))]
            seen.update(str(future.result(20)) for future in futures)
            slowest = max(slowest, time.monotonic() - started)
            if number % 5 == 0:
                with store.read() as conn:
                    conn.execute(select(retractions).limit(50)).all()
                with store.write() as conn:
                    insert_new(conn, retractions, [{"feedback": f"{name}-{number}", "created_at": 1, "key_id": "k"}])
                seen["direct"] += 1
        except HoneError as error:
            seen[f"error: {error}"] += 1
    writer.close()
    store.close()
    report.write_text(json.dumps({"seen": seen, "slowest": slowest}))
