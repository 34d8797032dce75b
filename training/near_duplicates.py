"""Texts that are almost the same: MinHash over character shingles proposes, the exact Jaccard index decides.

The bands are cut so that a pair that shares 0.8 is proposed with probability 0.999997, one that shares 0.7 with 0.995.
Knows texts and the keys that its user gives them.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from datasketch import MinHash, MinHashLSH

from training.likeness import plain

SHINGLE = 5
BANDS, BAND_ROWS = 42, 6
PERMUTATIONS = BANDS * BAND_ROWS

Shingles = frozenset[int]


@dataclass(frozen=True, slots=True)
class Sketch:
    """What of a text is compared: its shingles, and the few numbers that stand for them in the search."""

    shingles: Shingles
    minhash: MinHash


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A known text and how much of it is shared, 0..1."""

    key: str
    similarity: float


class NearIndex:
    """Texts so far, to find those that a new one resembles by at least `threshold`."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._known: dict[str, Shingles] = {}
        self._search = MinHashLSH(num_perm=PERMUTATIONS, params=(BANDS, BAND_ROWS))

    def near(self, text: Sketch) -> list[Neighbour]:
        """Known texts that are similar enough, the most similar first."""
        proposed = sorted(self._search.query(text.minhash))
        measured = [Neighbour(key, jaccard(text.shingles, self._known[key])) for key in proposed]
        found = [neighbour for neighbour in measured if neighbour.similarity >= self._threshold]
        return sorted(found, key=lambda neighbour: -neighbour.similarity)

    def add(self, key: str, text: Sketch) -> None:
        """Make a text known; its key must be new."""
        self._known[key] = text.shingles
        self._search.insert(key, text.minhash)


def sketch(texts: Iterable[str]) -> Sketch:
    """What is compared of texts that belong together, such as the turns of a conversation."""
    found = frozenset[int]().union(*map(shingles, texts))
    minhash = MinHash(num_perm=PERMUTATIONS, hashfunc=int, scheme="affine32")
    minhash.update_batch(sorted(found))
    return Sketch(found, minhash)


def shingles(text: str) -> Shingles:
    """Fingerprints of all runs of five characters, without case, spaces and punctuation; a shorter text is one run."""
    chars = plain(text).encode("utf-32-le", errors="surrogatepass")
    if not chars:
        return frozenset()
    width = 4 * SHINGLE
    return frozenset(zlib.crc32(chars[at : at + width]) for at in range(0, max(len(chars) - width, 0) + 4, 4))


def jaccard(a: Shingles, b: Shingles) -> float:
    """The share of all shingles that both have, 0..1; two empty texts are the same."""
    return len(a & b) / len(a | b) if a or b else 1.0
