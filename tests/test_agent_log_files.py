"""Log files as `hone logs` reads them."""

import threading
from itertools import islice
from pathlib import Path

import pytest

from agent.cli import log_files
from agent.cli.log_files import follow, make_room, readable, since, tail


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "one.log"
    path.write_text("".join(f"line {n}\n" for n in range(10)))
    return path


def append(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


def test_the_tail_is_the_last_lines(log: Path) -> None:
    assert tail(log, 2) == ["line 8", "line 9"]
    assert tail(log, 0) == []
    assert tail(log.with_name("none.log"), 5) == []


def test_what_was_written_since_a_place_leaves_out_what_stood_before(log: Path) -> None:
    start = log_files.size(log)
    append(log, "new\n")
    assert since(log, start, 20) == ["new"]


def test_following_gives_whole_lines_once_each_even_of_files_that_come_later(log: Path) -> None:
    later = log.with_name("two.log")
    seen: list[tuple[str, str]] = []
    begun, enough = threading.Event(), 4

    def read() -> None:
        lines = follow({"one": log, "two": later}, pause=0.001)
        append(log, "not yet\n")
        begun.set()
        seen.extend(islice(lines, enough))

    reader = threading.Thread(target=read)
    reader.start()
    begun.wait()
    threading.Event().wait(0.05)
    append(log, "half")
    threading.Event().wait(0.05)
    append(log, " whole\nsecond\n")
    threading.Event().wait(0.05)
    later.write_text("born\n")
    threading.Event().wait(0.05)
    log.write_text("anew\n")
    reader.join(5)
    assert seen == [("one", "half whole"), ("one", "second"), ("two", "born"), ("one", "anew")]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("plain words", "plain words"),
        ("{broken", "{broken"),
        ('{"no": "message"}', '{"no": "message"}'),
        ('{"time": "T", "level": "info", "message": "m", "logger": "l", "seconds": 2}', "T INFO    m seconds=2"),
        ('{"time": "T", "level": "error", "message": "m", "traceback": "a\\nb"}', "T ERROR   m\na\nb"),
    ],
)
def test_json_lines_are_read_out_and_others_left_alone(line: str, text: str) -> None:
    assert readable(line) == text


def test_a_large_file_is_put_aside_and_a_small_one_left(log: Path) -> None:
    make_room(log)
    assert log.exists()
    with log.open("ab") as file:
        file.truncate(log_files.LARGEST + 1)
    make_room(log)
    assert [path.name for path in log.parent.iterdir()] == ["one.log.1"]
