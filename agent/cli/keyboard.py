"""Single keys and lines from a terminal."""

import os
import readline
import select
import sys
import termios
import tty
from types import TracebackType
from typing import Protocol, Self

ESCAPE, ENTER = b"\x1b", b"\n"
ENDS = (b"", b"\x04", b"\0")
"""The end of the input: hung up, Ctrl-D, and what Linux makes of a Ctrl-D that was typed ahead."""
INTRODUCERS = (b"[", b"O")
SEQUENCE_PAUSE = 0.02
"""Seconds within which a terminal sends the rest of a key such as an arrow."""


class Keyboard(Protocol):
    """Where single keys and lines come from."""

    def read_key(self) -> str:
        """The next key without echo; empty for one that stands for no character.

        Raises EOFError for Ctrl-D, KeyboardInterrupt for Ctrl-C.
        """

    def read_line(self, prompt: str, begun: str = "") -> str:
        """A line that may be edited, `begun` being typed already; raises EOFError at the end of the input."""


class TerminalKeyboard:
    """The keyboard of the terminal at stdin; within its block keys come singly and are not echoed."""

    def __init__(self) -> None:
        self._terminal = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._terminal)

    def __enter__(self) -> Self:
        tty.setcbreak(self._terminal, termios.TCSADRAIN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._before)

    def read_key(self) -> str:
        return _read(self._terminal)

    def read_line(self, prompt: str, begun: str = "") -> str:
        # The line editor takes the terminal as it finds it, and would not echo either.
        termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._before)
        readline.set_startup_hook(lambda: readline.insert_text(begun))
        try:
            return input(prompt)
        finally:
            readline.set_startup_hook(None)
            tty.setcbreak(self._terminal, termios.TCSADRAIN)


def _read(terminal: int) -> str:
    first = os.read(terminal, 1)
    if first in ENDS:
        raise EOFError
    if first == ESCAPE:
        _skip_sequence(terminal)
        return ""
    character = first + b"".join(os.read(terminal, 1) for _ in range(following(first[0])))
    text = character.decode(errors="replace")
    return text if text.isprintable() or character == ENTER else ""


def _skip_sequence(terminal: int) -> None:
    """Read what belongs to the key that began with an escape, and nothing of the next one."""
    if not select.select([terminal], [], [], SEQUENCE_PAUSE)[0] or os.read(terminal, 1) not in INTRODUCERS:
        return
    while not b"@" <= os.read(terminal, 1) <= b"~":
        continue


def following(lead: int) -> int:
    """How many bytes follow the first one of a character in UTF-8."""
    return (lead >= 0xC0) + (lead >= 0xE0) + (lead >= 0xF0)
