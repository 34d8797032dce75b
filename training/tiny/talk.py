"""What people say around their questions: greetings, small talk, and what has nothing to do with the company."""

from collections.abc import Mapping
from dataclasses import dataclass

from .company import read_pool, table, texts
from .phrasing import Pool


@dataclass(frozen=True, slots=True)
class SmallTalk:
    """One kind of small talk with its one answer."""

    answer: str
    phrases: Pool


@dataclass(frozen=True, slots=True)
class Talk:
    """All pools of pools/talk.toml."""

    unknown: str
    which_service: str
    which_fact: str
    greetings: tuple[str, ...]
    endings: tuple[str, ...]
    systems: tuple[str, ...]
    small_talk: Mapping[str, SmallTalk]
    off_topic: Pool


def load_talk() -> Talk:
    """Read pools/talk.toml."""
    pool = read_pool("talk")
    off_topic = table(pool["off_topic"])
    return Talk(
        str(pool["unknown"]),
        str(pool["which_service"]),
        str(pool["which_fact"]),
        texts(pool["greetings"]),
        texts(pool["endings"]),
        texts(pool["systems"]),
        {name: _small_talk(table(row)) for name, row in table(pool["small_talk"]).items()},
        Pool(texts(off_topic["train"]), texts(off_topic["held"])),
    )


def _small_talk(row: dict[str, object]) -> SmallTalk:
    return SmallTalk(str(row["answer"]), Pool(texts(row["train"]), texts(row["held"])))
