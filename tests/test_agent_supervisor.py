"""Real processes under the supervisor: they come back, they end in order, and none outlives it."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from agent.cli import supervisor
from agent.cli.instance import State
from agent.cli.supervisor import Program, Supervisor, pause_before
from core.errors import SetupError

# Each stub writes a line when it lives, so that a test knows that it is past its start.
SLEEPS = "print('up', flush=True); time.sleep(600)"
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"


def program(
    folder: Path, code: str, name: str = "stub", tier: int = 0, grace: float = 10, pause: float = 30
) -> Program:
    command = (sys.executable, "-I", "-c", f"import os, signal, subprocess, sys, time; {code}")
    return Program(name, command, folder / f"{name}.log", tier=tier, grace=grace, longest_pause=pause)


async def until(true: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


def written(each: Program) -> str:
    return each.log.read_text() if each.log.exists() else ""


def alive(pid: int) -> bool:
    """Whether a process exists and is more than a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@asynccontextmanager
async def running(programs: Sequence[Program]) -> AsyncIterator[tuple[Supervisor, "asyncio.Task[None]"]]:
    """A supervisor whose programs have all said that they are up, stopped at the end."""
    kept = Supervisor(programs, dict(os.environ))
    task = asyncio.create_task(kept.run())
    try:
        await until(lambda: all("up" in written(each) for each in programs))
        yield kept, task
    finally:
        kept.stop()
        kept.stop()
        await asyncio.wait({task})


def test_the_first_restart_is_immediate_and_the_pauses_double_up_to_a_limit() -> None:
    assert [pause_before(n, 4) for n in range(1, 7)] == [0, 0.5, 1, 2, 4, 4]
    assert pause_before(10_000, 30) == 30


async def test_a_killed_program_is_back_within_a_second(tmp_path: Path) -> None:
    stub = program(tmp_path, SLEEPS)
    async with running([stub]) as (kept, _):
        first = kept.views()[0]
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        await until(lambda: written(stub).count("up") == 2, seconds=1)
        second = kept.views()[0]
        assert (second.state, second.restarts) == (State.RUNNING, 1)
        assert second.pid != first.pid


async def test_one_killed_program_does_not_disturb_the_others(tmp_path: Path) -> None:
    engine, gateway = program(tmp_path, SLEEPS, "engine"), program(tmp_path, SLEEPS, "gateway", tier=1)
    async with running([engine, gateway]) as (kept, _):
        before = kept.views()
        assert before[1].pid is not None
        os.kill(before[1].pid, signal.SIGKILL)
        await until(lambda: written(gateway).count("up") == 2)
        assert kept.views()[0] == before[0]


async def test_failures_in_a_row_wait_longer_each_time(tmp_path: Path) -> None:
    stub = program(tmp_path, "print(time.monotonic(), flush=True); sys.exit(1)", pause=1)
    kept = Supervisor([stub], dict(os.environ))
    kept.settle()
    task = asyncio.create_task(kept.run())
    await until(lambda: written(stub).count("\n") >= 4)
    kept.stop()
    await task
    times = [float(line) for line in written(stub).splitlines()[:4]]
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps[0] < 0.5 <= gaps[1] < 1 <= gaps[2]


async def test_a_wrong_set_up_ends_everything_with_its_message(tmp_path: Path) -> None:
    good = program(tmp_path, SLEEPS, "good")
    wrong = program(
        tmp_path, "time.sleep(.5); sys.stderr.write('The folder /x is missing; make it.\\n'); sys.exit(78)", "wrong"
    )
    kept = Supervisor([good, wrong], dict(os.environ))
    kept.settle()
    with pytest.raises(SetupError, match=r"^The folder /x is missing; make it\.$"):
        await asyncio.wait_for(kept.run(), 10)
    assert [view.state for view in kept.views()] == [State.STOPPED, State.STOPPED]


async def test_a_start_that_keeps_failing_is_given_up_with_the_end_of_the_log(tmp_path: Path) -> None:
    stub = program(tmp_path, "print('no such module', flush=True); sys.exit(3)")
    with pytest.raises(SetupError, match=r"stub ended with status 3, 3 times(.|\n)*no such module"):
        await asyncio.wait_for(Supervisor([stub], dict(os.environ)).run(), 10)


