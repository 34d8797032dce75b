"""Judgements for tests of curation: who says what of which answer, in as few words as a test needs."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import count
from random import Random

from answers import answer, thumb

from core.types import Role, Subject
from training.curation import Curated, Material, curate
from training.harvest import Harvest, Judged
from training.rows import Message, Method, Reason, ReplayRow
from training.rules import Policy, Rules

ALL = Rules(salt="salt", may_train=Policy(1), replay_share=0.0)
WORDS = [
    first + last for first in "bdfghklmnprstvwz" for last in ("alo", "emir", "inox", "ogra", "uvel", "astin", "orb")
]
_times = count(1_800_000_000_000_000)


def subject(name: str) -> Subject:
    """A customer's pseudonym, and so the actor of its judgements."""
    return Subject(name.ljust(64, "."))


def judged(
    question: str,
    reply: str = "I do not know that.",
    *,
    by: str = "ann",
    good: bool | None = None,
    correction: str | None = None,
    reviewer: bool = False,
    **changes: object,
) -> Judged:
    """A judgement of an answer that `by` was given, or, by a reviewer, that somebody unknown was given."""
    call = answer(question, reply={"role": "assistant", "content": reply})
    call = replace(call, subject=subject("somebody" if reviewer else by))
    call = replace(call, **changes)  # type: ignore[arg-type]
    value = good if good is not None else correction is None
    word = thumb(call, value=float(value), correction=correction, created_at=next(_times))
    return Judged(replace(word, actor=by, role=Role.REVIEWER) if reviewer else word, call)


def curated(given: Iterable[Judged], method: Method = Method.SFT, rules: Rules = ALL) -> Curated:
    """What becomes of these judgements."""
    return curate(Material(Harvest(list(given))), method, rules)


def sentence(rng: Random, words: int = 12) -> str:
    """Invented words, so that two sentences are hardly ever alike."""
    return " ".join(rng.choice(WORDS) + rng.choice(WORDS) for _ in range(words))


def replay_rows(number: int, rng: Random) -> list[ReplayRow]:
    return [ReplayRow(f"item-{n}", (Message("user", sentence(rng)),), sentence(rng)) for n in range(number)]


def reasons(result: Curated) -> Counter[Reason]:
    return Counter(exclusion.reason for exclusion in result.exclusions)


def ends(result: Curated) -> list[tuple[str, str]]:
    """Every input that came out, by source, sorted; one that came out twice is there twice."""
    rows = [(row.provenance.source, voice.feedback) for row in result.rows for voice in row.provenance.voices]
    items = [(row.provenance.source, row.provenance.item) for row in result.rows if row.provenance.item is not None]
    return sorted([*rows, *items, *((one.source, one.item) for one in result.exclusions)])
