"""Rows on their way into the ledger, and the line of text that they wait in while the database does not work.

A line is the CRC-32 of its JSON in eight hex digits, a space, the JSON and a newline. Knows no file and no database.
"""

import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum

import orjson

from core.errors import NotStored


@dataclass(frozen=True, slots=True)
class Row:
    """One row to be: the name of its table and its values as JSON knows them, by column."""

    table: str
    values: Mapping[str, object]


Unit = Sequence[Row]
"""Rows that belong together: all of them are kept, or none."""


class Kept(StrEnum):
    """How a unit is kept: in the database, on the local disk, or only in memory (which is not durable)."""

    COMMITTED = "committed"
    SPOOLED = "spooled"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Entry:
    """A unit, whether it may wait in memory, and the future that says how it is kept."""

    unit: Unit
    hold: bool
    future: Future[Kept]

    def refuse(self, cause: str) -> None:
        """Tell that nothing keeps the unit."""
        self.future.set_exception(NotStored(f"This could not be stored ({cause}); try again.", retry_after=1))


def size(units: Sequence[Unit]) -> int:
    """How many rows these are."""
    return sum(map(len, units))


def encode(unit: Unit) -> bytes:
    """The unit as one line. Raises TypeError for what JSON lacks (a lone surrogate, an integer over 64 bits)."""
    body = orjson.dumps([[row.table, row.values] for row in unit])
    return b"%08x %s\n" % (zlib.crc32(body), body)


def decode(line: bytes) -> Unit:
    """The unit in a line; raises ValueError when the line is damaged."""
    checksum, _, body = line.rstrip(b"\n").partition(b" ")
    if checksum != b"%08x" % zlib.crc32(body):
        raise ValueError("the checksum does not match")
    return [Row(table, values) for table, values in orjson.loads(body)]
