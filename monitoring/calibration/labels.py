"""Labelled confidences: what a version stated of an answer beside the thumb of somebody on it, one vote an actor.

Pure. Knows neither rows nor maps.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from monitoring.experiments.sequential import Array

MAX_WEIGHT = 20.0
"""Of one vote that was asked for with little probability, before the weights are brought to a mean of 1."""


@dataclass(frozen=True, slots=True)
class Label:
    """One live vote: `at` is when it was given (microseconds), `confidence` what the source stated, from 0 to 1.

    `asked` is the probability with which the rating was asked for, None where it came unasked; `key` the client's key,
    `length` the answer's tokens.
    """

    answer: str
    actor: str
    at: int
    confidence: float
    liked: bool
    asked: float | None = None
    key: str = ""
    length: int | None = None


def ordered(labels: Sequence[Label]) -> Sequence[Label]:
    """As they were given, the same whatever order they come in."""
    return sorted(labels, key=lambda label: (label.at, label.answer, label.actor))


def confidences(labels: Sequence[Label]) -> Array:
    return np.array([label.confidence for label in labels], dtype=float)


def thumbs(labels: Sequence[Label]) -> NDArray[np.int64]:
    """1 for those that like, else 0."""
    return np.array([label.liked for label in labels], dtype=np.int64)


def weights(labels: Sequence[Label], share: float, least: int) -> Array:
    """The weight of each vote, 1 on average: the same chance for each answer that was asked about, and no actor beyond
    a share of all votes, or the number of votes that everybody may have.

    Votes that came unasked keep the part of the whole that they have.
    """
    asked = np.array([label.asked or np.nan for label in labels], dtype=float)
    solicited = np.isfinite(asked)
    each = np.ones(len(labels))
    if solicited.any():
        inverse = np.minimum(1 / asked[solicited], MAX_WEIGHT)
        each[solicited] = inverse / inverse.mean()
    held: Counter[str] = Counter()
    for label, weight in zip(labels, each, strict=True):
        held[label.actor] += weight  # type: ignore[assignment]
    most = max(share * len(labels), least)
    capped = np.array([w * min(1, most / held[label.actor]) for label, w in zip(labels, each, strict=True)])
    return capped / capped.mean() if len(labels) else capped


def folds(labels: Sequence[Label], number: int) -> NDArray[np.int64]:
    """The fold of each vote from 0 on, by a hash: all votes of an actor in one, or all on an answer where actors are
    too few for that."""
    actors = len({label.actor for label in labels}) >= 4 * number
    names = [label.actor if actors else label.answer for label in labels]
    return np.array([crc32(name.encode()) % number for name in names], dtype=np.int64)
