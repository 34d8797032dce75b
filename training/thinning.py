"""One row of those that say almost the same, and the ties between rows that only look alike. Pure."""

import re
from collections import Counter
from collections.abc import Sequence

from training.drafts import Draft
from training.likeness import plain
from training.near_duplicates import NearIndex, Sketch, jaccard, shingles, sketch
from training.rules import Rules

Tie = tuple[str, str]
"""The ids of two drafts that are too alike to lie in two splits."""


class Thinner:
    """Takes drafts one by one; the first of those that say almost the same stays."""

    def __init__(self, rules: Rules) -> None:
        self._threshold = rules.near_duplicate
        self._index = NearIndex(rules.near_duplicate)
        self._kept: dict[str, Draft] = {}
        self.ties: list[Tie] = []

    def admit(self, draft: Draft) -> bool:
        """Whether the draft says something new; if so it is known from now on."""
        text = sketch(draft.texts())
        near = self._near(draft, text)
        if any(self._says_the_same(draft, other) or _apart(draft, other) for other in near):
            return False
        self._index.add(draft.id, text)
        self._kept[draft.id] = draft
        self.ties += [(draft.id, other.id) for other in near if draft.backers]
        return True

    def _near(self, draft: Draft, text: Sketch) -> Sequence[Draft]:
        return [self._kept[neighbour.key] for neighbour in self._index.near(text)]

    def _says_the_same(self, a: Draft, b: Draft) -> bool:
        """Whether two drafts that look alike teach the same: a number or an answer of its own makes the difference."""
        if (a.lesson.label, _numbers(a)) != (b.lesson.label, _numbers(b)):
            return False
        return jaccard(shingles(a.lesson.answer), shingles(b.lesson.answer)) >= self._threshold


def _apart(a: Draft, b: Draft) -> bool:
    """Whether one was judged and the other is only repeated: alike, they would tie what judges to what is learned."""
    return bool(a.backers) != bool(b.backers)


def precedence(drafts: Sequence[Draft]) -> list[Draft]:
    """Who comes first where only one may stay: the heavier, then what quieter actors say, so that no flood wins."""
    loudness = Counter(backer.claim.voice.actor for draft in drafts for backer in draft.backers)
    return sorted(
        drafts,
        key=lambda draft: (
            -draft.weight,
            min((loudness[b.claim.voice.actor] for b in draft.backers), default=0),
            draft.id,
        ),
    )


def _numbers(draft: Draft) -> list[str]:
    return sorted(number for text in draft.texts() for number in re.findall(r"\d+", plain(text)))
