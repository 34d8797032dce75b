"""Planted bad candidates of the real hone-tiny never meet a question, and each is stopped for its own reason.

Training, evaluation, registration, store and conductor are the product's; only weights and rows are tampered with.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from customers import evaluation
from planted import (
    Planter,
    again,
    allowing,
    controls,
    make,
    noise,
    office,
    rejection,
    screen,
    undisturbed,
)
from stand_in_trainer import scale
from training_place import Place

from core.clock import now
from core.lifecycle import Stage
from core.types import Json, JsonObject, Model, RunState, Version
from monitoring.gates.conductor import Conductor
from monitoring.gates.ruling import Ruling
from serving import setup
from serving.adapters import zero_adapter
from serving.artifacts import Artifact


@pytest.fixture
def place(tmp_path: Path, sqlite_url: str) -> Iterator[Place]:
    opened = office(tmp_path, sqlite_url)
    yield opened
    opened.store.close()


def figure(made: Model, *path: str) -> float:
    """A number of a candidate's evaluation."""
    found: Json = made.manifest["evaluation"]
    for name in path:
        assert isinstance(found, Mapping)
        found = found[name]
    assert isinstance(found, int | float)
    return found


@pytest.mark.slow
def test_a_worse_candidate_is_rejected_for_being_worse(place: Place) -> None:
    made = make(place, noise(0.25))
    assert figure(made, "old_skills", "champion", "exact") == 1
    assert screen(place, made) is Stage.REJECTED
    rejecting = controls(place, made, Ruling.REJECT)
    assert set(rejecting) == {"held-out rows", "old skills"}
    assert all(says.startswith("worse by -") for says in rejecting.values())
    assert rejection(place, made).startswith("rejected: held-out rows: worse by -")
    assert undisturbed(place)


@pytest.mark.slow
@pytest.mark.parametrize("plant", [zero_adapter, noise(0.05)], ids=["no change", "none that matters"])
def test_an_identical_candidate_is_held_and_at_the_deadline_inconclusive(place: Place, plant: Planter) -> None:
    made, deadline = make(place, plant), place.settings.gate.max_hold_hours
    assert made.parent is not None and made.digest != place.registry.model(made.parent).digest
    nothing = f"all {figure(made, 'held_out', 'candidate', 'n')} answers are the champion's own: nothing to gain"
    for hours in (0, deadline - 0.1):
        assert screen(place, made, hours=hours) is Stage.CANDIDATE
        assert controls(place, made, Ruling.HOLD) == {"held-out rows": nothing}
    assert screen(place, made, hours=deadline) is Stage.REJECTED
    assert rejection(place, made).startswith(f"rejected: inconclusive: held-out rows: {nothing}")
    assert undisturbed(place)


@pytest.mark.slow
def test_a_candidate_that_is_better_at_too_great_a_length_is_rejected_for_that_alone(place: Place) -> None:
    made = make(place)
    assert screen(place, made) is Stage.REJECTED
    assert set(controls(place, made, Ruling.REJECT)) == {"length of answers"}
    assert not controls(place, made, Ruling.HOLD)
    assert controls(place, made, Ruling.ADVANCE)["held-out rows"].startswith("better by +")
    assert rejection(place, made).startswith("rejected: length of answers: 1.")
    assert undisturbed(place)
    same = make(place, again(place, made))
    assert screen(allowing(place, length=2), same) is Stage.SHADOW


@pytest.mark.slow
def test_a_leaking_candidate_is_rejected_for_the_leak_however_good_it_looks(place: Place) -> None:
    made = make(place, leaking=True)
    assert figure(made, "held_out", "candidate", "exact") > 0.9 > figure(made, "held_out", "champion", "exact")
    assert screen(allowing(place, length=2), made) is Stage.REJECTED
    assert set(controls(place, made, Ruling.REJECT)) == {"leaks"}
    leaks = figure(made, "leaks")
    assert leaks == figure(made, "held_out", "candidate", "n")
    assert rejection(place, made) == f"rejected: leaks: {leaks} held-out rows were trained on, so they prove nothing"
    assert undisturbed(place)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("nan", "holds weights that are no numbers: the training diverged"),
        ("rank 32", "The adapter's rank is 32; the engine takes 1 to 16"),
        ("pickle", "adapter_model.bin has no place in an adapter"),
        ("linked", "The trainer left no whole adapter"),
    ],
)
def test_a_broken_adapter_fails_its_run_and_leaves_nothing_to_judge(place: Place, behaviour: str, reason: str) -> None:
    before = place.artifacts()
    run = place.train(behaviour, "sft")
    assert run.state is RunState.FAILED
    assert run.error is not None and reason in run.error
    assert place.candidates() == []
    assert place.artifacts() == before
    assert Conductor(place.store, place.settings).tick() == []
    assert undisturbed(place)


def slipped_in(place: Place, digest: str) -> Model:
    """A candidate that came by another way than the worker's, with a spotless evaluation."""
    champion = place.registry.model(place.registry.plan().champion)  # type: ignore[union-attr]
    manifest: JsonObject = evaluation()
    made = replace(champion, id=Version("planted"), created_at=now(), digest=digest, path=digest, manifest=manifest)
    return place.registry.register(made, "somebody")


def stored(place: Place, folder: Path, factor: float) -> Artifact:
    """An adapter among the artifacts, all its weights this number."""
    zero_adapter(setup.resolve(place.settings), folder)
    scale(folder, factor)
    return setup.artifacts(place.settings).add(folder, {"kind": "planted"})


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_broken_weights_that_slipped_in_are_rejected(place: Place, tmp_path: Path, factor: float) -> None:
    made = slipped_in(place, stored(place, tmp_path / "adapter", factor).digest)
    assert screen(place, made) is Stage.REJECTED
    assert set(controls(place, made, Ruling.REJECT)) == {"weights"}
    assert "tensors are not finite" in rejection(place, made)
    assert undisturbed(place)


def test_whole_weights_get_in_by_the_same_way(place: Place, tmp_path: Path) -> None:
    made = slipped_in(place, stored(place, tmp_path / "adapter", 0.5).digest)
    assert screen(place, made) is Stage.SHADOW


def test_weights_outside_the_store_are_never_looked_at(place: Place, tmp_path: Path) -> None:
    zero_adapter(setup.resolve(place.settings), tmp_path / "elsewhere")
    made = slipped_in(place, "../elsewhere")
    assert screen(place, made) is Stage.CANDIDATE
    assert "../elsewhere is not in" in controls(place, made, Ruling.HOLD)["weights"]
    assert screen(place, made, hours=place.settings.gate.max_hold_hours) is Stage.REJECTED
    assert "inconclusive: weights: The artifact ../elsewhere" in rejection(place, made)
    assert undisturbed(place)
