"""Streamed text keeps its words whole at the edge of the terminal."""

import random

import pytest

from agent.cli.pen import Pen, columns


def written(text: str, width: int, indent: int = 0, seed: int | None = None) -> str:
    """What comes out when the text arrives whole, or in pieces drawn by a seed."""
    out: list[str] = []
    pen = Pen(out.append, width, indent)
    rng = random.Random(seed)
    while text:
        size = len(text) if seed is None else rng.randint(1, 5)
        pen.write(text[:size])
        text = text[size:]
    pen.finish()
    return "".join(out)


def test_words_are_not_broken_at_the_edge() -> None:
    assert written("The shop opens at nine.", 10) == "The shop\nopens at\nnine.\n"


def test_the_first_line_is_shorter_by_what_stands_there_already() -> None:
    assert written("The shop opens", 14, indent=6) == "The shop\nopens\n"


def test_lines_and_indentation_of_the_text_stay() -> None:
    assert written("if x:\n    y()\n\nend", 20) == "if x:\n    y()\n\nend\n"


@pytest.mark.parametrize("seed", range(20))
def test_pieces_make_no_difference(seed: int) -> None:
    text = "A rather long sentence, \u4f60\u597d\u4e16\u754c, with a word " + "x" * 60 + " in\nthe middle."
    assert written(text, 24, seed=seed) == written(text, 24)


def test_wide_characters_take_two_columns_and_break_anywhere() -> None:
    lines = written("\u4e16\u754c" * 10, 9).splitlines()
    assert [columns(line) for line in lines] == [8, 8, 8, 8, 8]


def test_nothing_is_lost_of_a_word_longer_than_a_line() -> None:
    assert written("x" * 100, 30).replace("\n", "") == "x" * 100
