"""The question that a demo asks before it promotes, at a terminal: what is shown, and what each answer does."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fixtures_command import LOGIN, Terminal, environment

ASKING = """
import asyncio
from fixtures_service import FakeService
from scripted_hone import NEW, OLD, ScriptedHone
from agent.cli.demo import _agree

async def main():
    hone = ScriptedHone(FakeService(version=OLD), stages=("awaiting_approval",))
    try:
        print("agreed:", _agree(await hone.model(NEW)))
    finally:
        await asyncio.sleep(0.01)
        print("in order")

try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""


@contextmanager
def asked() -> Iterator[Terminal]:
    """A program at a terminal that asks the demo's question inside of a loop, as the demo does."""
    screen, side = pty.openpty()
    tests = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", LOGIN, sys.executable, "-c", ASKING],
        env=environment(PYTHONPATH=tests),
        stdin=side,
        stdout=side,
        stderr=side,
    )
    os.close(side)
    terminal = Terminal(process, screen)
    try:
        yield terminal
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(terminal.screen)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("y\n", ("agreed: True", "in order")),
        ("n\n", ("agreed: False", "in order")),
        ("\n", ("agreed: False", "in order")),
        ("\x03", ("in order", "interrupted")),
    ],
)
def test_the_evidence_is_shown_and_the_answer_taken(keys: str, words: tuple[str, str]) -> None:
    with asked() as terminal:
        terminal.expect("system:worse asked for")
        terminal.expect("thumbs: better by +0.3")
        terminal.expect("Make tiny-v1 the champion? [y/N]:")
        terminal.type(keys)
        for each in words:
            terminal.expect(each)
        assert terminal.status() == 0
