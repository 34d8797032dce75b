"""Each stream over real rows: which answers count, with what value, and that only what is new is read."""

from collections.abc import Sequence
from math import log

import numpy as np
import pytest
from conftest import StoppedClock
from query_plans import plans, statements
from registry_story import Story
from traffic import V0, Traffic
from traffic import traffic as traffic

from core import config
from core.rules import Notify
from core.store import Store
from core.types import Arm, Finish, Version
from monitoring.drift import streams
from monitoring.drift.arrivals import Arrivals
from monitoring.drift.streams import Observation
from monitoring.drift.watches import Watches
from monitoring.drift.watchlist import all_streams
from monitoring.drift.windows import Windows
from monitoring.notices import Outbox
from monitoring.policy import policies

RULES = policies(config.parse({"drift": {"min_reference": 30, "cycle_hours": 0}}))
LIST = all_streams(RULES, np.random.default_rng(1))


def values(traffic: Traffic, name: str) -> Sequence[float]:
    (stream,) = (stream for stream in LIST.streams if stream.name == name)
    traffic.settle()
    with traffic.store.read() as conn:
        return [observation.value for observation in stream.read(conn, V0, Arrivals(0))]


def test_the_pace_is_that_of_the_version_that_was_asked_first(traffic: Traffic) -> None:
    traffic.ask(duration=80_000, completion_tokens=8)
    traffic.ask(duration=80_000, completion_tokens=8, assigned=Version("v1"))
    traffic.ask(duration=80_000, completion_tokens=0)
    traffic.ask(duration=0, completion_tokens=8)
    traffic.ask(duration=None, completion_tokens=8)
    traffic.ask(duration=80_000, completion_tokens=8, finish=Finish.CANCELLED)
    assert values(traffic, "latency") == pytest.approx([log(10_000)])


def test_a_prompt_has_a_length_whatever_became_of_its_answer(traffic: Traffic) -> None:
    traffic.ask(prompt_tokens=12)
    traffic.ask(prompt_tokens=40, finish=Finish.CANCELLED, completion_tokens=None)
    traffic.ask(prompt_tokens=None)
    assert values(traffic, "prompt_length") == [12.0, 40.0]
    assert values(traffic, "length") == [8.0, 8.0]


def test_a_fault_is_turned_around_so_that_yes_is_good(traffic: Traffic) -> None:
    rows = [traffic.ask() for _ in range(3)]
    traffic.settle()
    for row, fault in zip(rows, (0.0, 1.0, 0.0), strict=True):
        traffic.score(row, fault, "refusal")
    assert values(traffic, "refusal") == [1.0, 0.0, 1.0]
    assert values(traffic, "tool_error") == []


@pytest.mark.parametrize("name", ["latency", "prompt_length", "length", "distance", "logprob", "prompt", "refusal"])
def test_a_subject_counts_once_a_question_in_every_stream(traffic: Traffic, name: str) -> None:
    told: dict[str, object] = {"duration": 80_000, "prompt_tokens": 5}
    rows = [traffic.ask("ann", "the same", **told) for _ in range(3)] + [traffic.ask("bob", "the same", **told)]
    traffic.ask("cid", **told, arm=Arm.NAMED)
    traffic.settle()
    for row in rows:
        traffic.score(row, 0.0, name)
    assert len(values(traffic, name)) == 2


def test_every_stream_of_scores_and_numbers_goes_on_behind_what_was_taken(traffic: Traffic) -> None:
    rows = [traffic.ask(duration=80_000, prompt_tokens=5) for _ in range(3)]
    traffic.settle()
    for row in rows:
        for name in ("distance", "logprob", "prompt", "refusal", "tool_error", "judge"):
            traffic.score(row, 0.0, name)
    for stream in LIST.streams:
        if stream.name in ("thumbs", "confidence"):
            continue
        arrivals = Arrivals(0)
        with traffic.store.read() as conn:
            first = stream.read(conn, V0, arrivals)
            take(arrivals, first)
            assert (stream.name, len(first), stream.read(conn, V0, arrivals)) == (stream.name, 3, [])


def take(arrivals: Arrivals, observed: Sequence[Observation]) -> None:
    for observation in observed:
        arrivals.take(observation.id, observation.at)


async def test_a_tick_searches_an_index_for_what_is_new_and_scans_no_table(
    sqlite_store: Store, clock: StoppedClock
) -> None:
    watches = Watches(sqlite_store, LIST, Outbox(Notify()), clock)
    windows = Windows(sqlite_store, LIST, 200, clock)
    Story(sqlite_store)
    with statements(sqlite_store) as asked:
        await watches.tick()
        await windows.tick()
    found = plans(sqlite_store, asked)
    assert len(found) >= len(LIST.streams) - 4, "streams of scores share a statement"
    for text, steps in found.items():
        scans = [step for step in steps if step.startswith("SCAN") and not step.startswith("SCAN said")]
        assert not scans, f"{scans} in {text}"
        bounded = [step for step in steps if "SEARCH" in step and (">?" in step or "id>" in step)]
        assert bounded, f"no search from a place on in {steps}: {text}"


def test_the_plans_would_show_a_scan(sqlite_store: Store) -> None:
    found = plans(sqlite_store, [("SELECT count(*) FROM interactions WHERE arm != 'x'", ())])
    assert any(step.startswith("SCAN") for steps in found.values() for step in steps)


def test_the_questions_of_a_champion_are_all_that_are_new(traffic: Traffic) -> None:
    traffic.ask(completion_tokens=None, finish=Finish.ERROR)
    traffic.ask("ann", "twice")
    traffic.ask("ann", "twice")
    traffic.ask(stored=False, messages=(), reply=None)
    traffic.settle()
    with traffic.store.read() as conn:
        assert len(streams.questions(conn, V0, Arrivals(0))) == 2
