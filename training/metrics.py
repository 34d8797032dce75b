"""How near an answer comes to a reference: the same, the same words, the same words in the same order. Pure."""

import re
from collections import Counter
from collections.abc import Sequence

from core.text import same_answer

_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff"
"""Scripts that leave no spaces between words: there a character counts as one."""
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")


def words(text: str) -> list[str]:
    """The words of a text, without case and punctuation."""
    return _WORD.findall(text.casefold())


def exact(answer: str, reference: str) -> float:
    """1 when both are the same up to case, spaces and punctuation, else 0."""
    return float(same_answer(answer, reference))


def token_f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall of words in any order, 0..1; 1 for two texts without words."""
    given, wanted = Counter(words(answer)), Counter(words(reference))
    return _f(sum((given & wanted).values()), given.total(), wanted.total())


def rouge_l(answer: str, reference: str) -> float:
    """The same for the longest sequence of words that both have in common, in their order, 0..1."""
    given, wanted = words(answer), words(reference)
    return _f(_common(given, wanted), len(given), len(wanted))


def _f(common: int, given: int, wanted: int) -> float:
    return 2 * common / (given + wanted) if given + wanted else 1.0


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for word in a:
        diagonal = 0
        for place, other in enumerate(b, start=1):
            diagonal, row[place] = row[place], diagonal + 1 if word == other else max(row[place], row[place - 1])
    return row[-1]
