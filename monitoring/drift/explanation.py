"""What moved in the traffic: a closed window of turns against those of the reference, told in words and figures.

It explains and raises no alarm: whether traffic changed, the watches over the streams say. The chance that any window
of a version is ever called different while nothing changes is ALPHA at most, since each gets its part of it. Pure.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import pi

import numpy as np

from core.types import JsonObject
from monitoring.drift.domain import Domain, compare
from monitoring.drift.effects import Effect
from monitoring.drift.prompts import Turn
from monitoring.drift.themes import Moved, moved_terms, moved_topics

ALPHA = 0.05
MOST_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Explanation:
    """The `number`-th window of a version. `domain` is None where there were too few voices to compare."""

    number: int
    turns: int
    alpha: float
    domain: Domain | None
    terms: Sequence[Moved]
    topics: Sequence[Moved]
    examples: Sequence[str]
    """Ids of answers, each to another subject, whose questions are least like the reference; none without a move."""

    @property
    def moved(self) -> bool:
        return self.domain is not None and self.domain.p <= self.alpha

    def says(self) -> str:
        if self.domain is None:
            return f"too few subjects in {self.turns} turns to compare their words with the reference"
        figures = f"AUC {self.domain.auc:.2f}, p {self.domain.p:.2g} where {self.alpha:.2g} counts"
        if not self.moved:
            return f"the last {self.turns} turns ask like the reference ({figures})"
        more, less = _some(self.terms, up=True), _some(self.terms, up=False)
        words = "; ".join(filter(None, [more and f"more of {more}", less and f"less of {less}"]))
        return f"the last {self.turns} turns ask otherwise than the reference ({figures})" + (words and f": {words}")


def spent(number: int) -> float:
    """The part of ALPHA for the window of this number, from 1: all parts together are ALPHA.

    Windows share a reference, so their tests depend on one another; the sum of the parts holds for any dependence.
    """
    return ALPHA * 6 / (pi * number) ** 2


def explain(before: Sequence[Turn], now: Sequence[Turn], number: int) -> Explanation:
    """The explanation of a window; the same for the same turns and number."""
    domain = compare(before, now, np.random.default_rng(number))
    plain = Explanation(number, len(now), spent(number), domain, moved_terms(before, now), (), ())
    examples = _examples(now, domain) if domain and plain.moved else ()
    topics = moved_topics(before, now, number)
    return Explanation(number, len(now), plain.alpha, domain, plain.terms, topics, examples)


def to_json(found: Explanation, effects: Sequence[Effect], at: int) -> JsonObject:
    """The report; `at` in microseconds."""
    return {
        "says": found.says(),
        "closed_at": at,
        "window": found.number,
        "turns": found.turns,
        "auc": found.domain.auc if found.domain else None,
        "p": found.domain.p if found.domain else None,
        "alpha": found.alpha,
        "moved": found.moved,
        "terms": [{"term": term.words[0], **_shares(term), "subjects": term.subjects} for term in found.terms],
        "topics": [{"words": list(t.words), "before": t.before, "now": t.now} for t in found.topics],
        "examples": list(found.examples),
        "effects": [asdict(effect) for effect in effects],
    }


def _shares(term: Moved) -> JsonObject:
    return {"share_before": term.before, "share_now": term.now}


def _examples(now: Sequence[Turn], domain: Domain) -> Sequence[str]:
    """The turns that look most like this window, one a subject."""
    chosen: dict[str, str] = {}
    for place in np.argsort(-domain.places, kind="stable"):
        chosen.setdefault(now[place].subject, now[place].id)
        if len(chosen) == MOST_EXAMPLES:
            break
    return list(chosen.values())


def _some(terms: Sequence[Moved], *, up: bool) -> str:
    return ", ".join(term.words[0] for term in [each for each in terms if (each.now > each.before) is up][:3])
