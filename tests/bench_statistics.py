"""What watching costs: a tick over a large ledger beside one over a small, an update of each stream beside a bare sum.

Command: `make bench`. Ratios within one run; the ledgers lie in a temporary folder of about 1 GB.
"""

import asyncio
import hashlib
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from query_plans import plans, statements
from registry_story import Story

from core import config, migrate
from core.clock import HOUR, SECOND
from core.ids import encode
from core.rules import Notify
from core.store import Store
from core.types import Subject
from monitoring.drift.effects import effects
from monitoring.drift.explanation import explain
from monitoring.drift.prompts import Turn
from monitoring.drift.streams import Observation
from monitoring.drift.watched import Numbers
from monitoring.drift.watches import Watches
from monitoring.drift.watchlist import Stream, Watchlist, all_streams
from monitoring.drift.windows import Windows
from monitoring.notices import Outbox
from monitoring.policy import policies

SMALL, LARGE, NEW, ROUNDS = 10_000, 1_000_000, 500, 9
BEGIN, STEP = 1_800_000_000 * SECOND, SECOND // 10
SCORED = ("logprob", "prompt", "distance", "refusal", "judge")
WORDS = ("lunch", "menu", "parcel", "courier", "login", "password", "soup", "late", "reset", "price")
CALL = {
    "kind": "chat", "key_id": "key-1", "conversation": None, "experiment": None, "arm": "champion", "assigned": "v0",
    "served": "v0", "propensity": 1.0, "asked": 1.0, "revision": 1, "config_digest": "c" * 64, "parent": None,
    "reply": None, "params": "{}", "tags": "{}", "finish": "stop", "error": None, "stream": 0, "stored": 1,
    "prompt_tokens": 40, "completion_tokens": 30, "first_token": 9_000, "request_id": None, "provider": None,
    "cost": None, "erased_at": None,
}  # fmt: skip


