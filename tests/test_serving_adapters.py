"""Version 0, served names, and when an adapter may go."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fixtures_serving import SHAPES, write_model
from safetensors.numpy import load_file, save_file

from core import migrate
from core.config import Settings, parse
from core.errors import SetupError
from core.lifecycle import Stage
from core.registry import Registry
from core.store import Store
from core.types import Holdback, Plan, Split, Version
from core.workers import Worker
from serving import setup
from serving.adapters import Changes, changes, linear_layers, may_unload, version_name, zero_adapter
from serving.base import Base, resolve

A, B, C, D = (Version(f"v-{name}") for name in "abcd")


@pytest.fixture
def base(model_folder: Path) -> Base:
    return resolve(str(model_folder))


def test_version_0_has_a_pair_of_zeros_for_every_linear_layer(base: Base, tmp_path: Path) -> None:
    zero_adapter(base, tmp_path / "zero")
    tensors = load_file(tmp_path / "zero" / "adapter_model.safetensors")
    assert len(tensors) == 2 * 2 * len(SHAPES)
    for name, (out, inner) in SHAPES.items():
        for layer in range(2):
            stem = f"base_model.model.model.layers.{layer}.{name}"
            assert tensors[f"{stem}.lora_A.weight"].shape == (1, inner)
            assert tensors[f"{stem}.lora_B.weight"].shape == (out, 1)
    assert not any(np.any(tensor) for tensor in tensors.values())


def test_version_0_is_made_of_the_same_bytes_each_time(base: Base, tmp_path: Path) -> None:
    for name in ("one", "two"):
        zero_adapter(base, tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_layers_are_found_in_all_shards(tmp_path: Path) -> None:
    whole = linear_layers(resolve(str(write_model(tmp_path / "a" / "m"))))
    sharded = linear_layers(resolve(str(write_model(tmp_path / "b" / "m", shards=3))))
    assert whole == sharded


def test_experts_embeddings_and_norms_get_no_adapter(model_folder: Path) -> None:
    extra = {
        "model.layers.0.mlp.experts.3.gate_proj.weight": np.zeros((4, 4), np.float32),
        "model.layers.0.mlp.gate.weight": np.zeros((4, 4), np.float32),
        "lm_head.weight": np.zeros((4, 4), np.float32),
        "visual.patch_proj.weight": np.zeros((4, 4), np.float32),
    }
    save_file(extra, model_folder / "more.safetensors")
    layers = linear_layers(resolve(str(model_folder)))
    assert {name.split(".", 3)[3] for name in layers} == set(SHAPES)


def test_a_base_without_known_layers_is_refused(model_folder: Path) -> None:
    save_file({"transformer.h.0.attn.c_attn.weight": np.zeros((4, 4), np.float32)}, model_folder / "model.safetensors")
    with pytest.raises(SetupError, match="no layer that Hone knows"):
        linear_layers(resolve(str(model_folder)))


@pytest.mark.parametrize("name", ["hone-tiny", "Qwen/Qwen3-0.6B", 'odd "näme" \\ / {x}', "/", "x" * 300])
def test_a_served_name_needs_no_escape_anywhere_and_holds_the_digest(base: Base, name: str) -> None:
    odd = Base(name, base.folder, base.digest, 1, "", 1, True)
    served = version_name(odd, "0123456789abcdef" * 4)
    assert re.fullmatch(r"[A-Za-z0-9._-]{17,128}", served)
    assert served.endswith("-0123456789abcdef")


def test_changes_lead_from_what_is_loaded_to_what_is_wanted() -> None:
    assert changes({A, B}, {B, C}) == Changes(load=(A,), unload=(C,))
    assert changes({A}, {A}) == Changes()


def gateway(revision: int, seen_at: int = 100, kind: str = "gateway") -> Worker:
    return Worker("w", kind, "host", 1, 0, revision, seen_at=seen_at)


PLAN = Plan(5, A, previous=B, split=Split("e", C, 0.5, "s"), holdback=Holdback(B, 0.1, "h"))


def test_a_version_of_the_plan_stays() -> None:
    for version in (A, B, C):
        assert not may_unload(version, PLAN, [], 0)


def test_a_dropped_version_goes_once_every_gateway_knows() -> None:
    assert may_unload(D, PLAN, [gateway(5), gateway(6)], 0)
    assert not may_unload(D, PLAN, [gateway(5), gateway(4)], 0)


def test_a_gateway_that_has_been_silent_for_longer_than_a_call_holds_nothing_back() -> None:
    assert not may_unload(D, PLAN, [gateway(4, seen_at=100)], since=100)
    assert may_unload(D, PLAN, [gateway(4, seen_at=99)], since=100)


def test_engines_have_no_say() -> None:
    assert may_unload(D, PLAN, [gateway(1, kind="engine")], 0)


def test_without_word_of_the_gateways_nothing_goes() -> None:
    assert not may_unload(D, PLAN, None, 0)


@pytest.fixture
def settings(tmp_path: Path, model_folder: Path) -> Settings:
    return parse({"data": str(tmp_path / "data"), "engine": {"model": str(model_folder)}})


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Store]:
    settings.data.mkdir()
    migrate.upgrade(settings.database_url)
    store = Store.open(settings.database_url)
    yield store
    store.close()


def test_preparing_makes_version_0_champion_and_again_changes_nothing(settings: Settings, ledger: Store) -> None:
    plan = setup.prepare(settings, ledger)
    assert setup.prepare(settings, ledger) == plan
    model = Registry(ledger).model(plan.champion)
    assert model.stage is Stage.CHAMPION
    assert model.digest[:16] in model.id
    artifact = setup.artifacts(settings).open(model.digest)
    assert (model.path, model.manifest) == (artifact.digest, artifact.manifest)
    assert len(list((settings.data / "artifacts").iterdir())) == 1


def test_preparing_on_data_of_another_base_is_refused(settings: Settings, ledger: Store, tmp_path: Path) -> None:
    setup.prepare(settings, ledger)
    engine = {"model": str(write_model(tmp_path / "other", seed=1))}
    other = parse({"data": str(settings.data), "engine": engine})
    with pytest.raises(SetupError, match="hone models adopt"):
        setup.prepare(other, ledger)


def test_a_champion_whose_artifact_is_lost_is_an_error_of_its_own(settings: Settings, ledger: Store) -> None:
    registry = Registry(ledger)
    lost = replace(setup.version_zero(settings), id=A, digest="0" * 64)
    registry.install(lost, "test")
    with pytest.raises(SetupError, match="champion v-a is lost"):
        setup.prepare(settings, ledger)


def test_two_bases_of_one_name_and_shape_have_different_versions_0(tmp_path: Path) -> None:
    names = set()
    for seed in (0, 1):
        folder = write_model(tmp_path / str(seed) / "model", seed=seed)
        names.add(setup.version_zero(parse({"data": str(tmp_path / "data"), "engine": {"model": str(folder)}})).id)
    assert len(names) == 2
