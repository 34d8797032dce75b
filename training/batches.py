"""The order in which rows are learned: every step's batches, decided beforehand from lengths and a seed. Pure.

Rows of similar length share a batch, so that little is padded. As nothing is left to chance later, an interrupted
training goes on exactly where it was, and tokens and padding are known before the first step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from random import Random

SHELF = 16
"""Batches that are sorted by length together: more would pad less and mix less."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Batches in their order, as places in the list of rows, with what each costs in tokens."""

    batches: Sequence[Sequence[int]]
    tokens: Sequence[int]
    """Real tokens of each batch, from which a step's speed is told."""
    padded: Sequence[int]
    """Tokens of each batch with its padding."""

    @property
    def rows(self) -> list[int]:
        """The rows as one list; equal parts of it are the batches."""
        return [row for batch in self.batches for row in batch]

    @property
    def pad_share(self) -> float:
        return 1 - sum(self.tokens) / sum(self.padded)


@dataclass(frozen=True, slots=True)
class Mixture:
    """Which rows repeat older answers, and the share of all draws that they get."""

    repeated: Sequence[bool]
    share: float


def plan(
    lengths: Sequence[Sequence[int]], rows: int, parts: int, steps: int, seed: int, mixture: Mixture | None = None
) -> Plan:
    """Batches for `steps` of `rows` rows in `parts` batches each; of each kind every row comes once before any twice.

    `lengths` are the tokens of each row's sequences, of which all rows have equally many. With fewer rows than a batch
    takes, rows repeat within it. Repeated answers get the share of a `mixture`, or that which they have if it is less:
    they are there to be many, new lessons to be met often.
    """
    rng = Random(seed)
    is_mixed = mixture and len(set(mixture.repeated)) == 2
    stream = _mixed(mixture, rng) if mixture and is_mixed else _rounds(range(len(lengths)), rng)
    batches = _batches([max(row) for row in lengths], rows // parts, stream, rng)
    chosen = [next(batches) for _ in range(steps * parts)]
    tokens = [sum(sum(lengths[row]) for row in batch) for batch in chosen]
    padded = [sum(len(lengths[row]) for row in batch) * max(max(lengths[row]) for row in batch) for batch in chosen]
    return Plan(chosen, tokens, padded)


def _batches(lengths: Sequence[int], size: int, stream: Iterator[int], rng: Random) -> Iterator[list[int]]:
    # A shelf beyond one round of all rows would put equal rows side by side into one batch.
    shelf = size * max(1, min(SHELF, len(lengths) // size))
    while True:
        taken = sorted((next(stream) for _ in range(shelf)), key=lambda row: lengths[row])
        batches = [taken[start : start + size] for start in range(0, shelf, size)]
        rng.shuffle(batches)
        yield from batches


def _mixed(mixture: Mixture, rng: Random) -> Iterator[int]:
    """New rows and repeated ones in turn, as the share says, each kind in rounds of its own."""
    new = [row for row, repeated in enumerate(mixture.repeated) if not repeated]
    old = [row for row, repeated in enumerate(mixture.repeated) if repeated]
    share = min(Fraction(mixture.share).limit_denominator(1000), Fraction(len(old), len(mixture.repeated)))
    lessons, repetitions = _rounds(new, rng), _rounds(old, rng)
    for drawn in count(1):
        due = int(drawn * share) > int((drawn - 1) * share)
        yield next(repetitions if due else lessons)


def _rounds(rows: Sequence[int], rng: Random) -> Iterator[int]:
    while True:
        yield from rng.sample(rows, len(rows))
