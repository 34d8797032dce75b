"""The scenario of a demo: what is played, what only measures, and what a file is refused for."""

import hashlib
import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from agent.demo import scenario
from agent.demo.scenario import Scenario
from core.errors import BadRequest

HELPDESK = scenario.default_path()


def row(number: int, phase: str = "known", **changes: Any) -> dict[str, Any]:
    made = {"id": f"{phase}/{number}", "phase": phase, "user": f"u{number % 9}", "prompt": f"q {phase} {number}"}
    return {**made, "answer": f"a {number}", **changes}


def write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(each)}\n" for each in rows), encoding="utf-8")
    return path


@pytest.fixture
def played(tmp_path: Path) -> Scenario:
    rows = [row(n) for n in range(90)] + [row(n, "new") for n in range(60)] + [row(n, "newer") for n in range(30)]
    return scenario.read(write(tmp_path, rows))


def test_the_first_phase_of_the_file_is_ordinary_and_the_later_ones_are_the_shift(played: Scenario) -> None:
    assert played.ordinary.name == "known"
    assert [phase.name for phase in played.shifted] == ["new", "newer"]


def test_a_row_is_held_back_by_its_id_alone(played: Scenario) -> None:
    for phase in played.phases:
        for each in (*phase.played, *phase.held_back):
            wanted = int(hashlib.sha256(each.id.encode()).hexdigest(), 16) % 3 == 0
            assert (each in phase.held_back) == wanted


def test_every_row_is_either_played_or_held_back(played: Scenario) -> None:
    assert sum(len(phase.played) + len(phase.held_back) for phase in played.phases) == 180
    assert len(played.held_back) == sum(len(phase.held_back) for phase in played.phases) > 30


def test_what_is_held_back_is_never_asked_by_any_customer(played: Scenario) -> None:
    secret = {each.id for each in played.held_back}
    asked = [*scenario.visits(played.ordinary.played), *islice(scenario.crowd(played, 1), 2000)]
    assert not secret & {each.id for each in asked}


def test_the_crowd_is_new_people_who_ask_two_ordinary_questions_for_each_shifted_one(played: Scenario) -> None:
    crowd = list(islice(scenario.crowd(played, 1), 900))
    assert len({each.user for each in crowd}) == 900
    asked = Counter(each.phase for each in crowd)
    assert asked["known"] == 600
    assert asked["new"] > asked["newer"] > 0


def test_nobody_asks_more_than_five_questions_under_one_name(played: Scenario) -> None:
    visits = scenario.visits(played.ordinary.played)
    assert [each.id for each in visits] == [each.id for each in played.ordinary.played]
    assert max(Counter(each.user for each in visits).values()) == 5
    assert {each.user.partition("#")[0] for each in visits} == {each.user for each in played.ordinary.played}


def test_one_phase_alone_is_refused_with_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"only the phase 'known'.*then a phase that differs"):
        scenario.read(write(tmp_path, [row(n) for n in range(30)]))


def test_a_phase_with_nothing_to_measure_with_is_refused(tmp_path: Path) -> None:
    ids = (n for n in range(1000) if not scenario.is_held_back(f"new/{n}"))
    rows = [row(n) for n in range(30)] + [row(n, "new") for n in islice(ids, 3)]
    with pytest.raises(BadRequest, match="'new' has no row to measure with"):
        scenario.read(write(tmp_path, rows))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"asnwer": "x"}, "line 31: unknown field 'asnwer'"),
        ({"answer": None}, "line 31: 'answer' must be a text"),
        ({"user": ""}, "line 31: 'user' must be a text"),
        ({"messages": [{"role": "user", "content": "q"}]}, "line 31: there must be either 'prompt' or 'messages'"),
        ({"id": "known/3"}, "line 31: the id 'known/3' was used before"),
    ],
)
def test_a_malformed_row_is_refused_by_line_and_field(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    rows = [row(n) for n in range(30)] + [row(99, "new", **changes)]
    with pytest.raises(BadRequest, match=words):
        scenario.read(write(tmp_path, rows))


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"none\.jsonl cannot be read"):
        scenario.read(tmp_path / "none.jsonl")


def test_rows_that_say_the_same_but_for_case_and_punctuation_are_one_lesson(tmp_path: Path) -> None:
    rows = [row(n, prompt=f"Where is it, {n % 2}", answer="Here.") for n in range(20)] + [
        row(n, "new") for n in range(9)
    ]
    assert scenario.distinct(scenario.read(write(tmp_path, rows)).ordinary.played) == 2


def test_the_examples_that_ship_with_hone_can_be_played() -> None:
    for path in HELPDESK.parent.glob("*.jsonl"):
        read = scenario.read(path)
        assert len(read.phases) == 2
        assert min(len(phase.held_back) for phase in read.phases) >= 100, path
