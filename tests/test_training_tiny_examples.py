"""The example traffic: its shape and counts, and that the file is what the generator writes."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core.text import normalise
from training.tiny.company import Kind
from training.tiny.conversation import Desk, load_desk
from training.tiny.examples import example_rows, is_held_back, old_skill_rows

ROOT = Path(__file__).parents[1]
TRAFFIC = ROOT / "examples" / "helpdesk.jsonl"
SHIPPED = ROOT / "serving" / "hone_tiny"


@pytest.fixture(scope="module")
def desk() -> Desk:
    return load_desk()


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in TRAFFIC.read_text(encoding="utf-8").splitlines()]


def test_the_file_is_what_the_generator_writes(desk: Desk) -> None:
    assert TRAFFIC.read_text(encoding="utf-8") == "".join(f"{row.to_json()}\n" for row in example_rows(desk))


def test_the_frozen_questions_are_what_the_generator_writes_and_none_of_the_traffic(
    desk: Desk, rows: list[dict[str, Any]]
) -> None:
    text = (SHIPPED / "oldskills.jsonl").read_text(encoding="utf-8")
    assert text == "".join(f"{row.to_json()}\n" for row in old_skill_rows(desk))
    frozen = [json.loads(line) for line in text.splitlines()]
    assert len({row["id"] for row in frozen}) == len(frozen) >= 300
    played = {row["prompt"] for row in rows if "prompt" in row}
    assert not played & {row["prompt"] for row in frozen if "prompt" in row}


def test_every_row_has_the_promised_fields(rows: list[dict[str, Any]]) -> None:
    assert {frozenset(row) for row in rows} == {
        frozenset({"id", "phase", "user", "answer", asked}) for asked in ("prompt", "messages")
    }
    for row in rows:
        assert all(isinstance(row[name], str) and row[name] for name in ("id", "phase", "user", "answer"))
        if "messages" in row:
            roles = [message["role"] for message in row["messages"]]
            assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
    assert len({row["id"] for row in rows}) == len(rows)


def test_the_phases_are_large_enough_and_in_order(rows: list[dict[str, Any]]) -> None:
    counts = Counter(row["phase"] for row in rows)
    assert list(counts) == ["ordinary", "shifted"]
    assert counts["ordinary"] >= 480
    assert counts["shifted"] >= 360


def test_there_are_many_customers_with_a_few_rows_each(rows: list[dict[str, Any]]) -> None:
    users = Counter(row["user"] for row in rows)
    assert len(users) >= 150
    assert min(users.values()) >= 3
    assert max(users.values()) <= 12


def test_twenty_four_new_facts_each_asked_often_enough_in_traffic_and_held_back(rows: list[dict[str, Any]]) -> None:
    shifted = [row for row in rows if row["phase"] == "shifted"]
    played = Counter(row["answer"] for row in shifted if not is_held_back(row["id"]))
    kept = Counter(row["answer"] for row in shifted if is_held_back(row["id"]))
    assert len(played) == len(kept) == 24
    assert min(played.values()) >= 10
    assert min(kept.values()) >= 3
    assert len({normalise(row["prompt"]) for row in shifted}) >= 15 * 24


def test_no_answer_of_the_shifted_phase_is_a_taught_one(desk: Desk, rows: list[dict[str, Any]]) -> None:
    taught = {service.answer(kind) for service in desk.company.taught for kind in Kind}
    by_phase = {phase: {row["answer"] for row in rows if row["phase"] == phase} for phase in ("ordinary", "shifted")}
    assert taught <= by_phase["ordinary"]
    assert not taught & by_phase["shifted"]
