"""A judge learned from what people said: how probably an answer is liked, by its words and by what it recalls.

Logistic regression on the answer's words (TF-IDF), how many words of the question it takes up, its length, and memory:
what was said of like answers to like questions. As R. A. Bradley and M. E. Terry (Biometrika 39, 1952) have it, the
better of two answers is the one with the larger score, so places cannot matter. It knows what people liked, not what is
right.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log1p
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from core.types import JsonObject
from monitoring.shadow.judge import Choice
from monitoring.shadow.questions import text_of

LEAST_OF_EACH = 20
"""Liked and disliked answers that it takes to tell one from the other."""
MOST = 2000
"""Labels that are learned from, the newest: memory compares each with each."""
ONE_VOICE = 20
"""Labels of one person that count in full."""
CLOSE = 0.1
"""Difference of scores, in logits, below which neither answer is the better one."""
_SHARPNESS = 4
"""The power of the likeness of two questions: half alike recalls little."""
_DOUBT = 0.1
_MISMATCHED = 0.5
"""Weight of a liked answer beside another question, as an answer that would not be liked."""
_INSTRUCTING = frozenset({"system", "developer"})

Numbers = NDArray[np.float64]
Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Label:
    """What a person said of one answer, or the answer that they gave instead."""

    question: str
    answer: str
    liked: bool
    actor: str


@dataclass(frozen=True, slots=True)
class Memory:
    """Labelled questions and answers as vectors, with +1 for liked ones, -1 for others, times their weight."""

    questions: Any
    answers: Any
    words: Numbers
    weights: Numbers

    def recall(self, questions: Any, answers: Any, without: Sequence[Places] = ()) -> Numbers:
        """What was said of like answers to like questions, -1..1; `without` names a label by row that is forgotten."""
        near = (questions @ self.questions.T).toarray() ** _SHARPNESS
        for places in without:
            near[np.arange(len(places)), places] = 0.0
        said = near * (answers @ self.answers.T).toarray()
        return np.asarray(said @ self.words / (near @ self.weights + _DOUBT))


@dataclass(frozen=True, slots=True)
class Reward:
    """The learned judge; vectors and model are scikit-learn's."""

    vectors: Any
    memory: Memory
    model: Any
    name: str = "reward"

    def score(self, question: str, answer: str) -> float:
        """The log-odds that the answer is liked."""
        asked, said = self.vectors.transform([question]), self.vectors.transform([answer])
        found = _features(asked, said, [answer], self.memory.recall(asked, said))
        return float(self.model.decision_function(found)[0])

    async def compare(self, messages: Sequence[JsonObject], a: str, b: str) -> Choice:
        asked = question_of(messages)
        return await asyncio.to_thread(self._compare, asked, a, b)

    async def rate(self, messages: Sequence[JsonObject], answer: str) -> float | None:
        return _share(await asyncio.to_thread(self.score, question_of(messages), answer))

    def _compare(self, asked: str, a: str, b: str) -> Choice:
        ahead = self.score(asked, a) - self.score(asked, b)
        if abs(ahead) < CLOSE:
            return Choice.NEITHER
        return Choice.FIRST if ahead > 0 else Choice.SECOND


def fit(labels: Sequence[Label], least: int) -> Reward | None:
    """The judge that these labels, oldest first, teach; None with fewer than `least`, or with too few of a kind."""
    # Importing scikit-learn changes the environment and takes a second, which most processes never need.
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    labels = labels[-MOST:]
    liked = np.array([label.liked for label in labels])
    if len(labels) < least or min(liked.sum(), (~liked).sum()) < LEAST_OF_EACH:
        return None
    voices = Counter(label.actor for label in labels)
    weights = np.array([min(1.0, ONE_VOICE / voices[label.actor]) for label in labels])
    answers = [label.answer for label in labels]
    questions = [label.question for label in labels]
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=20_000, token_pattern=r"(?u)\b\w+\b")
    vectors.fit([*questions, *answers])
    asked, said = vectors.transform(questions), vectors.transform(answers)
    memory = Memory(asked, said, weights * np.where(liked, 1.0, -1.0), weights)
    asking, saying = _taught(labels)
    # Each row forgets the labels that it is made of, else memory would seem to know everything.
    recalled = memory.recall(asked[asking], said[saying], [asking, saying])
    features = _features(asked[asking], said[saying], [answers[place] for place in saying], recalled)
    fits = asking == saying
    told = weights[asking] * np.where(fits, 1.0, _MISMATCHED)
    return Reward(vectors, memory, LogisticRegression(max_iter=500).fit(features, liked[asking] & fits, told))


def _taught(labels: Sequence[Label]) -> tuple[Places, Places]:
    """Places of questions and of the answers beside them: each label's own, and then liked answers beside other
    questions, since what is said must fit what is asked."""
    liked = [place for place, label in enumerate(labels) if label.liked]
    others = liked[len(liked) // 2 :] + liked[: len(liked) // 2]
    found = [
        (at, other)
        for at, other in zip(liked, others, strict=True)
        if labels[at].question != labels[other].question and labels[at].answer != labels[other].answer
    ]
    both = np.array([*((place, place) for place in range(len(labels))), *found], dtype=np.intp)
    return both[:, 0], both[:, 1]


def question_of(messages: Sequence[JsonObject]) -> str:
    """What was asked last, with the turn before it; the operator's instructions are left out."""
    said = [text_of(message.get("content")) for message in messages if message.get("role") not in _INSTRUCTING]
    return "\n".join(text for text in said[-3:] if text)


def _features(asked: Any, said: Any, answers: Sequence[str], recalled: Numbers) -> Any:
    taken_up = np.asarray(asked.multiply(said).sum(axis=1)).ravel()
    length = np.array([log1p(len(answer.split())) / 5 for answer in answers])
    # Memory is worth more than any word, so the penalty on its weight is made smaller.
    return sparse.hstack([said, np.column_stack([taken_up, length, 3 * recalled])]).tocsr()


def _share(score: float) -> float:
    return 1 / (1 + exp(-max(min(score, 30.0), -30.0)))
