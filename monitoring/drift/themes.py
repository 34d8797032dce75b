"""Which words and which topics became more or less frequent between two collections of turns.

Every subject is one voice: what counts is the share of its turns. Only terms that three subjects used at least are
shown, and topics are named by such terms only, so that nobody's own words appear. Pure.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from unicodedata import category, normalize

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.utils.extmath import randomized_svd

from core.types import Subject
from monitoring.drift.prompts import Turn

SHARED_BY = 3
"""Subjects that used a term, at least, for it to be shown."""
CLEARLY = 3.0
"""Standard errors by which a share must differ to be shown: an effect that is worth reading, not a verdict."""
MOST_TERMS, MOST_TOPICS, TOPICS, DIRECTIONS, NAMED_BY = 10, 5, 12, 32, 3
_UNSPACED = (
    ("\u0e00", "\u0eff"),
    ("\u1000", "\u109f"),
    ("\u1780", "\u17ff"),
    ("\u3040", "\u30ff"),
    ("\u3400", "\u9fff"),
)
"""Scripts that do without spaces: of Thailand and Laos, Burma, Cambodia, Japan, China."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A term, or a topic by its words: its shares of turns, voices weighing alike, and how many subjects used it."""

    words: Sequence[str]
    before: float
    now: float
    subjects: int


def terms(text: str) -> frozenset[str]:
    """The words of a text, in lower case; where words are not set apart, pairs of characters in their place."""
    plain = normalize("NFKC", text).casefold()
    words = "".join(char if category(char)[0] in "LMN" else " " for char in plain).split()
    return frozenset(term for word in words for term in _parts(word) if len(term) > 1)


def _parts(word: str) -> Iterator[str]:
    if any(low <= char <= high for char in word for low, high in _UNSPACED):
        return (first + second for first, second in pairwise(word))
    return iter((word,))


def moved_terms(before: Sequence[Turn], now: Sequence[Turn]) -> Sequence[Moved]:
    """The terms whose shares differ clearly, the clearest first."""
    return _clearest(before, now, lambda turn: terms(turn.text), MOST_TERMS)


def moved_topics(before: Sequence[Turn], now: Sequence[Turn], seed: int) -> Sequence[Moved]:
    """The topics whose shares differ clearly, the clearest first: clusters of turns by their shared terms."""
    turns = [*before, *now]
    shared = sorted(_shared(turns))
    if len(shared) < 2:
        return ()
    vectoriser = TfidfVectorizer(analyzer=lambda text: sorted(terms(text)), vocabulary=shared)
    weights = vectoriser.fit_transform([turn.text for turn in turns])
    topics = _clusters(weights, seed)
    names = {topic: _name(weights, topics == topic, shared) for topic in np.unique(topics).tolist()}
    topic_of = {turn.id: topic for turn, topic in zip(turns, topics.tolist(), strict=True)}
    found = _clearest(before, now, lambda turn: (str(topic_of[turn.id]),), MOST_TOPICS)
    return [Moved(names[int(t.words[0])], t.before, t.now, t.subjects) for t in found if names[int(t.words[0])]]


def _shared(turns: Sequence[Turn]) -> frozenset[str]:
    """The terms that enough subjects used."""
    users = defaultdict[str, set[Subject]](set)
    for turn in turns:
        for term in terms(turn.text):
            users[term].add(turn.subject)
    return frozenset(term for term, subjects in users.items() if len(subjects) >= SHARED_BY)


def _clusters(weights: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """The cluster of each row in the directions in which the rows differ most."""
    count = min(DIRECTIONS, *weights.shape)
    left, lengths, _ = randomized_svd(weights, n_components=count, random_state=seed)
    places = left * lengths
    distinct = len(np.unique(places.round(6), axis=0))
    model = MiniBatchKMeans(min(TOPICS, distinct), random_state=seed, n_init=3, batch_size=1024)
    found: NDArray[np.int64] = model.fit_predict(places)
    return found


def _name(weights: NDArray[np.float64], chosen: NDArray[np.bool_], shared: Sequence[str]) -> Sequence[str]:
    """The terms that weigh more in a topic than elsewhere; none for the topic of all that have no shared term."""
    gain = np.asarray(weights[chosen].mean(axis=0) - weights.mean(axis=0)).ravel()
    best = np.argsort(-gain, kind="stable")[:NAMED_BY]
    return [shared[place] for place in best if gain[place] > 0]


def _clearest(
    before: Sequence[Turn], now: Sequence[Turn], words: Callable[[Turn], Sequence[str] | frozenset[str]], most: int
) -> Sequence[Moved]:
    earlier, later = _voices(before, words), _voices(now, words)
    counts = len({turn.subject for turn in before}), len({turn.subject for turn in now})
    if not all(counts):
        return ()
    ranked = []
    for word in sorted({*earlier, *later}):
        by, after = earlier.get(word, {}), later.get(word, {})
        users = len({*by, *after})
        if users >= SHARED_BY:
            moved = Moved((word,), sum(by.values()) / counts[0], sum(after.values()) / counts[1], users)
            ranked.append((_clarity(moved, *counts), moved))
    clear = sorted((each for each in ranked if each[0] >= CLEARLY), key=lambda each: (-each[0], each[1].words))
    return [moved for _, moved in clear[:most]]


def _voices(
    turns: Sequence[Turn], words: Callable[[Turn], Sequence[str] | frozenset[str]]
) -> Mapping[str, Mapping[Subject, float]]:
    """For each word the share that it has in the turns of each subject that used it."""
    asked = defaultdict[Subject, int](int)
    used = defaultdict[str, defaultdict[Subject, int]](lambda: defaultdict(int))
    for turn in turns:
        asked[turn.subject] += 1
        for word in words(turn):
            used[word][turn.subject] += 1
    return {word: {who: times / asked[who] for who, times in by.items()} for word, by in used.items()}


def _clarity(moved: Moved, before: int, now: int) -> float:
    """The difference of the shares in standard errors, at their common share; a voice in between errs less."""
    share = (moved.before * before + moved.now * now) / (before + now)
    error = sqrt(share * (1 - share) * (1 / before + 1 / now))
    return abs(moved.now - moved.before) / error if error else 0.0
