"""Where a demo plays: its data folder, its port, its refusals before anything is started."""

import json
import socket
from pathlib import Path

import pytest
from fixtures_command import hone

from agent.demo import stage
from core.errors import BadRequest

ROWS = [
    {"id": f"{phase}/{n}", "phase": phase, "user": "u", "prompt": f"{phase} {n}", "answer": "a"}
    for phase in ("known", "new")
    for n in range(30)
]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    return path


def test_a_named_folder_must_be_empty_or_not_there_yet(tmp_path: Path) -> None:
    assert stage.choose_folder(tmp_path, tmp_path) == tmp_path
    assert stage.choose_folder(tmp_path / "new", tmp_path) == tmp_path / "new"
    (tmp_path / "ledger.db").touch()
    for taken in (tmp_path, tmp_path / "ledger.db"):
        with pytest.raises(BadRequest, match="empty data folder"):
            stage.choose_folder(taken, tmp_path)


def test_without_a_name_the_folder_is_a_fresh_one_where_one_stands(tmp_path: Path) -> None:
    folder = stage.choose_folder(None, tmp_path)
    assert folder.parent == tmp_path
    assert folder.name.startswith(".hone-demo-")
    assert not folder.exists()


def test_the_port_and_the_one_behind_it_are_free() -> None:
    port = stage.free_port()
    with socket.socket() as gateway, socket.socket() as engine:
        gateway.bind(("127.0.0.1", port))
        engine.bind(("127.0.0.1", port + 1))


def test_the_profile_lies_in_a_private_data_folder(tmp_path: Path) -> None:
    file = stage.write_profile(tmp_path / "data", "[monitoring]\n")
    assert file.read_text() == "[monitoring]\n"
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadRequest, match="set HONE_DATA"):
        stage.write_profile(tmp_path / "file" / "data", "")


def test_data_that_is_there_already_is_never_touched(tmp_path: Path, rows: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "ledger.db").write_text("precious")
    result = hone("demo", "--yes", "--scenario", str(rows), HONE_DATA=str(data))
    assert (result.returncode, result.stdout) == (2, "")
    assert "starts on an empty data folder" in result.stderr
    assert [path.name for path in data.iterdir()] == ["ledger.db"]


@pytest.mark.parametrize(
    ("arguments", "environ", "words"),
    [
        (("--yes",), {"HONE_CONFIG": "mine.toml"}, "unset HONE_CONFIG"),
        ((), {}, "pass --yes"),
        (("--yes", "--scenario", "none.jsonl"), {}, "none.jsonl cannot be read"),
    ],
)
def test_what_cannot_be_played_is_a_usage_error_before_anything_is_made(
    tmp_path: Path, arguments: tuple[str, ...], environ: dict[str, str], words: str
) -> None:
    result = hone("demo", *arguments, HONE_DATA=str(tmp_path / "data"), **environ)
    assert (result.returncode, result.stdout) == (2, "")
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "data").exists()
