"""The real thing, started once for a test session: `hone up` on hone-tiny and a data folder of its own."""

import json
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from core import config

START_TIMEOUT = 240


@dataclass(frozen=True)
class RunningHone:
    """A Hone that said "ready". `keys` maps a role to its key."""

    url: str
    keys: Mapping[str, str]
    data: Path
    environ: Mapping[str, str]
    process: subprocess.Popen[str]

    @property
    def settings(self) -> config.Settings:
        return config.load(self.environ)

    def command(self, *arguments: str, key: str | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """`hone ARGUMENTS` as a user would type it here; with `key` it speaks HTTP."""
        extra = {"HONE_KEY": key, "HONE_URL": self.url} if key else {}
        return subprocess.run(
            [str(Path(sys.executable).with_name("hone")), *arguments],
            env={**self.environ, **extra},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
        )


def free_port() -> int:
    """A port whose successor is free too (the gateway's and its engine's), below those that the kernel gives away."""
    while True:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as first, socket.socket() as second, suppress(OSError):
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 1))
            return port


def start_hone(data: Path, **environ: str) -> RunningHone:
    """`hone up --json` in `data`, returned once it is ready."""
    inherited = {k: v for k, v in config.environment(config.Settings()).items() if not k.startswith("HONE_")}
    env = {**inherited, "HONE_DATA": str(data), "HONE_PORT": str(free_port()), **environ}
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("hone")), "up", "--json"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    stdout = process.stdout
    line = stdout.readline() if stdout else ""
    if not line:
        _, errors = process.communicate(timeout=60)
        raise AssertionError(f"hone up ended with {process.returncode}: {errors}")
    ready = json.loads(line)
    return RunningHone(ready["url"], ready["keys"], data, env, process)


def stop_hone(hone: RunningHone) -> int:
    """Ctrl-C, and the exit status."""
    hone.process.send_signal(signal.SIGINT)
    hone.process.communicate(timeout=60)
    return hone.process.returncode


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the endurance tests at their full size")


@pytest.fixture(scope="session")
def soak(request: pytest.FixtureRequest) -> bool:
    """Whether the endurance tests run at their full size."""
    return bool(request.config.getoption("--soak"))


@pytest.fixture(scope="session")
def hone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHone]:
    running = start_hone(tmp_path_factory.mktemp("hone") / "data")
    yield running
    if running.process.poll() is None:
        stop_hone(running)
