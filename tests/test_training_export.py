"""The export: TRL's own form, under the rules of training, with what was left out said beside it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from fixtures_serving import write_model
from training_place import Place, words
from typer.testing import CliRunner, Result

from agent.cli.main import application
from core.errors import SetupError

COMMAND = EntryPoint("feedback", "training.export:app", "hone.commands")
NUMBER = 12


@pytest.fixture
def place(tmp_path: Path, sqlite_url: str) -> Iterator[Place]:
    """Corrections of twelve users, thumbs up of one more, and a reviewer's word."""
    opened = Place.open(tmp_path, sqlite_url, write_model(tmp_path / "model"))
    opened.rate(words(NUMBER))
    opened.rate([(call, replace(word, value=1.0, correction=None)) for call, word in words(1, seed=2)])
    yield opened
    opened.store.close()


Export = Callable[..., Result]


@pytest.fixture
def export(place: Place, tmp_path: Path) -> Export:
    """`hone feedback export`, under settings that let everybody's words train unless told otherwise."""

    def run(*arguments: str, may_train: str = "all") -> Result:
        (tmp_path / "config.toml").write_text(f'data = "{tmp_path}"\n[training]\nmay_train = "{may_train}"\n')
        environ = {"HONE_CONFIG": str(tmp_path / "config.toml"), "HONE_DATA": "", "HONE_PORT": "", "HONE_MODEL": ""}
        command = ["feedback", "export", *arguments]
        return CliRunner().invoke(application([COMMAND], command), command, env=environ)

    return run


def rows(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_sft_rows_are_a_prompt_and_a_completion(export: Export) -> None:
    found = rows(export("--format", "sft"))
    assert len(found) == NUMBER + 1
    asked = {str(call.messages[0]["content"]): word.correction for call, word in words(NUMBER)}
    pairs = {row["prompt"][0]["content"]: row for row in found}  # type: ignore[index]
    for question, answer in asked.items():
        assert pairs[question] == {
            "prompt": [{"role": "user", "content": question}],
            "completion": [{"role": "assistant", "content": answer}],
        }


def test_kto_rows_have_a_label(export: Export) -> None:
    found = rows(export("--format", "kto"))
    assert [row["label"] for row in found].count(True) == 1
    assert [row["label"] for row in found].count(False) == NUMBER
    assert all(row["completion"] == [{"role": "assistant", "content": "I do not know."}] for row in found)


def test_dpo_rows_have_a_better_and_a_worse_answer(export: Export) -> None:
    found = rows(export("--format", "dpo"))
    assert len(found) == NUMBER
    assert {tuple(row) for row in found} == {("prompt", "chosen", "rejected")}
    assert all(row["rejected"] == [{"role": "assistant", "content": "I do not know."}] for row in found)


def test_what_was_left_out_is_counted_on_stderr(export: Export) -> None:
    result = export("--format", "sft", may_train="reviewers")
    assert result.stdout == ""
    assert f"0 rows; {NUMBER + 1} judgements left out" in result.stderr
    assert f"{NUMBER + 1} x training.may_train does not let this role's words train." in result.stderr


def test_as_json_it_is_one_document(export: Export) -> None:
    found = json.loads(export("--format", "dpo", "--json").stdout)
    assert (found["format"], len(found["rows"]), found["left_out"]) == ("dpo", NUMBER, {"method": 1})


def test_an_unknown_format_is_a_mistake_of_usage(export: Export) -> None:
    result = export("--format", "csv")
    assert result.exit_code == 2
    assert "'sft', 'kto', 'dpo'" in result.stderr


def test_where_hone_never_started_it_says_so(tmp_path: Path) -> None:
    command = ["feedback", "export", "--format", "sft"]
    environ = {"HONE_CONFIG": "", "HONE_DATA": str(tmp_path / "nothing"), "HONE_PORT": "", "HONE_MODEL": ""}
    result = CliRunner().invoke(application([COMMAND], command), command, env=environ)
    assert isinstance(result.exception, SetupError)
    assert "There is no Hone data" in result.exception.message
    assert not (tmp_path / "nothing").exists()
