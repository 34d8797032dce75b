"""The whole demo on the real engine with real training: what it promises to come to, and that its data goes on.

It takes as long as a demo does, so it runs with `make soak` only.
"""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fixtures_hone import free_port, start_hone, stop_hone
from openai import OpenAI

from agent.demo import scenario
from core import config
from core.text import same_answer

pytestmark = [pytest.mark.engine, pytest.mark.slow]
HONE = str(Path(sys.executable).with_name("hone"))
LONGEST = 1500
"""Seconds on a machine that has something else to do as well; the budget of an idle one is 720."""


def begin(data: Path, *arguments: str) -> "subprocess.Popen[str]":
    inherited = {k: v for k, v in config.environment(config.Settings()).items() if not k.startswith("HONE_")}
    env = {**inherited, "HONE_DATA": str(data), "HONE_PORT": str(free_port())}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # Whoever runs the suite in the background has Ctrl-C ignored, and that is inherited.
    return subprocess.Popen([HONE, "demo", *arguments], env=env, text=True, preexec_fn=_heed_ctrl_c, **pipes)  # type: ignore[call-overload,no-any-return]


def _heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.timeout(LONGEST + 300)
@pytest.mark.parametrize("name", ["helpdesk", "harbour"])
def test_a_demo_ends_with_a_better_champion_that_goes_on(tmp_path: Path, soak: bool, name: str) -> None:
    if not soak:
        pytest.skip("a whole demo takes minutes; run it with --soak")
    data, file = tmp_path / "data", scenario.default_path().with_name(f"{name}.jsonl")
    process = begin(data, "--yes", "--json", "--scenario", str(file))
    stdout, stderr = process.communicate(timeout=LONGEST)
    assert process.returncode == 0, stderr
    result: dict[str, Any] = json.loads(stdout)
    played = scenario.read(file)
    ordinary, shifted = (result["phases"][phase.name] for phase in played.phases)
    assert [phase["n"] for phase in (ordinary, shifted)] == [len(phase.held_back) for phase in played.phases]
    assert shifted["before"] < 0.10
    assert shifted["after"] >= 0.80
    assert ordinary["after"] >= ordinary["before"] - 0.05
    assert (result["failed_requests"], result["promoted"]) == (0, True)
    assert result["promotion_seconds"] <= 1
    assert result["rollback_seconds"] <= 1
    assert Path(result["data"]) == data
    assert "<svg" in Path(result["report"]).read_text(encoding="utf-8")

    # The data is a whole Hone, whose champion is the promoted version.
    later = start_hone(data)
    try:
        status = json.loads(later.command("status", "--json").stdout)
        assert status["running"]
        key = json.loads(later.command("keys", "create", "--role", "ops", "--name", "later", "--json").stdout)["key"]
        assert json.loads(later.command("status", "--json", key=key).stdout)["champion"] == result["champion"]
        row = played.shifted[0].held_back[0]
        client = OpenAI(base_url=f"{later.url}/v1", api_key=key)
        asked = client.chat.completions.create(
            model=result["champion"],
            messages=list(row.messages),
            temperature=0,
            max_tokens=64,  # type: ignore[arg-type]
        )
        assert same_answer(asked.choices[0].message.content or "", row.answer) or shifted["after"] < 1
    finally:
        stop_hone(later)


def test_ctrl_c_at_the_start_leaves_nothing_running(tmp_path: Path) -> None:
    process = begin(tmp_path / "data", "--yes", "--json")
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "data" / "logs" / "serving.log").exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=120)
    finally:
        process.kill()
    assert (process.returncode, stdout) == (130, "")
    assert "stopped" in stderr
    assert running_on(tmp_path / "data") == []


def running_on(data: Path) -> list[str]:
    """Commands of processes that were told of this data folder."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"HONE_DATA={data}".encode() in environ.read_bytes().split(b"\0"):
                found.append(environ.with_name("cmdline").read_text())
        except OSError:
            continue
    return found
