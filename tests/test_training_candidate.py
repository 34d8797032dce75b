"""From a trainer's folder to a candidate: what is refused, what is kept, and that each step may be repeated."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from fixtures_serving import write_model, write_noise_adapter
from safetensors.numpy import load_file, save_file
from training_place import Place

from core.clock import SECOND
from core.errors import BadRequest, Conflict, HoneError, LeaseLost, SetupError
from core.runs import Claim
from core.types import JsonObject
from serving import setup
from serving.adapters import CONFIG, WEIGHTS
from training import candidate
from training.candidate import Result
from training.order import ADAPTER

MANIFEST: JsonObject = {"dataset": "d" * 64, "method": "sft", "evaluation": {"held_out": None}}


@pytest.fixture
def place(tmp_path: Path, sqlite_url: str) -> Iterator[Place]:
    opened = Place.open(tmp_path, sqlite_url, write_model(tmp_path / "model"))
    yield opened
    opened.store.close()


@pytest.fixture
def claim(place: Place) -> Claim:
    place.ask()
    claimed = place.runs.claim("worker", 60 * SECOND)
    assert claimed is not None
    return claimed


@pytest.fixture
def result(place: Place, tmp_path: Path) -> Result:
    base = setup.resolve(place.settings)
    write_noise_adapter(base, tmp_path / "run" / ADAPTER)
    plan = place.registry.plan()
    return Result(tmp_path / "run", MANIFEST, base, plan.champion if plan else None)


def enter(place: Place, claim: Claim, result: Result) -> str:
    return candidate.enter(result, claim, setup.artifacts(place.settings), place.store)


def change(result: Result, tensors: dict[str, np.ndarray]) -> None:
    save_file(tensors, result.folder / ADAPTER / WEIGHTS)


def tensors(result: Result) -> dict[str, np.ndarray]:
    return dict(load_file(result.folder / ADAPTER / WEIGHTS))


def refusal(place: Place, claim: Claim, result: Result) -> str:
    """Why it is refused; nothing is left of it."""
    before = place.artifacts()
    with pytest.raises(HoneError) as refused:
        enter(place, claim, result)
    assert isinstance(refused.value, SetupError | BadRequest)
    assert place.candidates() == []
    assert place.artifacts() == before
    return refused.value.message


def test_a_candidate_carries_manifest_parent_run_and_digest(place: Place, claim: Claim, result: Result) -> None:
    version = enter(place, claim, result)
    (model,) = place.candidates()
    assert (model.id, model.parent, model.run) == (version, result.parent, claim.run.id)
    assert {name: model.manifest[name] for name in MANIFEST} == MANIFEST
    artifact = setup.artifacts(place.settings).open(model.digest)
    assert model.manifest["artifact"] == artifact.manifest
    assert model.digest[:16] in model.id


def test_entering_twice_gives_the_same_candidate(place: Place, claim: Claim, result: Result) -> None:
    assert enter(place, claim, result) == enter(place, claim, result)
    assert len(place.candidates()) == 1


def test_two_runs_with_the_same_weights_are_two_candidates(place: Place, claim: Claim, result: Result) -> None:
    first = enter(place, claim, result)
    place.runs.finish(claim, place.candidates()[0].id, {})
    place.ask()
    again = place.runs.claim("worker", 60 * SECOND)
    assert again is not None
    assert enter(place, again, result) != first
    assert len(place.candidates()) == 2


def test_after_a_cancel_nothing_can_be_entered(place: Place, claim: Claim, result: Result) -> None:
    place.runs.cancel(claim.run.id, "me", "no")
    with pytest.raises(LeaseLost):
        enter(place, claim, result)
    assert place.candidates() == []


def test_a_worker_that_was_replaced_can_enter_nothing(place: Place, claim: Claim, result: Result) -> None:
    place.runs.hand_back(claim)
    second = place.runs.claim("other", 60 * SECOND)
    assert second is not None
    with pytest.raises(LeaseLost):
        enter(place, claim, result)
    assert place.candidates() == []
    enter(place, second, result)
    assert len(place.candidates()) == 1


def test_a_candidate_for_a_base_that_is_not_served_is_refused(place: Place, claim: Claim, result: Result) -> None:
    elsewhere = replace(result, base=replace(result.base, digest="0" * 64))
    with pytest.raises(Conflict, match="is being served"):
        enter(place, claim, elsewhere)
    assert place.candidates() == []


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_one_weight_that_is_no_number_is_enough(place: Place, claim: Claim, result: Result, broken: float) -> None:
    weights = tensors(result)
    name = sorted(weights)[-1]
    weights[name][0, 0] = broken
    change(result, weights)
    assert refusal(place, claim, result).startswith(f"{name} holds weights that are no numbers")


def test_weights_of_another_shape_are_refused(place: Place, claim: Claim, result: Result) -> None:
    change(result, {name: np.pad(each, 1) for name, each in tensors(result).items()})
    assert "not that of the base's layer" in refusal(place, claim, result)


def test_a_layer_that_the_base_lacks_is_refused(place: Place, claim: Claim, result: Result) -> None:
    change(result, {name.replace("layers.0", "layers.9"): each for name, each in tensors(result).items()})
    assert "belongs to no layer of the base" in refusal(place, claim, result)


def test_whole_weights_in_the_place_of_an_adapter_are_refused(place: Place, claim: Claim, result: Result) -> None:
    change(result, {"model.layers.0.self_attn.q_proj.weight": np.zeros((8, 8), np.float32)})
    assert "belongs to no layer of the base" in refusal(place, claim, result)


def test_a_rank_above_the_engine_s_is_refused(place: Place, claim: Claim, result: Result) -> None:
    path = result.folder / ADAPTER / CONFIG
    path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), "r": 17}))
    assert "rank is 17; the engine takes 1 to 16" in refusal(place, claim, result)


def test_a_file_that_can_run_code_is_refused(place: Place, claim: Claim, result: Result) -> None:
    (result.folder / ADAPTER / "adapter_model.bin").write_bytes(b"\x80\x04.")
    assert "adapter_model.bin has no place in an adapter" in refusal(place, claim, result)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_link_out_of_the_folder_is_refused(place: Place, claim: Claim, result: Result, name: str) -> None:
    path = result.folder / ADAPTER / name
    path.rename(result.folder / "elsewhere")
    path.symlink_to(result.folder / "elsewhere")
    assert "link" in refusal(place, claim, result) or "whole" in refusal(place, claim, result)


@pytest.mark.parametrize("content", [b"", b"\x80\x04 no safetensors at all"])
def test_a_file_that_is_no_safetensors_is_refused(place: Place, claim: Claim, result: Result, content: bytes) -> None:
    (result.folder / ADAPTER / WEIGHTS).write_bytes(content)
    assert "cannot be read" in refusal(place, claim, result)


def test_an_adapter_without_weights_is_refused(place: Place, claim: Claim, result: Result) -> None:
    change(result, {})
    assert "holds no weights" in refusal(place, claim, result)


def test_no_adapter_at_all_is_refused(place: Place, claim: Claim, result: Result) -> None:
    (result.folder / ADAPTER / WEIGHTS).unlink()
    assert "no whole adapter" in refusal(place, claim, result)
