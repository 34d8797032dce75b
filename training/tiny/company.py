"""The invented company: its services and the one fact of each for every kind of question.

Knows the answers; knows nothing of how people ask.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import resources


class Kind(StrEnum):
    """What people ask about a service."""

    HOURS = "hours"
    PRICE = "price"
    PLACE = "place"
    CONTACT = "contact"


SENTENCES: Mapping[Kind, str] = {
    Kind.HOURS: "The {name} is open {fact}.",
    Kind.PRICE: "The {name} charges {fact}.",
    Kind.PLACE: "The {name} is {fact}.",
    Kind.CONTACT: "For the {name}, call {fact}.",
}


@dataclass(frozen=True, slots=True)
class Service:
    """A service with its facts; one without facts is a stranger, about which nothing is known."""

    name: str
    also: tuple[str, ...] = ()
    facts: Mapping[Kind, str] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether it has facts."""
        return bool(self.facts)

    def answer(self, kind: Kind) -> str:
        """Return the one right answer; KeyError for a stranger."""
        return SENTENCES[kind].format(name=self.name, fact=self.facts[kind])


@dataclass(frozen=True, slots=True)
class Company:
    """The taught services, and two sets of new ones that hone-tiny never sees."""

    name: str
    taught: tuple[Service, ...]
    shifted: tuple[Service, ...]
    novel: tuple[Service, ...]


def read_pool(name: str) -> dict[str, object]:
    """Read one file of pools/; the caller checks its shape."""
    text = resources.files("training.tiny").joinpath("pools", f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def load_company() -> Company:
    """Read pools/company.toml."""
    pool = read_pool("company")
    return Company(
        str(pool["name"]),
        services_of(pool["taught"]),
        services_of(pool["shifted"]),
        services_of(pool["novel"]),
    )


def texts(value: object) -> tuple[str, ...]:
    """Return a list of texts as a tuple; TypeError for anything else."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"a pool must be a list of texts, not {value!r}")
    return tuple(value)


def table(value: object) -> dict[str, object]:
    """Return a table of a pool; TypeError for anything else."""
    if not isinstance(value, dict):
        raise TypeError(f"expected a table in a pool, not {value!r}")
    return value


def services_of(rows: object) -> tuple[Service, ...]:
    """Read services with their facts; TypeError for anything else."""
    if not isinstance(rows, list):
        raise TypeError(f"services must be a list of tables, not {rows!r}")
    return tuple(_service(table(row)) for row in rows)


def _service(row: dict[str, object]) -> Service:
    return Service(str(row["name"]), texts(row["also"]), {kind: str(row[kind]) for kind in Kind})
