"""The published count: what it says, when it is renewed, and that it takes no more than its share of the time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from conftest import StoppedClock
from fixtures_serving import write_model
from lessons import ALL
from training_place import Place, words

from core import states
from core.datasets import Datasets
from core.store import Store
from core.types import Feedback, Interaction
from training.curation import Material
from training.harvest import Harvest, Judged
from training.material import Least, Window
from training.rows import Method
from training.yields import ANEW, SHARE, Yields, measure

EVERY = 30.0


@dataclass
class Stopwatch:
    """A timer that goes on when it is told to, and by `costs` seconds each time that it is asked."""

    seconds: float = 1000.0
    costs: float = 0.0

    def __call__(self) -> float:
        self.seconds += self.costs
        return self.seconds


@pytest.fixture
def place(tmp_path: Path, sqlite_url: str) -> Iterator[Place]:
    opened = Place.open(tmp_path, sqlite_url, write_model(tmp_path / "model"))
    yield opened
    opened.store.close()


@pytest.fixture
def timer() -> Stopwatch:
    return Stopwatch()


@pytest.fixture
def yields(place: Place, timer: Stopwatch, clock: StoppedClock) -> Yields:
    datasets = Datasets(place.settings.data / "datasets")
    return Yields(place.store, datasets, ALL, "auto", Least(20, 3), EVERY, clock=clock, timer=timer)


def published(store: Store) -> dict[str, object]:
    with store.read() as conn:
        state = states.read(conn, states.YIELD)
    assert state is not None
    return dict(state.body)


def found(given: Sequence[tuple[Interaction, Feedback]]) -> Material:
    return Material(Harvest([Judged(word, call) for call, word in given]))


def test_what_is_published_says_how_much_there_is(place: Place, yields: Yields, clock: StoppedClock) -> None:
    place.rate(words(12))
    assert yields.look() is not None
    assert published(place.store) == {
        "rows": 12,
        "topics": 12,
        "feedback": 12,
        "method": "sft",
        "since": 0,
        "says": "12 of 20 usable rows over 12 of 3 topics",
        "at": clock.at,
    }


def test_when_it_is_enough_it_says_so(place: Place, yields: Yields) -> None:
    place.rate(words(25))
    yields.look()
    assert published(place.store)["says"] == "25 of 20 usable rows over 25 of 3 topics: enough for a run by sft"


def test_an_empty_ledger_yields_nothing_and_says_so(place: Place, yields: Yields) -> None:
    yields.look()
    assert (published(place.store)["rows"], published(place.store)["feedback"]) == (0, 0)


def test_nothing_is_counted_before_its_time_or_without_new_feedback(
    place: Place, yields: Yields, timer: Stopwatch
) -> None:
    place.rate(words(5))
    assert yields.look() is not None
    place.rate(words(5, seed=2))
    timer.seconds += EVERY - 1
    assert yields.look() is None
    timer.seconds += 1
    assert yields.look() is not None
    timer.seconds += EVERY
    assert yields.look() is None
    assert published(place.store)["rows"] == 10


def test_words_that_were_taken_back_are_noticed_in_the_end(place: Place, yields: Yields, timer: Stopwatch) -> None:
    place.rate(words(5))
    yields.look()
    timer.seconds += ANEW - 1
    assert yields.look() is None
    timer.seconds += EVERY + 1
    assert yields.look() is not None


def test_a_run_that_ended_makes_it_count_anew(place: Place, yields: Yields, timer: Stopwatch) -> None:
    place.rate(words(25))
    yields.look()
    run = place.train()
    timer.seconds += EVERY
    assert yields.look() is not None
    # The candidate is not the champion: what it learned may still be learned, but it is no new feedback.
    assert (published(place.store)["rows"], published(place.store)["feedback"]) == (25, 0)
    place.rate(words(3, seed=2))
    timer.seconds += EVERY
    yields.look()
    assert (published(place.store)["rows"], published(place.store)["feedback"]) == (28, 3)
    assert run.model is not None


def test_a_count_that_takes_long_comes_seldom(place: Place, yields: Yields, timer: Stopwatch) -> None:
    place.rate(words(5))
    timer.costs = 10.0
    assert yields.look() is not None
    timer.costs = 0.0
    place.rate(words(5, seed=2))
    timer.seconds += 10 / SHARE - 10 - 1
    assert yields.look() is None
    timer.seconds += 2
    assert yields.look() is not None


def test_while_a_run_is_carried_out_nothing_is_counted(place: Place) -> None:
    place.rate(words(25))
    worker = place.worker()
    place.ask()
    assert worker.step()
    with place.store.read() as conn:
        assert states.read(conn, states.YIELD) is None
    assert not worker.step()


def test_a_judgement_that_stands_behind_no_row_is_no_usable_feedback() -> None:
    given = words(6)
    neutral = [(call, replace(word, value=0.5, correction=None)) for call, word in words(3, seed=2)]
    result = measure(found([*given, *neutral]), Window(), "auto", ALL, Least(20, 3))
    assert (result.count.rows, result.feedback) == (6, 6)


def test_what_was_said_before_the_last_run_is_no_new_feedback() -> None:
    before, after = words(4, at=1_000), words(3, seed=2, at=9_000)
    result = measure(found([*before, *after]), Window(tried=5_000), "sft", ALL, Least(20, 3))
    assert (result.count.rows, result.feedback, result.count.method) == (7, 3, Method.SFT)
