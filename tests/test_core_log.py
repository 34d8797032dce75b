"""Log lines: JSON, one a line, whatever they are told."""

import json
import logging
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from core import log


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, put back afterwards as it was."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    for handler in handlers:
        logger.removeHandler(handler)
    yield logger
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
        handler.close()
    for handler in handlers:
        logger.addHandler(handler)
    logger.setLevel(level)


def lines(path: Path) -> Sequence[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def test_a_line_says_when_how_grave_who_and_what(root: logging.Logger, tmp_path: Path) -> None:
    log.setup("gateway", tmp_path / "logs", "INFO")
    logging.getLogger("agent.chat").warning("%d calls failed", 3, extra={"request_id": "r1", "count": 3})
    (line,) = lines(tmp_path / "logs" / "gateway.log")
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warning",
        "process": "gateway",
        "logger": "agent.chat",
        "message": "3 calls failed",
        "request_id": "r1",
        "count": 3,
    }


def test_an_exception_brings_its_traceback_in_the_same_line(root: logging.Logger, tmp_path: Path) -> None:
    log.setup("serving", tmp_path)
    try:
        raise LookupError("lost")
    except LookupError:
        root.exception("failed")
    (line,) = lines(tmp_path / "serving.log")
    assert line["level"] == "error"
    assert line["traceback"].startswith("Traceback") and line["traceback"].endswith("LookupError: lost")


def test_nothing_that_a_line_is_told_breaks_it(root: logging.Logger, tmp_path: Path) -> None:
    log.setup("serving", tmp_path)
    odd = {
        "broken": "line\nbreak \ud800 \u2028",
        "number": math.nan,
        "big": 2**200,
        "nested": {1: [Path("a"), {"b"}], None: math.inf},
        "time": "mine",
        "level": "mine",
    }
    root.info("two\nlines", extra=odd)
    (line,) = lines(tmp_path / "serving.log")
    assert line["message"] == "two\nlines"
    assert line["broken"] == odd["broken"] and line["big"] == 2**200
    assert line["number"] == "nan"
    assert line["nested"] == {"1": ["a", ["b"]], "None": "inf"}
    assert line["level"] == "info" and line["time"] != "mine"


def test_the_level_holds_back_what_is_below_it(root: logging.Logger, tmp_path: Path) -> None:
    log.setup("serving", tmp_path, "WARNING")
    root.info("quiet")
    root.warning("loud")
    assert [line["message"] for line in lines(tmp_path / "serving.log")] == ["loud"]


def test_setting_up_twice_writes_each_line_once(root: logging.Logger, tmp_path: Path) -> None:
    log.setup("a", tmp_path)
    log.setup("b", tmp_path)
    root.warning("once")
    assert lines(tmp_path / "a.log") == []
    assert len(lines(tmp_path / "b.log")) == 1


def test_a_file_that_was_moved_away_is_begun_anew(root: logging.Logger, tmp_path: Path) -> None:
    log.setup("serving", tmp_path)
    root.warning("before")
    (tmp_path / "serving.log").rename(tmp_path / "old.log")
    root.warning("after")
    assert [line["message"] for line in lines(tmp_path / "serving.log")] == ["after"]


def test_without_a_folder_lines_go_to_stderr_and_importing_sets_nothing_up() -> None:
    code = (
        "import logging, core.log; assert not logging.getLogger().handlers;"
        "core.log.setup('demo'); logging.getLogger('x').info('hello')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == ""
    assert json.loads(result.stderr)["message"] == "hello"
