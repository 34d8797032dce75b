"""Finding a base: what it is taken to be, and a clear word on everything that is missing."""

import json
from pathlib import Path

import pytest
from fixtures_serving import write_model

from core import config
from core.errors import SetupError
from serving import base, setup
from serving.model_files import shapes


def refusal(model: Path | str) -> str:
    with pytest.raises(SetupError) as caught:
        base.resolve(str(model))
    return caught.value.message


def test_a_model_folder_is_a_base(model_folder: Path) -> None:
    found = base.resolve(str(model_folder))
    assert (found.name, found.folder, found.context) == ("model", model_folder, 128)
    assert found.architecture == "Qwen3ForCausalLM"
    assert found.chats
    assert found.size == (model_folder / "model.safetensors").stat().st_size


def test_the_built_in_model_is_a_base_of_2048_tokens_that_chats() -> None:
    found = base.resolve(config.BUILT_IN_MODEL)
    assert (found.name, found.context, found.chats) == ("hone-tiny", 2048, True)


@pytest.mark.parametrize("name", ["no-such-folder", "/no/such/folder", "../nowhere/at/all"])
def test_a_missing_folder_is_named(name: str) -> None:
    assert f"The model folder {name} does not exist" in refusal(name)


def test_a_hub_model_that_cannot_be_fetched_says_why_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = refusal("nobody/has-this-model-here")
    assert "nobody/has-this-model-here is not on this disk" in message
    assert "HONE_MODEL" in message


def test_a_folder_without_config_names_the_missing_file(model_folder: Path) -> None:
    (model_folder / "config.json").unlink()
    assert str(model_folder / "config.json") in refusal(model_folder)


@pytest.mark.parametrize("content", ["{", "[]", "\xff"])
def test_a_broken_config_is_an_error_of_its_own(model_folder: Path, content: str) -> None:
    (model_folder / "config.json").write_text(content, encoding="latin-1")
    assert "config.json" in refusal(model_folder)


def test_pickled_weights_are_refused_by_name(model_folder: Path) -> None:
    (model_folder / "model.safetensors").rename(model_folder / "pytorch_model.bin")
    message = refusal(model_folder)
    assert "pytorch_model.bin" in message
    assert "safetensors" in message


def test_no_weights_at_all_is_an_error(model_folder: Path) -> None:
    (model_folder / "model.safetensors").unlink()
    assert "no weights" in refusal(model_folder)


def test_code_beside_a_model_does_not_replace_its_weights(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", auto_map={"AutoModelForCausalLM": "modeling.Model"})
    (folder / "model.safetensors").unlink()
    assert "no weights" in refusal(folder)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", shards=3)
    (folder / "model-1.safetensors").unlink()
    assert "lacks 1 of 3 weight files, e.g. model-1.safetensors" in refusal(folder)


def test_a_cut_weights_file_is_an_error(model_folder: Path) -> None:
    weights = model_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(SetupError, match="cut short"):
        list(shapes(model_folder))


def test_a_missing_tokenizer_is_an_error(model_folder: Path) -> None:
    (model_folder / "tokenizer.json").unlink()
    assert "tokenizer" in refusal(model_folder)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"architectures": ["BertForMaskedLM"]}, "BertForMaskedLM"),
        ({"architectures": None}, "not a causal language model"),
        ({"max_position_embeddings": None}, "max_position_embeddings"),
    ],
)
def test_a_config_that_cannot_serve_says_so(tmp_path: Path, settings: dict[str, object], word: str) -> None:
    assert word in refusal(write_model(tmp_path / "m", **settings))


def test_the_context_may_stand_in_the_text_part_of_the_config(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", max_position_embeddings=None, text_config={"max_position_embeddings": 77})
    assert base.resolve(str(folder)).context == 77


def test_the_digest_is_of_the_content_and_not_of_the_place(tmp_path: Path) -> None:
    first = base.resolve(str(write_model(tmp_path / "a" / "m")))
    second = base.resolve(str(write_model(tmp_path / "b" / "m")))
    other = base.resolve(str(write_model(tmp_path / "c" / "m", seed=1)))
    assert first.digest == second.digest != other.digest


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "chat_template.jinja"])
def test_everything_that_decides_an_answer_is_in_the_digest(model_folder: Path, name: str) -> None:
    before = base.resolve(str(model_folder)).digest
    path = model_folder / name
    path.write_text(path.read_text() + " ")
    assert base.resolve(str(model_folder)).digest != before


def test_a_remembered_digest_is_used_until_the_file_changes(model_folder: Path, tmp_path: Path) -> None:
    memory = tmp_path / "run" / "digests.json"
    honest = base.resolve(str(model_folder), memory).digest
    marks = json.loads(memory.read_text())
    memory.write_text(json.dumps(dict.fromkeys(marks, "0" * 64)))
    assert base.resolve(str(model_folder), memory).digest != honest
    for path in model_folder.iterdir():
        path.write_bytes(path.read_bytes())
    assert base.resolve(str(model_folder), memory).digest == honest


@pytest.mark.parametrize("content", ["", "{", "[1]", "null"])
def test_a_broken_memory_of_digests_is_made_again(model_folder: Path, tmp_path: Path, content: str) -> None:
    memory = tmp_path / "digests.json"
    memory.write_text(content)
    assert base.resolve(str(model_folder), memory).digest == base.resolve(str(model_folder)).digest
    assert len(json.loads(memory.read_text())) == 4


def settings(tmp_path: Path, model: Path, *arguments: str) -> config.Settings:
    engine = {"model": str(model), "arguments": arguments}
    return config.parse({"data": str(tmp_path / "data"), "engine": engine})


def test_a_model_that_cannot_chat_is_refused_unless_a_template_is_given(tmp_path: Path, model_folder: Path) -> None:
    (model_folder / "chat_template.jinja").unlink()
    with pytest.raises(SetupError, match="no chat template"):
        setup.resolve(settings(tmp_path, model_folder))
    assert setup.resolve(settings(tmp_path, model_folder, "--chat-template", "file.jinja")).name == "model"


def test_a_template_inside_the_tokenizer_settings_counts(tmp_path: Path, model_folder: Path) -> None:
    (model_folder / "chat_template.jinja").unlink()
    (model_folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    assert setup.resolve(settings(tmp_path, model_folder)).chats


def test_the_data_folder_is_closed_to_others(tmp_path: Path, model_folder: Path) -> None:
    setup.resolve(settings(tmp_path, model_folder))
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
