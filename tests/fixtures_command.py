"""`hone` as a user types it: in a pipe, or at a terminal that a test reads and types on."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core import config

HONE = str(Path(sys.executable).with_name("hone"))
STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x01\x02]")


def environment(**extra: str) -> dict[str, str]:
    """This process's environment without any of Hone's settings, and `extra`."""
    inherited = config.environment(config.Settings()).items()
    return {name: value for name, value in inherited if not name.startswith("HONE_")} | extra


def hone(*arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [HONE, *arguments], env=environment(**environ), input=stdin, capture_output=True, text=True, timeout=60
    )


@dataclass(slots=True)
class Terminal:
    """A command at a terminal; `seen` is all that it wrote, without colours."""

    process: "subprocess.Popen[bytes]"
    screen: int
    seen: str = ""
    _read_to: int = 0

    def expect(self, text: str, seconds: float = 20) -> None:
        """Wait for a text behind the one that was expected last."""
        deadline = time.monotonic() + seconds
        while (place := self.seen.find(text, self._read_to)) < 0:
            if not self._read(deadline):
                raise AssertionError(f"{text!r} did not come; the terminal shows:\n{self.seen[self._read_to :]}")
        self._read_to = place + len(text)

    def type(self, keys: str) -> None:
        os.write(self.screen, keys.encode())

    def status(self, seconds: float = 20) -> int:
        """Wait for the end; the exit status."""
        deadline = time.monotonic() + seconds
        while self._read(deadline):
            pass
        return self.process.wait(timeout=seconds)

    def hang_up(self) -> None:
        """Close the terminal's window."""
        os.close(self.screen)
        self.screen = os.open(os.devnull, os.O_RDONLY)

    def _read(self, deadline: float) -> bool:
        """Take in what is written next; False at the end or when time is up."""
        if not select.select([self.screen], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return False
        try:
            block = os.read(self.screen, 1 << 16)
        except OSError:
            return False
        self.seen = STYLE.sub("", self.seen + block.decode(errors="replace"))
        return bool(block)


@contextmanager
def at_terminal(*arguments: str, environ: Mapping[str, str]) -> Iterator[Terminal]:
    """`hone ARGUMENTS` with a terminal of its own, whose Ctrl-C reaches it; killed at the end if it still runs."""
    screen, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", LOGIN, HONE, *arguments], env=environ, stdin=side, stdout=side, stderr=side
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


# A new session whose controlling terminal is stdin, as a login makes one.
LOGIN = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