def identity(number: int) -> str:
    return encode(((BEGIN + number * STEP) // 1000 << 80) | number)


def digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


def calls(first: int, last: int) -> Iterator[dict[str, object]]:
    for n in range(first, last):
        own = {
            "id": identity(n),
            "created_at": BEGIN + n * STEP,
            "subject": digest(f"s{n % 5000}"),
            "prompt": digest(f"q{n}"),
        }
        yield {**CALL, **own, "duration": 60_000 + n * 7919 % 40_000}


def messages(first: int, last: int) -> Iterator[dict[str, object]]:
    for n in range(first, last):
        body = f'{{"role":"user","content":"{WORDS[n % 10]} and {WORDS[n // 10 % 10]} {n * 7919 % 10_007}"}}'
        own = {"id": digest(f"q{n}"), "subject": digest(f"s{n % 5000}"), "created_at": BEGIN + n * STEP}
        yield {**own, "parent": None, "body": body, "erased_at": None}


def scores(first: int, last: int) -> Iterator[dict[str, object]]:
    for n in range(first - first % 5, last, 5):
        for name in SCORED:
            own = {"id": f"{identity(n)}-{name}", "interaction": identity(n), "created_at": BEGIN + n * STEP}
            yield {**own, "version": "v0", "source": "bench", "name": name, "value": n * 7919 % 1009 / 1009}


def thumbs(first: int, last: int) -> Iterator[dict[str, object]]:
    for n in range(first - first % 10, last, 10):
        own = {"id": f"fb_{identity(n)}", "interaction": identity(n), "created_at": BEGIN + n * STEP + 1}
        said = {
            "name": "thumbs",
            "value": float(n % 70 > 0),
            "label": None,
            "role": "user",
            "corrected": 0,
            "body": None,
        }
        yield {
            **own,
            **said,
            "actor": digest(f"s{n % 5000}"),
            "key_id": "key-1",
            "request_digest": "d",
            "erased_at": None,
        }


def fill(path: Path, first: int, last: int) -> None:
    """Insert what customers do from one call to another, all answered by the champion."""
    with sqlite3.connect(path) as conn:
        conn.execute("PRAGMA synchronous = off")
        conn.execute("PRAGMA cache_size = -500000")
        for table, rows in (("nodes", messages), ("interactions", calls), ("scores", scores), ("feedback", thumbs)):
            columns = tuple(next(rows(0, 1)))
            places = ",".join(f":{name}" for name in columns)
            conn.executemany(
                f"INSERT OR IGNORE INTO {table} ({','.join(columns)}) VALUES ({places})", rows(first, last)
            )
    conn.close()


def watchlist() -> Watchlist:
    return all_streams(policies(config.parse({})), np.random.default_rng(1))


@dataclass(slots=True)
class Place:
    """A ledger of `size` calls, all older than the champion's promotion, and the jobs that watch what comes then."""

    path: Path
    store: Store
    size: int
    at: int = 0
    jobs: Sequence[Callable[[], Coroutine[None, None, None]]] = ()

    @classmethod
    def made(cls, folder: Path, size: int) -> "Place":
        path, began = folder / f"{size}.db", time.perf_counter()
        migrate.upgrade(f"sqlite:///{path}")
        place = cls(path, Store.open(f"sqlite:///{path}"), size)
        Story(place.store)
        fill(path, 0, size)
        with place.store.write() as conn:
            conn.exec_driver_sql("UPDATE moves SET created_at = ?", (BEGIN + size * STEP - 1,))
        watched, clock = watchlist(), lambda: place.at
        watches = Watches(place.store, watched, Outbox(Notify()), clock)
        place.jobs = (watches.tick, Windows(place.store, watched, 10 * NEW, clock).tick)
        print(f"{size:>9,} interactions written in {time.perf_counter() - began:.0f} s", flush=True)
        return place

    def tick(self) -> float:
        """Milliseconds of a look of every job at NEW more calls."""
        fill(self.path, self.size, self.size + NEW)
        self.size += NEW
        self.at = BEGIN + self.size * STEP
        began = time.perf_counter()
        for job in self.jobs:
            asyncio.run(job())
        return (time.perf_counter() - began) * 1e3

    def show_plans(self) -> None:
        with statements(self.store) as asked:
            for job in self.jobs:
                asyncio.run(job())
        for number, steps in enumerate(plans(self.store, asked).values(), 1):
            print(f"  statement {number}: {'; '.join(steps)}")


def ticks(small: Place, large: Place) -> None:
    """One line: what a tick takes behind a short and a long past; medians of interleaved rounds."""
    small.tick(), large.tick()
    pairs = [(small.tick(), large.tick()) for _ in range(ROUNDS)]
    short, long = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(long / short for short, long in pairs)
    print(f"a tick with {NEW} new calls: {short:.0f} ms behind {SMALL:,}, {long:.0f} ms behind {LARGE:,}, ", end="")
    print(f"ratio {ratio:.2f}")


def observed(count: int, begin: int) -> Sequence[Observation]:
    rng = np.random.default_rng(2)
    values, liked = rng.normal(size=count), rng.random(count)
    return [
        Observation(str(n), begin + n * HOUR // 200, str(n), Subject(str(n)), float(value), float(share) / 2)
        for n, (value, share) in enumerate(zip(values, liked, strict=True))
    ]


def bare(values: Sequence[float]) -> float:
    """The plainest cumulative sum that there is, in Python."""
    high = low = 0.0
    for value in values:
        high, low = max(0.0, high + value - 0.5), max(0.0, low - value - 0.5)
    return max(high, low)


def per_value(act: Callable[[], object], count: int) -> float:
    """Microseconds for each of `count` values: the least of several rounds."""
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        act()
        found.append((time.perf_counter() - began) / count * 1e6)
    return min(found)


def updates() -> None:
    """What an observation costs each stream once its reference is complete."""
    history, fresh = observed(10_000, BEGIN), observed(1000, BEGIN + 50 * HOUR)
    values = [each.value for each in fresh]
    plain = per_value(lambda: bare(values), 1000)
    print(f"{'a bare sum':>14} {plain:6.2f} us")
    for stream in watchlist().streams:
        cost = per_value(_update(stream, history, fresh), 1000)
        print(f"{stream.name:>14} {cost:6.2f} us   ratio {cost / plain:5.1f}")


def _update(stream: Stream, history: Sequence[Observation], fresh: Sequence[Observation]) -> Callable[[], object]:
    watched = stream.watched.after(history)
    if watched.view().verdict == "alarm":
        watched = watched.anew()
    return lambda: watched.after(fresh)


def window() -> None:
    """What it costs to say how a window of 1,000 turns differs from the reference."""
    rng, names = np.random.default_rng(3), [s.name for s in watchlist().streams if isinstance(s.watched, Numbers)]
    reference = {name: np.sort(rng.normal(size=5000)) for name in names}
    values = {name: rng.normal(size=1000) for name in names}
    numbers = per_value(lambda: list(effects(reference, values)), 1) / 1e3
    before, now = ([_turn(rng, f"{side}{n}") for n in range(count)] for side, count in (("a", 2000), ("b", 1000)))
    began = time.perf_counter()
    explain(before, now, 1)
    words = (time.perf_counter() - began) * 1e3
    told = f"{len(names)} streams of numbers {numbers:.1f} ms; its words {words:.0f} ms, in a thread"
    print(f"a window of 1,000 turns: {told}")


def _turn(rng: np.random.Generator, name: str) -> Turn:
    return Turn(name, Subject(f"s{rng.integers(400)}"), f"{' '.join(rng.choice(WORDS, 6))} {rng.integers(10**6)}")


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        small, large = (Place.made(Path(folder), size) for size in (SMALL, LARGE))
        ticks(small, large)
        large.show_plans()
        for place in (small, large):
            place.store.close()
    updates()
    window()


if __name__ == "__main__":
    main()
