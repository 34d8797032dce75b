"""What is not worth learning by its looks alone: nothing, too much, and what is hardly text. Pure."""

import unicodedata
import zlib
from collections.abc import Sequence

from training.rows import Reason

LEAST_WORDY = 0.4
"""The share of letters, digits, marks and spaces below which a text is none."""
LONG_ENOUGH = 200
MOST_REPETITIVE = 0.06
"""The compressed size, as a share of the size, below which a long text only repeats itself."""


def judge(question: Sequence[str], answer: str, most: int) -> Reason | None:
    """Why these turns and their answer are not worth learning; `most` characters are allowed in all."""
    if not answer.strip() or not (question and question[-1].strip()):
        return Reason.EMPTY
    if len(answer) + sum(map(len, question)) > most:
        return Reason.TOO_LONG
    return Reason.NOT_TEXT if is_noise(answer) or is_noise(question[-1]) else None


def is_noise(text: str) -> bool:
    """Whether a text that is not empty is hardly one: symbols, broken characters, or one thing over and over."""
    categories = [unicodedata.category(char) for char in text]
    wordy = sum(category[0] in "LNM" or char in " \n" for char, category in zip(text, categories, strict=True))
    broken = sum(category in ("Cn", "Co", "Cs") for category in categories) + text.count("\N{REPLACEMENT CHARACTER}")
    meaning = any(category[0] in "LN" for category in categories)
    return not meaning or wordy < LEAST_WORDY * len(text) or broken > 0.05 * len(text) or _repeats(text)


def _repeats(text: str) -> bool:
    data = text.encode(errors="replace")
    return len(data) >= LONG_ENOUGH and len(zlib.compress(data)) < MOST_REPETITIVE * len(data)
