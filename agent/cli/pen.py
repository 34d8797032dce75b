"""Text that arrives in pieces, written to a terminal with its lines broken between words."""

import unicodedata
from collections.abc import Callable

WIDE = ("W", "F")
LONGEST_WORD = 40
"""Columns after which a word is written without waiting for its end."""


class Pen:
    """Writes with `put`; `width` columns a line, the first `indent` of the first one being taken already."""

    def __init__(self, put: Callable[[str], None], width: int, indent: int = 0) -> None:
        self._put = put
        self._width = width
        self._column = indent
        self._gap = ""
        self._word = ""

    def write(self, text: str) -> None:
        """Take in the next piece; its last word waits until it is known to be whole."""
        for char in text:
            if char == "\n":
                self._end_line()
            elif char.isspace():
                self._end_word()
                self._gap += char
            else:
                self._add(char)

    def finish(self, closing: str = "") -> None:
        """Write what waits, then `closing`, and end the line."""
        self.write(closing)
        self._end_line()

    def _add(self, char: str) -> None:
        self._word += char
        # Scripts of wide characters have no spaces between words and may break anywhere.
        if unicodedata.east_asian_width(char) in WIDE or len(self._word) >= LONGEST_WORD:
            self._end_word()

    def _end_word(self) -> None:
        if not self._word:
            return
        if self._column and self._column + columns(self._gap + self._word) > self._width:
            self._put("\n")
            self._column, self._gap = 0, ""
        self._put(self._gap + self._word)
        self._column += columns(self._gap + self._word)
        self._gap = self._word = ""

    def _end_line(self) -> None:
        self._end_word()
        self._put("\n")
        self._column, self._gap = 0, ""


def columns(text: str) -> int:
    """How much room a text takes on a terminal."""
    return sum(2 if unicodedata.east_asian_width(char) in WIDE else 1 for char in text)
