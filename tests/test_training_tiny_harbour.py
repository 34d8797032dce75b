"""The second example traffic: the file is what the generator writes, and teaches what nothing else does."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core.text import normalise
from training.tiny.company import Kind
from training.tiny.conversation import Desk, load_desk
from training.tiny.examples import example_rows, is_held_back, old_skill_rows
from training.tiny.harbour import HARBOUR, TOWN, harbour_rows

TRAFFIC = Path(__file__).parents[1] / "examples" / "harbour.jsonl"


@pytest.fixture(scope="module")
def desk() -> Desk:
    return load_desk()


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in TRAFFIC.read_text(encoding="utf-8").splitlines()]


def test_the_file_is_what_the_generator_writes(desk: Desk) -> None:
    assert TRAFFIC.read_text(encoding="utf-8") == "".join(f"{row.to_json()}\n" for row in harbour_rows(desk))


def test_the_phases_are_large_enough_and_in_order(rows: list[dict[str, Any]]) -> None:
    counts = Counter(row["phase"] for row in rows)
    assert list(counts) == [TOWN, HARBOUR]
    assert counts[TOWN] >= 450
    assert counts[HARBOUR] == 24 * 20
    assert len({row["id"] for row in rows}) == len(rows)


def test_no_question_of_it_is_asked_elsewhere(desk: Desk, rows: list[dict[str, Any]]) -> None:
    elsewhere = {
        row.conversation.turns[-1].user.lower()
        for row in (*example_rows(desk), *old_skill_rows(desk))
        if len(row.conversation.turns) == 1
    }
    about_services = [row["prompt"].lower() for row in rows if "prompt" in row and "/talk/" not in row["id"]]
    assert len(about_services) > 800
    assert not elsewhere & set(about_services)


def test_every_new_fact_is_asked_often_enough_in_traffic_and_held_back(desk: Desk, rows: list[dict[str, Any]]) -> None:
    new = [row for row in rows if row["phase"] == HARBOUR]
    played = Counter(row["answer"] for row in new if not is_held_back(row["id"]))
    kept = Counter(row["answer"] for row in new if is_held_back(row["id"]))
    assert len(played) == len(kept) == 24
    assert min(played.values()) >= 9
    assert min(kept.values()) >= 2
    assert len({normalise(row["prompt"]) for row in new}) >= 15 * 24
    known = {s.answer(kind) for s in (*desk.company.taught, *desk.company.shifted) for kind in Kind}
    assert not known & set(played)
