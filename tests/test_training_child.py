"""The trainer's process: it gives way, ends with whoever holds it, and is spoken of in its own words only."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rows import wait_until

from training.child import LAST_LINES, NICE, Child, last_lines
from training.order import LOG

SLEEPS = (sys.executable, "-c", "import time; time.sleep(60)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('/dev/null'); time.sleep(60)",
)
HOLDS = """
import sys, time
from pathlib import Path
from training.child import Child
child = Child(sys.argv[2:], Path(sys.argv[1]), {})
time.sleep(60)
"""


def group(folder: Path) -> int:
    """The process group of the trainer, once it runs."""
    wait_until(lambda: bool(list(folder.glob("process-*.json"))), 10)
    return int(json.loads(next(folder.glob("process-*.json")).read_text())["pgid"])


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_it_gives_way_and_is_the_first_to_be_killed(tmp_path: Path) -> None:
    child = Child(SLEEPS, tmp_path, {})
    trainer = group(tmp_path)
    assert os.getpriority(os.PRIO_PROCESS, trainer) == NICE
    assert Path(f"/proc/{trainer}/oom_score_adj").read_text().strip() == "1000"
    assert os.getpgid(trainer) == trainer
    child.kill()
    assert not runs(trainer)


def test_its_status_is_that_of_the_trainer(tmp_path: Path) -> None:
    child = Child((sys.executable, "-c", "raise SystemExit(70)"), tmp_path, {})
    wait_until(lambda: child.ended() is not None, 10)
    assert child.ended() == 70


def test_a_signal_is_told_from_a_status(tmp_path: Path) -> None:
    child = Child(SLEEPS, tmp_path, {})
    os.kill(group(tmp_path), signal.SIGKILL)
    wait_until(lambda: child.ended() is not None, 10)
    assert child.ended() == 128 + signal.SIGKILL


def test_asked_to_end_it_may_tidy_up_first(tmp_path: Path) -> None:
    tidies = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(open(sys.argv[1] + '/kept', 'w')"
    )
    child = Child(
        (sys.executable, "-c", f"{tidies}.write('x') and 143)); print(flush=True); time.sleep(60)"), tmp_path, {}
    )
    wait_until(lambda: (tmp_path / LOG).stat().st_size > 0, 10)
    child.end()
    assert (tmp_path / "kept").exists()
    assert child.ended() == 143


@pytest.mark.parametrize("command", [SLEEPS, STUBBORN])
def test_killed_it_is_gone_at_once(tmp_path: Path, command: tuple[str, ...]) -> None:
    child = Child(command, tmp_path, {})
    trainer = group(tmp_path)
    started = time.monotonic()
    child.kill()
    assert not runs(trainer)
    assert time.monotonic() - started < 1.5
    assert not list(tmp_path.glob("process-*.json"))


def test_it_dies_with_its_holder(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path), *SLEEPS])
    trainer = group(tmp_path)
    holder.kill()
    holder.wait()
    wait_until(lambda: not runs(trainer), 10)


def test_what_a_frozen_holder_left_is_ended_by_the_next(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path), *SLEEPS])
    trainer = group(tmp_path)
    holder.send_signal(signal.SIGSTOP)
    child = Child((sys.executable, "-c", ""), tmp_path, {})
    assert not runs(trainer)
    wait_until(lambda: child.ended() == 0, 10)
    holder.kill()
    holder.wait()


def test_the_last_lines_are_the_trainer_s_own_words(tmp_path: Path) -> None:
    said = [
        {"process": "trainer", "time": "2026-11-20T12:00:00", "message": f"step {n}", "traceback": "secret"}
        for n in range(30)
    ]
    lines = [json.dumps(line) for line in said]
    (tmp_path / LOG).write_text("\n".join([*lines, "ValueError: secret", '{"process": "other", "message": "secret"}']))
    found = last_lines(tmp_path / LOG)
    assert found == [f"12:00:00 step {n}" for n in range(30 - LAST_LINES, 30)]


def test_where_nothing_was_said_there_are_no_lines(tmp_path: Path) -> None:
    assert last_lines(tmp_path / LOG) == []
