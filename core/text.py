"""When two answers say the same: comparison up to case, spaces and punctuation, in any script."""

import unicodedata
from functools import lru_cache

_DROPPED_CLASSES = frozenset("PZ")
_DROPPED_CATEGORIES = frozenset({"Cc", "Cf", "Sk"})
"""Control and format characters, and the marks that stand alone such as the backtick."""


def normalise(text: str) -> str:
    """What is left of a text without case, spaces, punctuation and compatibility forms; the same when done twice."""
    once = _reduce(text)
    twice = _reduce(once)
    # A dropped character may have kept two others from joining; after very few rounds nothing changes any more.
    return once if once == twice else normalise(twice)


def same_answer(a: str, b: str) -> bool:
    """Whether two texts are equal up to case, spaces and punctuation."""
    return normalise(a) == normalise(b)


def _reduce(text: str) -> str:
    # Before and after: a lone mark becomes a space and a mark that joins, a ligature of three dots three dots.
    kept = "".join(filter(_counts, text))
    plain = "".join(filter(_counts, unicodedata.normalize("NFKC", kept)))
    return unicodedata.normalize("NFKC", plain.casefold())


@lru_cache(maxsize=1 << 14)
def _counts(char: str) -> bool:
    category = unicodedata.category(char)
    return category[0] not in _DROPPED_CLASSES and category not in _DROPPED_CATEGORIES
