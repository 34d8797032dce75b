"""Counts of answers that were asked about: by actor, probability of asking and kind of answer. Small, and adds up.

Actors are counted in GROUPS by a hash, so that no subject is named here and the state stays small; a group counts as
one actor, which makes intervals wider, never narrower. Answers are of a kind with others of about the same length.
Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log

import numpy as np

from core.types import Json, Subject
from monitoring.feedback.propensity import Asks
from serving.router import bucket

GROUPS = 4096
SALT = "quality"
Cell = tuple[int, float, int]
"""Group of actors, probability, kind."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer that was asked about, and its rating between 0 and 1, if it has one."""

    id: str
    subject: Subject
    probability: float
    tokens: int
    rating: float | None

    def cell(self) -> Cell:
        return int(GROUPS * bucket(SALT, self.subject)), self.probability, self.tokens.bit_length() // 2


@dataclass(frozen=True, slots=True)
class Responses:
    """Answers, ratings and ups of each cell."""

    cells: Mapping[Cell, tuple[int, int, float]] = field(default_factory=dict)

    @property
    def asked(self) -> int:
        return sum(asked for asked, _, _ in self.cells.values())

    def plus(self, answers: Iterable[Asked]) -> "Responses":
        """With these answers as well."""
        cells = dict(self.cells)
        for answer in answers:
            cell, said = answer.cell(), answer.rating is not None
            asked, rated, up = cells.get(cell, (0, 0, 0.0))
            cells[cell] = (asked + 1, rated + said, up + (answer.rating or 0.0))
        return Responses(cells)

    def asks(self) -> Asks:
        """As arrays."""
        keys, sums = np.array([*self.cells], float).reshape(-1, 3), np.array([*self.cells.values()], float)
        asked, rated, up = sums.reshape(-1, 3).T
        return Asks(keys[:, 0].astype(np.int64), keys[:, 1], keys[:, 2].astype(np.int64), asked, rated, up)

    def actors(self) -> int:
        """About how many there are: each group may hold several (K.-Y. Whang et al., Linear-time counting, 1990)."""
        groups = len({group for group, _, _ in self.cells})
        return round(-GROUPS * log(1 - min(groups, GROUPS - 1) / GROUPS))

    def to_json(self) -> Sequence[Json]:
        return [[*cell, *sums] for cell, sums in self.cells.items()]


def responses_of(rows: Iterable[Sequence[float]]) -> Responses:
    """What `to_json` made. Raises TypeError or ValueError for anything else."""
    return Responses(
        {
            (int(group), float(probability), int(kind)): (int(asked), int(rated), float(up))
            for group, probability, kind, asked, rated, up in rows
        }
    )
