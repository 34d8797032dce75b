"""One Hone a data folder: who holds it, how others see it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli.instance import Instance, ProcessView, State, View
from core.errors import SetupError

HOLDER = """
import sys, time
from pathlib import Path
from agent.cli.instance import Instance
with Instance(Path(sys.argv[1])).claim():
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance(tmp_path / "data")


def hold(instance: Instance) -> "subprocess.Popen[str]":
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(instance.data)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_folder_that_is_held_is_refused_naming_the_holder(instance: Instance) -> None:
    holder = hold(instance)
    try:
        with pytest.raises(SetupError, match=rf"already runs on .*process {holder.pid}, since 20"), instance.claim():
            pass
        claim = instance.claimed()
        assert claim is not None
        assert claim.pid == holder.pid
    finally:
        holder.kill()
        holder.communicate()


def test_a_holder_that_was_killed_holds_no_more(instance: Instance) -> None:
    holder = hold(instance)
    holder.kill()
    holder.communicate()
    assert instance.claimed() is None
    with instance.claim():
        assert (instance.claimed() or pytest.fail()).pid == os.getpid()
    assert instance.claimed() is None


def test_looking_makes_nothing(instance: Instance) -> None:
    assert instance.claimed() is None
    assert instance.view() is None
    assert not instance.data.exists()


def test_nobody_else_may_enter_the_data_folder(instance: Instance) -> None:
    before = os.umask(0)
    try:
        with instance.claim():
            assert [folder.stat().st_mode & 0o777 for folder in (instance.data, instance.run, instance.logs)] == [
                0o700
            ] * 3
    finally:
        os.umask(before)


def test_a_data_folder_that_is_a_file_is_refused_with_what_to_do(instance: Instance) -> None:
    instance.data.write_text("")
    with pytest.raises(SetupError, match="cannot be used: File exists; set HONE_DATA"), instance.claim():
        pass


def test_what_is_published_is_what_others_see(instance: Instance) -> None:
    view = View(1, 2, "http://x", "ready", True, (ProcessView("gateway", State.RUNNING, 3, 4, 5),))
    with instance.claim():
        instance.publish(view)
        assert instance.view() == view
        instance.clear()
        assert instance.view() is None
