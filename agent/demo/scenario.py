"""What is played: the rows of a file by phase, and which of them are kept back to measure with.

The first phase of the file is ordinary traffic, the later ones are the shift. Knows nothing of how rows are played.
"""

import hashlib
import json
import sysconfig
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from random import Random

from agent.cli.customers import Row, read_rows
from core.errors import BadRequest, SetupError
from core.text import normalise

FIELDS = ("id", "phase", "user", "prompt", "messages", "answer")
DEFAULT = "helpdesk.jsonl"
ROWS_A_USER = 5
"""One person is one voice: what somebody asks beyond this is asked by another customer of the same name."""
ALIKE = 0.8
"""The part of their runs of characters that two questions with their answers share when they teach the same."""
ORDINARY_A_SHIFTED = 2
"""Where phases are mixed, so many ordinary questions come with each one of the shift."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Rows of one phase in the order of the file: those that are played, and those that only measure."""

    name: str
    played: tuple[Row, ...]
    held_back: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """Ordinary traffic, and what it shifts to."""

    ordinary: Phase
    shifted: tuple[Phase, ...]

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (self.ordinary, *self.shifted)

    @property
    def held_back(self) -> tuple[Row, ...]:
        return tuple(row for phase in self.phases for row in phase.held_back)


def is_held_back(row_id: str) -> bool:
    """Whether a row is never played, to measure with: one in three, by its id."""
    return int(hashlib.sha256(row_id.encode()).hexdigest(), 16) % 3 == 0


def read(path: Path) -> Scenario:
    """The scenario in a file of `hone replay`'s form.

    Raises BadRequest that names the line and the field, or the phase that cannot be played.
    """
    rows = read_rows(path, ())
    check_fields(path)
    phases = split(rows)
    if len(phases) < 2:
        have = f"only the phase {phases[0].name!r}" if phases else "no rows"
        raise BadRequest(f"{path} has {have}; a demo needs ordinary traffic first and then a phase that differs.")
    for phase in phases:
        if not phase.played or not phase.held_back:
            kept = "to measure with" if phase.played else "to play"
            raise BadRequest(f"{path}: phase {phase.name!r} has no row {kept}; about one row in three is held back.")
    return Scenario(phases[0], tuple(phases[1:]))


def check_fields(path: Path) -> None:
    """Raise BadRequest for a field that no row has."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        unknown = sorted(set(json.loads(line)) - set(FIELDS)) if line.strip() else []
        if unknown:
            raise BadRequest(f"{path}, line {number}: unknown field {unknown[0]!r}; a row has {', '.join(FIELDS)}.")


def split(rows: Sequence[Row]) -> list[Phase]:
    """The phases in the order in which they first appear."""
    names = dict.fromkeys(row.phase for row in rows)
    return [_phase(name, [row for row in rows if row.phase == name]) for name in names]


def _phase(name: str, rows: Sequence[Row]) -> Phase:
    return Phase(
        name,
        tuple(row for row in rows if not is_held_back(row.id)),
        tuple(row for row in rows if is_held_back(row.id)),
    )


def distinct(rows: Sequence[Row]) -> int:
    """About how many lessons rows can teach: what says almost the same, with the same answer, counts once."""
    known: dict[str, list[frozenset[str]]] = {}
    for row in rows:
        said = frozenset[str]().union(*(_runs(str(message["content"])) for message in row.messages), _runs(row.answer))
        others = known.setdefault(normalise(row.answer), [])
        if all(len(said & other) < ALIKE * len(said | other) for other in others):
            others.append(said)
    return sum(map(len, known.values()))


def _runs(text: str) -> frozenset[str]:
    """All runs of five characters of a text, without case, spaces and punctuation."""
    plain = normalise(text)
    return frozenset(plain[start : start + 5] for start in range(max(1, len(plain) - 4)))


def visits(rows: Sequence[Row]) -> list[Row]:
    """Rows as they are played: a customer who asks a lot is several people."""
    asked: Counter[str] = Counter()
    played: list[Row] = []
    for row in rows:
        played.append(_by(row, asked[row.user] // ROWS_A_USER + 1))
        asked[row.user] += 1
    return played


def crowd(scenario: Scenario, seed: int) -> Iterator[Row]:
    """Customers without end, each one new, who ask what is played in any phase."""
    rng = Random(seed)
    ordinary = _again(scenario.ordinary.played, rng)
    shifted = _again([row for phase in scenario.shifted for row in phase.played], rng)
    numbers = count(1000)
    while True:
        for row in (*islice(ordinary, ORDINARY_A_SHIFTED), *islice(shifted, 1)):
            yield _by(row, next(numbers))


def _again(rows: Sequence[Row], rng: Random) -> Iterator[Row]:
    """All rows over and over, each time in another order."""
    while True:
        yield from rng.sample(rows, len(rows))


def _by(row: Row, number: int) -> Row:
    return row if number == 1 else replace(row, user=f"{row.user}#{number}")


def default_path() -> Path:
    """The scenario that ships with Hone: in a checkout among the examples, else where the wheel put them.

    Raises SetupError where it is in neither place.
    """
    checkout = Path(__file__).parents[2] / "examples"
    installed = Path(sysconfig.get_path("data"), "share", "hone", "examples")
    for folder in (checkout, installed):
        if (folder / DEFAULT).is_file():
            return folder / DEFAULT
    raise SetupError(f"The example traffic {DEFAULT} was not installed; name a file with --scenario.")