async def test_after_a_good_start_nothing_is_given_up(tmp_path: Path) -> None:
    stub = program(tmp_path, "print('again', flush=True); sys.exit(3)", pause=0.01)
    kept = Supervisor([stub], dict(os.environ))
    kept.settle()
    task = asyncio.create_task(kept.run())
    await until(lambda: kept.views()[0].restarts > supervisor.ATTEMPTS)
    assert not task.done()
    kept.stop()
    await task


async def test_the_higher_tier_has_ended_before_the_lower_one_is_asked_to(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    code = """
        def leave(number, frame):
            note('asked'); time.sleep(.3); note('left'); sys.exit(0)
        def note(word):
            open({notes!r}, 'a').write('{name} ' + word + chr(10))
        signal.signal(signal.SIGTERM, leave)
        print('up', flush=True)
        time.sleep(600)
    """
    programs = []
    for name, tier in (("engine", 0), ("gateway", 1)):
        script = tmp_path / f"{name}.py"
        script.write_text("import signal, sys, time\n" + textwrap.dedent(code.format(notes=str(notes), name=name)))
        programs.append(Program(name, (sys.executable, "-I", str(script)), tmp_path / f"{name}.log", tier=tier))
    async with running(programs) as (kept, task):
        kept.stop()
        await task
    assert notes.read_text().splitlines() == ["gateway asked", "gateway left", "engine asked", "engine left"]


async def test_what_does_not_listen_is_killed_after_its_grace_with_all_its_children(tmp_path: Path) -> None:
    child = "subprocess.Popen([sys.executable, '-I', '-c', 'import time; time.sleep(600)']).pid"
    stub = program(tmp_path, f"print({child}, flush=True); {DEAF}", grace=0.3)
    async with running([stub]) as (kept, task):
        pids = [int(written(stub).split()[0]), kept.views()[0].pid or 0]
        kept.stop()
        await asyncio.wait_for(task, 5)
    await until(lambda: not any(map(alive, pids)), seconds=2)


async def test_asking_twice_for_the_end_shortens_a_long_grace(tmp_path: Path) -> None:
    async with running([program(tmp_path, DEAF, grace=600)]) as (kept, task):
        kept.stop()
        await asyncio.sleep(0.2)
        assert not task.done()
        kept.stop()
        await asyncio.wait_for(task, supervisor.HURRY + 3)


async def test_a_program_is_out_of_reach_of_the_terminals_ctrl_c(tmp_path: Path) -> None:
    async with running([program(tmp_path, SLEEPS)]) as (kept, _):
        pid = kept.views()[0].pid or 0
        assert os.getpgid(pid) == pid != os.getpgid(0)


async def test_stopping_during_a_pause_starts_nothing_more(tmp_path: Path) -> None:
    stub = program(tmp_path, "print('again', flush=True); sys.exit(1)")
    kept = Supervisor([stub], dict(os.environ))
    kept.settle()
    task = asyncio.create_task(kept.run())
    await until(lambda: kept.views()[0].restarts == 4)
    lives = written(stub).count("again")
    kept.stop()
    await asyncio.wait_for(task, 1)
    assert written(stub).count("again") == lives


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells children of their parent's death")
async def test_a_killed_supervisor_leaves_no_child(tmp_path: Path) -> None:
    stubs = [program(tmp_path, SLEEPS, name) for name in ("one", "two")]
    code = f"""
import asyncio
from pathlib import PosixPath
from agent.cli.supervisor import Program, Supervisor
kept = Supervisor({stubs!r}, {{}}, lambda: print([v.pid for v in kept.views()], flush=True))
asyncio.run(kept.run())
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        await until(lambda: all("up" in written(each) for each in stubs))
        assert parent.stdout is not None
        parent.stdout.readline()
        pids = [int(word) for word in parent.stdout.readline().strip("[]\n").split(",")]
        assert all(map(alive, pids))
    finally:
        parent.kill()
        parent.communicate()
    await until(lambda: not any(map(alive, pids)), seconds=5)
