"""A space of texts, fitted on some of them, in which others lie near or far from these.

Texts become weighted counts of the runs of two to four characters in their words, so that inflected words, typing
errors and scripts without spaces are near what they resemble; then the 64 directions in which the fitted ones differ
most. Runs are known by a hash only: the space holds nobody's words, and runs that no fitted text has count as well.
Pure and deterministic.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

DIRECTIONS = 64
BUCKETS = 1 << 15
_NOTHING = 1e-5
"""A direction with less than this part of the variance of the first one is rounding."""

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Space:
    """Where texts lie; `axes` has a direction a row."""

    weights: TfidfTransformer
    axes: Vectors

    def place(self, texts: Sequence[str]) -> Vectors:
        """A row a text, of length 1 at most: what of it lies outside the space is missing from its length."""
        return np.asarray(self.weights.transform(_counts(texts)) @ self.axes.T, dtype=np.float32)


def fitted(texts: Sequence[str]) -> Space:
    """The space of these texts, of which there is one at least."""
    weights = TfidfTransformer(sublinear_tf=True)
    rows = weights.fit_transform(_counts(texts))
    # The truncated singular value decomposition, by way of the rows' products: texts are far fewer than runs.
    squares, sides = np.linalg.eigh((rows @ rows.T).toarray())
    kept = np.flatnonzero(squares > _NOTHING * squares[-1])[-DIRECTIONS:]
    axes = (rows.T @ (sides[:, kept] / np.sqrt(squares[kept]))).T
    return Space(weights, np.asarray(axes, dtype=np.float32))


def distances(places: Vectors, reference: Vectors) -> Vectors:
    """One less the largest cosine of each place with one of the reference, from 0 (the same) to 1 (nothing shared).

    A place shorter than 1 counts as partly elsewhere; embeddings have to be brought to length 1 before.
    """
    nearest: Vectors = (places @ units(reference).T).max(axis=1)
    return np.clip(1 - nearest, 0, 1)


def units(vectors: Vectors) -> Vectors:
    """The same directions at length 1; nothing stays nothing."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return found


def _counts(texts: Sequence[str]) -> NDArray[np.float32]:
    vectoriser = HashingVectorizer(
        analyzer="char_wb", ngram_range=(2, 4), n_features=BUCKETS, alternate_sign=False, norm=None, dtype=np.float32
    )
    counts: NDArray[np.float32] = vectoriser.transform(texts)
    return counts
