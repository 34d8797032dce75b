"""Mirrored answers compared with the champion's own on the same question, by what people said; a subject is one voice.

Pure. Texts are digests that are equal when two texts say the same (questions.py). What is compared may also be a decoy
in the candidate's place. Judges nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from core.decoys import APPEAL, COMMON, NOT_KNOWING, UNKNOWING, appeal
from core.types import Subject
from monitoring.shadow.controls import Decoy
from monitoring.shadow.pairs import Pair, Paired
from monitoring.shadow.questions import Skills, text_digest


@dataclass(frozen=True, slots=True)
class Texts:
    """What was asked and said in one mirrored call, as digests; None where there is no text any more.

    `longer` is the logarithm of how many times as long as the champion's answer the candidate's is.
    """

    asked: str | None
    champion: str | None
    candidate: str | None
    same: bool
    longer: float | None = None


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A call that both answered."""

    id: str
    parent: str
    subject: Subject
    texts: Texts


@dataclass(slots=True)
class Word:
    """What people said of the champion's answer: the values of those who rated it, and corrections as digests."""

    values: list[float]
    corrections: set[str]

    @property
    def is_liked(self) -> bool:
        return bool(self.values and not self.corrections and sum(self.values) > len(self.values) / 2)


Words = Mapping[str, Word]
"""By the id of the champion's answer."""


def old_skills(pairs: Sequence[Mirrored], words: Words, skills: Skills) -> Iterator[Pair]:
    """Calls whose answer was liked, or whose question had a liked answer before; not where that was corrected."""
    for pair in pairs:
        word, texts = words.get(pair.parent), pair.texts
        known = skills.answers(texts.asked)
        if word and word.corrections and not word.corrections & known:
            continue
        if word and word.is_liked and texts.champion:
            known |= {texts.champion}
        yield from _compared(pair, known)


def references(pairs: Sequence[Mirrored], words: Words) -> Iterator[Pair]:
    """Calls whose answer was corrected, or liked."""
    for pair in pairs:
        word = words.get(pair.parent)
        if word and word.corrections:
            yield from _compared(pair, frozenset(word.corrections))
        elif word and word.is_liked and pair.texts.champion:
            yield from _compared(pair, frozenset({pair.texts.champion}))


def preferred(pairs: Sequence[Mirrored], words: Sequence[tuple[str, str, float]]) -> Iterator[tuple[Mirrored, float]]:
    """Pairs on which people said which answer is better: above 0 where that is the candidate's, -1..1.

    `words` are the better answer, the other one, and how clearly, 0 for neither.
    """
    places = {(pair.id, pair.parent): (pair, 1.0) for pair in pairs}
    places |= {(pair.parent, pair.id): (pair, -1.0) for pair in pairs}
    for winner, loser, clearly in words:
        if found := places.get((winner, loser)):
            pair, sign = found
            yield pair, sign * clearly


def likely(
    pairs: Sequence[Mirrored], found: Mapping[tuple[str, str], float], champion: str, candidate: str
) -> Iterator[Pair]:
    """Calls of which it was measured how likely both versions find the right answer; `found` by call and version."""
    for pair in pairs:
        old, new = found.get((pair.parent, champion)), found.get((pair.parent, candidate))
        if old is not None and new is not None:
            yield Pair(pair.subject, new - old)


def decoys(
    pairs: Sequence[Mirrored], words: Words, skills: Skills, compare: Callable[[Iterator[Pair]], Paired]
) -> Sequence[Decoy]:
    """What the same comparisons make of decoys in the candidate's place."""
    found = []
    for name, told in _told(pairs).items():
        planted = [_planted(pair, text) for pair, text in zip(pairs, told, strict=True)]
        found.append(
            Decoy(
                name,
                old_skills=compare(old_skills(planted, words, skills)),
                references=compare(references(planted, words)),
                same=sum(pair.texts.same for pair in planted),
            )
        )
    return found


def _told(pairs: Sequence[Mirrored]) -> Mapping[str, Sequence[str]]:
    """By name what each decoy says to these calls, as digests."""
    said = Counter(pair.texts.champion for pair in pairs if pair.texts.champion)
    frequent = said.most_common(1)[0][0] if said else text_digest("")
    forms = {appeal(place): text_digest(appeal(place)) for place in range(len(pairs))}
    return {
        COMMON: [frequent] * len(pairs),
        UNKNOWING: [text_digest(NOT_KNOWING)] * len(pairs),
        APPEAL: [forms[appeal(place)] for place in range(len(pairs))],
    }


def _planted(pair: Mirrored, told: str) -> Mirrored:
    return replace(pair, texts=replace(pair.texts, candidate=told, same=told == pair.texts.champion))


def _compared(pair: Mirrored, right: frozenset[str]) -> Iterator[Pair]:
    texts = pair.texts
    if right and texts.candidate is not None and texts.champion is not None:
        difference = float(texts.candidate in right) - float(texts.champion in right)
        yield Pair(pair.subject, difference, texts.same)
