"""The leash: nothing of an engine outlives Hone, in whatever order its processes die."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fixtures_serving import eventually, group_of

from serving import leash
from serving.engine import end_leftover, record

# A process with a child; the second form does not listen to SIGTERM.
FAMILY = ("sh", "-c", "sleep 300 & sleep 300; true")
STUBBORN = ("sh", "-c", "trap '' TERM; sleep 300 & while :; do sleep 1; done")


@pytest.fixture
def record_file(tmp_path: Path) -> Path:
    return record(tmp_path)


LeashFactory = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start_leash(record_file: Path) -> Iterator[LeashFactory]:
    """Starts commands on a leash; what the test leaves is ended."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: str, parent: int | None = None) -> subprocess.Popen[bytes]:
        line = [sys.executable, "-P", "-m", "serving.leash", str(parent or os.getpid()), str(record_file), *words]
        started.append(subprocess.Popen(line, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
    end_leftover(record_file.parent.parent)


def test_a_leash_ends_the_whole_family_when_asked(start_leash: LeashFactory, record_file: Path) -> None:
    process = start_leash(*FAMILY)
    group = group_of(record_file)
    assert leash.group_exists(group)
    process.terminate()
    assert process.wait(10) == 128 + signal.SIGTERM
    assert not leash.group_exists(group)
    assert not record_file.exists()


def test_a_leash_passes_on_how_its_command_ended_and_ends_what_that_left(
    start_leash: LeashFactory, record_file: Path
) -> None:
    process = start_leash("sh", "-c", "sleep 300 & sleep 0.3; exit 7")
    group = group_of(record_file)
    assert process.wait(10) == 7
    assert not leash.group_exists(group)


def test_a_leash_whose_parent_is_gone_already_starts_nothing(start_leash: LeashFactory, record_file: Path) -> None:
    assert start_leash(*FAMILY, parent=1).wait(10) == 0
    assert not record_file.exists()


HOLDER = """
import asyncio, sys, os
from pathlib import Path
from serving.engine import Engine
async def main():
    data = Path(sys.argv[1])
    engine = Engine(sys.argv[2:], dict(os.environ), data / "log", data / "run" / "engine.json")
    await engine.start()
    await engine.ended()
asyncio.run(main())
"""


def test_the_family_of_a_killed_serving_process_ends(tmp_path: Path, record_file: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path), *FAMILY])
    group = group_of(record_file)
    holder.kill()
    holder.wait()
    eventually(5, lambda: not leash.group_exists(group))
    eventually(5, lambda: not record_file.exists())


def members(group: int) -> int:
    """How many processes a group has."""
    listed = subprocess.run(["ps", "-e", "-o", "pgid="], capture_output=True, text=True, check=True)
    return listed.stdout.split().count(str(group))


def test_the_command_of_a_killed_leash_ends(start_leash: LeashFactory, record_file: Path) -> None:
    process = start_leash("sleep", "300")
    group = group_of(record_file)
    process.kill()
    eventually(5, lambda: not leash.group_exists(group))


def test_what_survives_a_killed_leash_is_ended_by_the_successor(
    start_leash: LeashFactory, record_file: Path, tmp_path: Path
) -> None:
    process = start_leash(*FAMILY)
    group = group_of(record_file)
    eventually(5, lambda: members(group) == 3)
    process.kill()
    process.wait()
    eventually(5, lambda: leash.started(group) is None)
    assert leash.group_exists(group), "the grandchild should have been left"
    assert end_leftover(tmp_path)
    assert not leash.group_exists(group)
    assert not record_file.exists()
    assert not end_leftover(tmp_path)


def test_a_number_that_went_to_another_process_is_left_alone(record_file: Path, tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "300"], start_new_session=True)
    leash.note(record_file, stranger.pid)
    left = json.loads(record_file.read_text())
    record_file.write_text(json.dumps(left | {"started": left["started"] - 1}))
    try:
        assert not end_leftover(tmp_path)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pgid": "x"}', '{"pgid": 1}'])
def test_a_broken_record_ends_nothing(record_file: Path, tmp_path: Path, content: str) -> None:
    record_file.parent.mkdir()
    record_file.write_text(content)
    assert not end_leftover(tmp_path)


def test_a_family_that_does_not_listen_is_killed_after_the_patience() -> None:
    stubborn = subprocess.Popen(STUBBORN, start_new_session=True)
    time.sleep(0.3)
    began = time.monotonic()
    leash.end_group(stubborn.pid, 0.5)
    assert 0.5 <= time.monotonic() - began < 3
    assert stubborn.wait(5) == -signal.SIGKILL
    assert not leash.group_exists(stubborn.pid)
