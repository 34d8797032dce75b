"""Artifacts: whole or absent, named by content, and nothing in them that could do harm."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fixtures_serving import write_noise_adapter
from safetensors.numpy import save_file

from core.errors import BadRequest, NotFound, SetupError
from serving.adapters import zero_adapter
from serving.artifacts import Artifacts
from serving.base import resolve


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts", max_rank=16)


@pytest.fixture
def adapter(tmp_path: Path, model_folder: Path) -> Path:
    folder = tmp_path / "adapter"
    zero_adapter(resolve(str(model_folder)), folder)
    return folder


def change_config(adapter: Path, **values: object) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_what_was_added_can_be_opened_with_its_provenance(artifacts: Artifacts, adapter: Path) -> None:
    added = artifacts.add(adapter, {"run": "r1"})
    assert artifacts.open(added.digest) == added
    assert added.manifest["about"] == {"run": "r1"}
    assert added.path.name == added.digest
    assert {path.name for path in added.path.iterdir()} == {path.name for path in adapter.iterdir()} | {"manifest.json"}


def test_the_same_content_is_the_same_artifact_and_other_content_another(artifacts: Artifacts, adapter: Path) -> None:
    first, again = artifacts.add(adapter, {}), artifacts.add(adapter, {})
    assert first == again
    assert artifacts.add(adapter, {"run": "r1"}).digest != first.digest
    change_config(adapter, lora_alpha=2)
    assert artifacts.add(adapter, {}).digest != first.digest


def test_the_digest_does_not_depend_on_where_or_when(tmp_path: Path, adapter: Path) -> None:
    digests = {Artifacts(tmp_path / name, 16).add(adapter, {"b": 1, "a": 2}).digest for name in "xyz"}
    assert len(digests) == 1


def test_many_that_add_the_same_at_once_all_succeed(tmp_path: Path, artifacts: Artifacts, adapter: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        digests = {added.digest for added in pool.map(lambda _: artifacts.add(adapter, {}), range(24))}
    assert [path.name for path in (tmp_path / "artifacts").iterdir()] == list(digests)


def make_link(folder: Path) -> None:
    (folder / "README.md").symlink_to("/etc/hostname")


def make_pickle(folder: Path) -> None:
    (folder / "training_args.bin").write_bytes(b"\x80\x04.")


def make_folder(folder: Path) -> None:
    (folder / "README.md").mkdir()


def drop_weights(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()


def add_stranger(folder: Path) -> None:
    save_file({"model.embed_tokens.weight": np.zeros((2, 2), np.float32)}, folder / "adapter_model.safetensors")


def raise_rank_unsaid(folder: Path) -> None:
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    save_file({name: np.zeros((32, 64), np.float32)}, folder / "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (make_link, "README.md is a link"),
        (make_folder, "README.md is a link or no plain file"),
        (make_pickle, "training_args.bin has no place"),
        (drop_weights, "lacks adapter_model.safetensors"),
        (add_stranger, "model.embed_tokens.weight"),
        (raise_rank_unsaid, "(32, 64)"),
        (lambda folder: change_config(folder, r=32), "rank is 32; the engine takes 1 to 16"),
        (lambda folder: change_config(folder, r=0), "rank is 0"),
        (lambda folder: change_config(folder, r="16"), "rank is 16"),
    ],
    ids=["link", "folder", "pickle", "weights", "stranger", "hidden rank", "rank 32", "rank 0", "rank text"],
)
def test_an_adapter_that_is_not_quite_one_is_refused_and_leaves_nothing(
    tmp_path: Path, artifacts: Artifacts, adapter: Path, spoil: Callable[[Path], None], word: str
) -> None:
    spoil(adapter)
    with pytest.raises(BadRequest) as caught:
        artifacts.add(adapter, {})
    assert word in caught.value.message
    assert not any((tmp_path / "artifacts").glob("*"))


def test_a_rank_that_the_settings_exclude_by_now_is_named(
    tmp_path: Path, artifacts: Artifacts, model_folder: Path
) -> None:
    write_noise_adapter(resolve(str(model_folder)), tmp_path / "noise", rank=16)
    digest = artifacts.add(tmp_path / "noise", {}).digest
    with pytest.raises(SetupError, match=r"rank is 16; the engine takes 1 to 8\..*max_lora_rank"):
        Artifacts(tmp_path / "artifacts", max_rank=8).open(digest)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, artifacts: Artifacts) -> None:
    with pytest.raises(BadRequest, match="nowhere does not exist"):
        artifacts.add(tmp_path / "nowhere", {})


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json", "manifest.json"])
def test_a_changed_byte_is_noticed(artifacts: Artifacts, adapter: Path, name: str) -> None:
    added = artifacts.add(adapter, {})
    content = bytearray((added.path / name).read_bytes())
    content[-2] ^= 1
    (added.path / name).write_bytes(content)
    with pytest.raises(SetupError):
        artifacts.open(added.digest)


def test_a_file_that_went_missing_is_noticed(artifacts: Artifacts, adapter: Path) -> None:
    added = artifacts.add(adapter, {})
    (added.path / "adapter_config.json").unlink()
    with pytest.raises(SetupError):
        artifacts.open(added.digest)


@pytest.mark.parametrize("digest", ["", ".", "..", "../adapter", "0" * 64])
def test_a_digest_that_names_no_artifact_opens_nothing(artifacts: Artifacts, adapter: Path, digest: str) -> None:
    artifacts.add(adapter, {})
    (adapter / "manifest.json").write_text("{}")
    with pytest.raises(NotFound):
        artifacts.open(digest)


def test_a_draft_that_a_crash_left_behind_is_no_artifact(tmp_path: Path, artifacts: Artifacts, adapter: Path) -> None:
    added = artifacts.add(adapter, {})
    added.path.rename(tmp_path / "artifacts" / ".draft-left")
    with pytest.raises(NotFound):
        artifacts.open(added.digest)
    assert artifacts.add(adapter, {}) == added
