"""How people ask: templates of questions, which of them are held out, and the small noise of typing.

A phrasing is a text with a place for the service; knows neither services nor answers.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from .company import Kind, read_pool, table, texts

SLOTS: Mapping[str, str] = {"{d}": "days", "{x}": "adjectives", "{y}": "things", "{z}": "verbs"}
HELD_ONE_IN = 8  # share of the pairs (service, phrasing) that training never sees


@dataclass(frozen=True, slots=True)
class Pool:
    """Texts that training may see, and texts that it never sees."""

    train: tuple[str, ...]
    held: tuple[str, ...]

    def of(self, held: bool) -> tuple[str, ...]:
        """Return one of the two halves."""
        return self.held if held else self.train


@dataclass(frozen=True, slots=True)
class Forms:
    """The ways to ask for one kind of fact."""

    direct: Pool
    clauses: Pool
    phrases: Pool
    keywords: Pool
    follow: Pool


@dataclass(frozen=True, slots=True)
class Phrasebook:
    """All pools of pools/phrasing.toml."""

    clause_leads: Pool
    phrase_leads: Pool
    forms: Mapping[Kind, Forms]
    next_service: Pool
    bare: Pool
    odd: Pool
    slots: Mapping[str, Pool]

    def templates(self, kind: Kind, held: bool = False) -> tuple[tuple[str, ...], ...]:
        """Return the families of whole questions of a kind; held out: some part of each was never seen."""
        forms = self.forms[kind]
        return (
            forms.direct.of(held),
            _composed(self.clause_leads, "{c}", forms.clauses, held),
            _composed(self.phrase_leads, "{p}", forms.phrases, held),
            forms.keywords.of(held),
        )

    def draw(self, rng: Random, kind: Kind, held: bool = False) -> str:
        """Draw a whole question: first the family, so that no family drowns another."""
        families = self.templates(kind, held)
        return rng.choice(rng.choices(families, weights=(35, 30, 20, 15))[0])


def load_phrasebook() -> Phrasebook:
    """Read pools/phrasing.toml."""
    pool = read_pool("phrasing")
    return Phrasebook(
        _pool(pool["clause_leads"]),
        _pool(pool["phrase_leads"]),
        {kind: _forms(table(pool[kind])) for kind in Kind},
        _pool(pool["next_service"]),
        _pool(pool["bare"]),
        _pool(pool["odd"]),
        {mark: _pool(pool[name]) for mark, name in SLOTS.items()},
    )


def is_held_pair(service: str, template: str) -> bool:
    """Whether training never sees this service in this phrasing."""
    digest = hashlib.sha256(f"{service}|{template}".encode()).digest()
    return digest[0] % HELD_ONE_IN == 0


def fill(template: str, name: str) -> str:
    """Put a service into a template and start with a capital letter."""
    article = "an" if name[0] in "aeiou" else "a"
    text = template.replace("{t}", f"the {name}").replace("{n}", name).replace("{a}", f"{article} {name}")
    return text[:1].upper() + text[1:]


def complete(rng: Random, template: str, slots: Mapping[str, Pool], held: bool) -> str:
    """Put a day, an adjective, a thing or a verb where the template asks for one."""
    for mark, pool in slots.items():
        while mark in template:
            template = template.replace(mark, rng.choice(pool.of(held)), 1)
    return template


def dress(rng: Random, text: str, greetings: tuple[str, ...], endings: tuple[str, ...]) -> str:
    """Add a greeting or an ending now and then, as people do."""
    if rng.random() < 0.2:
        text = f"{rng.choice(greetings)}{rng.choice((', ', '! ', ' - ', ' '))}{_lower_first(text)}"
    if rng.random() < 0.12:
        text = f"{text} {rng.choice(endings)}"
    return text


def scribble(rng: Random, text: str) -> str:
    """Type carelessly now and then: no capitals, no final mark."""
    if rng.random() < 0.3:
        text = text.lower()
    if rng.random() < 0.3:
        text = text.rstrip(".?!") or text
    return text


def misspell(rng: Random, template: str) -> str:
    """Swap or drop one letter of one longer word of a template, never of the service."""
    words = template.split(" ")
    places = [i for i, word in enumerate(words) if len(word) > 4 and "{" not in word]
    if not places:
        return template
    place = rng.choice(places)
    word = words[place]
    at = rng.randrange(1, len(word) - 2)
    swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    words[place] = rng.choice((swapped, word[:at] + word[at + 1 :]))
    return " ".join(words)


def _composed(leads: Pool, mark: str, parts: Pool, held: bool) -> tuple[str, ...]:
    if not held:
        return _cross(leads.train, mark, parts.train)
    return _cross(leads.train, mark, parts.held) + _cross(leads.held, mark, parts.train + parts.held)


def _cross(leads: tuple[str, ...], mark: str, parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(lead.replace(mark, part) for lead in leads for part in parts)


def _lower_first(text: str) -> str:
    return text if text.startswith(("I ", "I'")) else text[:1].lower() + text[1:]


def _forms(row: dict[str, object]) -> Forms:
    return Forms(*(_pool(row[name]) for name in ("direct", "clauses", "phrases", "keywords", "follow")))


def _pool(row: object) -> Pool:
    halves = table(row)
    return Pool(texts(halves["train"]), texts(halves["held"]))
