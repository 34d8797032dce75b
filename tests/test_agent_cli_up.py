"""`hone up`, `stop` and `logs` with real processes; the engine is a stand-in, as if others ran it."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fixtures_command import HONE, Terminal, at_terminal, environment, hone
from fixtures_hone import free_port

from agent.cli.api_client import ApiClient
from agent.cli.instance import Instance
from core.errors import HoneError
from serving.fake import FakeEngine, listening


@dataclass(frozen=True)
class Place:
    """Where a Hone of a test lives."""

    data: Path
    url: str
    environ: Mapping[str, str]

    @property
    def instance(self) -> Instance:
        return Instance(self.data)

    def hone(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return hone(*arguments, **self.environ)

    def pids(self) -> list[int]:
        view = self.instance.view()
        return [process.pid for process in view.processes if process.pid] if view else []

    def is_ready(self) -> bool:
        try:
            return ApiClient(self.url, None).is_ready()
        except HoneError:
            return False


@contextmanager
def at_place(folder: Path) -> Iterator[Place]:
    """A place where nothing runs yet, and nothing does any more at the end."""
    with listening(FakeEngine()) as engine:
        config = folder / "hone.toml"
        config.write_text(f'[engine]\nurl = "{engine}"\n[gateway]\ndrain = 2\n')
        port, data = free_port(), folder / "data"
        environ = {"HONE_CONFIG": str(config), "HONE_DATA": str(data), "HONE_PORT": str(port)}
        there = Place(data, f"http://127.0.0.1:{port}", environ)
        try:
            yield there
        finally:
            pids = there.pids()
            if claim := there.instance.claimed():
                os.kill(claim.pid, signal.SIGKILL)
            assert until(lambda: not any(map(alive, pids)), 40), "a process outlived the test"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with at_place(tmp_path) as there:
        yield there


@dataclass(frozen=True)
class Started:
    """A Hone that said that it is ready, and what it said."""

    place: Place
    ready: Mapping[str, Any]
    process: "subprocess.Popen[str]"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """A first start, in the foreground."""
    with at_place(tmp_path_factory.mktemp("up")) as there, up(there, "--json") as process:
        yield Started(there, json.loads(first_line(process)), process)


def until(true: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.05)
    return False


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def up(place: Place, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """`hone up` with pipes, killed at the end if it still runs."""
    command = [HONE, "up", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, env=environment(**place.environ), text=True, **pipes)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_the_first_start_prints_url_and_keys_that_work(started: Started) -> None:
    assert started.ready["url"] == started.place.url
    assert sorted(started.ready["keys"]) == ["ops", "reviewer", "user"]
    assert started.place.is_ready()
    status = hone("status", "--json", HONE_URL=started.place.url, HONE_KEY=started.ready["keys"]["ops"])
    assert json.loads(status.stdout)["ready"] is True


def test_a_second_start_on_the_same_data_is_refused_with_the_reason(started: Started) -> None:
    for arguments in (("up",), ("up", "--detach")):
        second = started.place.hone(*arguments)
        assert second.returncode == 1
        assert f"already runs on {started.place.data} (process {started.process.pid}, since 20" in second.stderr
    assert started.place.is_ready()


def test_what_was_chatted_is_listed_under_every_filter_that_fits_and_no_other(started: Started) -> None:
    assert started.place.hone("chat", "where is it?").stdout.endswith("\n")
    reviewer = {"HONE_URL": started.place.url, "HONE_KEY": started.ready["keys"]["reviewer"]}

    def listed(*filters: str) -> list[Any]:
        result = hone("interactions", "list", "--json", *filters, **reviewer)
        assert result.returncode == 0, result.stderr
        found: list[Any] = json.loads(result.stdout)["data"]
        return found

    [row] = listed()
    assert row["messages"] == [{"role": "user", "content": "where is it?"}]
    fitting = ["--arm", "champion", "--finish", "stop", "--served", row["served"], "--subject", row["subject"]]
    assert listed(*fitting, "--key", row["key_id"], "--since", "2020-01-01", "--until", "2100-01-01") == [row]
    assert listed("--tag", "who:ada") == []
    assert listed("--until", "2020-01-01") == []


def test_another_base_is_not_adopted_while_the_old_one_is_served(started: Started) -> None:
    result = started.place.hone("models", "adopt", "hone-tiny")
    assert result.returncode == 3
    assert f"Hone runs on {started.place.data}" in result.stderr


def test_a_killed_gateway_is_back_within_ten_seconds(started: Started) -> None:
    serving, gateway, *_ = started.place.pids()
    os.kill(gateway, signal.SIGKILL)
    killed = time.monotonic()
    assert until(lambda: gateway not in started.place.pids() and started.place.is_ready())
    assert time.monotonic() - killed < 10
    assert started.place.pids()[0] == serving


def test_a_killed_supervisor_takes_everything_along_and_a_new_start_just_works(place: Place) -> None:
    with up(place, "--json") as process:
        first_line(process)
        pids = place.pids()
        process.kill()
    with up(place, "--json") as process:
        assert json.loads(first_line(process)) == {"url": place.url, "keys": {}}
        assert not any(map(alive, pids))
        pids = place.pids()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert not any(map(alive, pids))
    assert place.instance.claimed() is None
    assert not (place.data / "run" / "up.json").exists()


def test_in_the_background_it_returns_when_ready_and_stop_ends_it(place: Place) -> None:
    started = place.hone("up", "--detach")
    assert started.returncode == 0, started.stderr
    assert f"Hone is ready at {place.url}" in started.stdout
    keys = {line.split()[0]: line.split()[1] for line in started.stdout.splitlines() if line.startswith("  ")}
    assert sorted(keys) == ["ops", "reviewer", "user"]
    assert place.is_ready()
    # A key must not lie around in a log.
    assert not any(key in path.read_text() for key in keys.values() for path in (place.data / "logs").iterdir())

    local = json.loads(place.hone("status", "--json").stdout)
    assert (local["running"], local["ready"]) == (True, True)
    assert [process["name"] for process in local["processes"]] == ["serving", "gateway", "monitoring", "training"]

    pids = place.pids()
    stopped = place.hone("stop")
    assert stopped.returncode == 0
    assert not any(map(alive, pids))
    assert place.hone("stop").returncode == 0
    assert place.hone("status").returncode == 1


def test_a_port_that_is_taken_is_named_with_the_setting(place: Place) -> None:
    with socket.create_server(("127.0.0.1", int(place.environ["HONE_PORT"]))):
        result = place.hone("up")
    assert result.returncode == 1
    assert f"Port {place.environ['HONE_PORT']} on 127.0.0.1 cannot be used (address already in use)" in result.stderr
    assert "HONE_PORT" in result.stderr
    assert place.instance.claimed() is None


def test_a_missing_model_is_named_before_anything_starts(place: Place) -> None:
    for arguments in (("up",), ("up", "--detach")):
        result = hone(*arguments, **{**place.environ, "HONE_MODEL": "/nowhere/model"})
        assert result.returncode == 1
        assert result.stderr.splitlines()[-1].startswith("hone: The model folder /nowhere/model does not exist")
    assert place.pids() == []


@contextmanager
def at_up(place: Place) -> Iterator[Terminal]:
    with at_terminal("up", environ=environment(**place.environ, TERM="xterm", COLUMNS="100")) as terminal:
        yield terminal


def test_at_a_terminal_ctrl_c_stops_everything_and_keys_stand_above_the_table(place: Place) -> None:
    with at_up(place) as terminal:
        terminal.expect("warming up")
        terminal.expect(f"Hone is ready at {place.url}")
        terminal.expect("  ops       hone_ops_")
        terminal.expect("Ctrl-C stops everything.")
        pids = place.pids()
        terminal.type("\x03")
        assert terminal.status(30) == 0
        assert "Traceback" not in terminal.seen
    assert not any(map(alive, pids))


def test_a_terminal_that_is_closed_during_the_start_takes_everything_along(place: Place) -> None:
    with at_up(place) as terminal:
        terminal.expect("gateway")
        pids = place.pids()
        terminal.hang_up()
        assert terminal.process.wait(30) == 0
    assert pids
    assert not any(map(alive, pids))
