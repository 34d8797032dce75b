"""What the actors say together about each question: who outvotes whom, and whether enough of them agree.

Pure. An actor has one say on an answer, the latest; it weighs what its role weighs, however often it was said.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from training.claims import Claim
from training.likeness import plain

Answer = tuple[str, str]
"""A question's key and an answer as it is compared."""
Pair = tuple[str, str, str]
"""A question's key, an answer, and one that is worse."""


@dataclass(frozen=True, slots=True)
class Say:
    """An actor's stance on an answer: `weight` is positive for good, negative for bad."""

    at: int
    feedback: str
    weight: float
    trusted: bool


def answer_of(claim: Claim, text: str) -> Answer:
    return claim.question, plain(text)


class Ballot:
    """The stances of all actors, built once and then asked."""

    def __init__(self, claims: Iterable[Claim]) -> None:
        self._says: defaultdict[Answer, dict[str, Say]] = defaultdict(dict)
        self._pairs: defaultdict[Pair, dict[str, float]] = defaultdict(dict)
        corrected = set[str]()
        for claim in claims:
            self._count(claim)
            if claim.correction is not None:
                corrected.add(claim.question)
        self._good = frozenset(self._elect(corrected))

    def is_good(self, answer: Answer) -> bool:
        """Whether more weight speaks for the answer than against it; where somebody corrected, than for all others."""
        return answer in self._good

    def is_bad(self, answer: Answer) -> bool:
        """Whether more weight speaks against the answer than for it."""
        return self._sum(answer, -1) > self._sum(answer, 1)

    def prefers(self, pair: Pair) -> bool:
        """Whether more weight finds the first answer better than the second than the other way round."""
        question, winner, loser = pair
        there, back = self._pairs.get(pair, {}), self._pairs.get((question, loser, winner), {})
        return sum(there.values()) > sum(back.values())

    def is_backed(self, answer: Answer, users: int, *, good: bool) -> bool:
        """Whether a reviewer or at least `users` actors say so of the answer."""
        says = [say for say in self._says.get(answer, {}).values() if (say.weight > 0) is good]
        return len(says) >= max(users, 1) or any(say.trusted for say in says)

    def _count(self, claim: Claim) -> None:
        if claim.loser is not None:
            pair = claim.question, plain(claim.reply), plain(claim.loser)
            self._pairs[pair][claim.voice.actor] = claim.voice.weight
            return
        if claim.correction is not None:
            self._say(claim, claim.correction, good=True)
        if claim.correction is None or plain(claim.correction) != plain(claim.reply):
            self._say(claim, claim.reply, good=claim.verdict is True)

    def _say(self, claim: Claim, text: str, *, good: bool) -> None:
        weight = claim.voice.weight if good else -claim.voice.weight
        say = Say(claim.at, claim.voice.feedback, weight, claim.trusted)
        known = self._says[answer_of(claim, text)]
        before = known.get(claim.voice.actor)
        if before is None or (before.at, before.feedback) < (say.at, say.feedback):
            known[claim.voice.actor] = say

    def _sum(self, answer: Answer, sign: int) -> float:
        return sum(abs(say.weight) for say in self._says.get(answer, {}).values() if say.weight * sign > 0)

    def _elect(self, corrected: Iterable[str]) -> Iterable[Answer]:
        accepted: defaultdict[str, dict[Answer, float]] = defaultdict(dict)
        for answer in self._says:
            if (weight := self._sum(answer, 1)) > self._sum(answer, -1):
                accepted[answer[0]][answer] = weight
        contested = frozenset(corrected)
        for question, answers in accepted.items():
            total = sum(answers.values())
            yield from (a for a, weight in answers.items() if question not in contested or 2 * weight > total)


def latest(claims: Iterable[Claim]) -> Mapping[str, Claim]:
    """For each slot of an actor (its correction of a question, its verdict on an answer) the last word, by feedback."""
    last: dict[tuple[str, ...], Claim] = {}
    for claim in claims:
        slot = _slot(claim)
        if slot not in last or _when(last[slot]) < _when(claim):
            last[slot] = claim
    return {claim.voice.feedback: claim for claim in last.values()}


def _when(claim: Claim) -> tuple[int, str]:
    return claim.at, claim.voice.feedback


def _slot(claim: Claim) -> tuple[str, ...]:
    actor = claim.voice.actor, claim.question
    if claim.correction is not None:
        return (*actor, "correction")
    if claim.loser is not None:
        return (*actor, "preference", *sorted((plain(claim.reply), plain(claim.loser))))
    return (*actor, "verdict", plain(claim.reply))
