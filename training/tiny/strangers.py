"""Services that nobody taught: real words, invented words, and taught words put together wrongly."""

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from .company import Service, read_pool, texts
from .phrasing import Pool

INVENTED_TRAIN = 400
INVENTED_HELD = 120


@dataclass(frozen=True, slots=True)
class Strangers:
    """Names without facts; the held halves never occur in training."""

    real: Pool
    invented: Pool
    modifiers: Pool
    beginnings: tuple[str, ...]
    heads: tuple[str, ...]
    known: frozenset[str]

    def draw(self, rng: Random, held: bool = False) -> Service:
        """Draw a stranger: a real word, an invented one, or some word before the last word of a taught name."""
        form = rng.random()
        if form < 0.3:
            name = rng.choice(self.real.of(held))
        elif form < 0.55:
            name = rng.choice(self.invented.of(held))
        else:
            before = (self.invented.of(held), self.modifiers.of(held), self.beginnings)
            name = f"{rng.choice(rng.choices(before, weights=(4, 4, 2))[0])} {rng.choice(self.heads)}"
        reserved = name in self.known or (name in self.real.held and not held)
        return self.draw(rng, held) if reserved else Service(name)

    def word(self, rng: Random, held: bool = False) -> str:
        """Draw an invented word."""
        return rng.choice(self.invented.of(held))


def load_strangers(taught: Iterable[Service]) -> Strangers:
    """Read pools/strangers.toml and invent the words, always the same ones."""
    pool = read_pool("strangers")
    words = _invent(Random(400), texts(pool["syllables"]), texts(pool["word_ends"]))
    services = tuple(taught)
    known = frozenset(name for service in services for name in (service.name, *service.also))
    return Strangers(
        Pool(texts(pool["train"]), texts(pool["held"])),
        Pool(words[:INVENTED_TRAIN], words[INVENTED_TRAIN:]),
        Pool(texts(pool["modifiers"]), texts(pool["held_modifiers"])),
        tuple(dict.fromkeys(name.rsplit(maxsplit=1)[0] for name in sorted(known) if " " in name)),
        tuple(dict.fromkeys(name.split()[-1] for name in sorted(known))),
        known,
    )


def _invent(rng: Random, syllables: tuple[str, ...], ends: tuple[str, ...]) -> tuple[str, ...]:
    words: dict[str, None] = {}
    while len(words) < INVENTED_TRAIN + INVENTED_HELD:
        words["".join(rng.choices(syllables, k=rng.choice((2, 2, 3)))) + rng.choice(ends)] = None
    return tuple(words)
