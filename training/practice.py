"""What a base can do already, as rows to repeat beside new lessons: hone-tiny's own, or a file of the model's owner."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from core.errors import SetupError
from serving.base import BUILT_IN, Base
from training.rows import Message, ReplayRow
from training.tiny.conversation import Conversation, conversations, load_desk, messages_of
from training.tiny.examples import old_skill_rows

SEED = 11
LONGEST = 3
"""Turns: longer conversations cost time and teach nothing that shorter ones do not."""


def practice(base: Base, file: str, count: int) -> list[ReplayRow]:
    """Up to `count` rows, the same each time: those of the file if one is named, else hone-tiny's, else none.

    Raises SetupError for a file that cannot be read, naming the line.
    """
    if file:
        return list(islice(_read(Path(file).expanduser().absolute()), count))
    return list(islice(_lessons(), count)) if base.folder == BUILT_IN else []


def _lessons() -> Iterator[ReplayRow]:
    """What hone-tiny was taught with, but for the questions that examine it."""
    desk = load_desk()
    examined = {row.conversation.turns[-1].user for row in old_skill_rows(desk)}
    for number, conversation in enumerate(conversations(desk, SEED)):
        turns = conversation.turns
        if len(turns) <= LONGEST and examined.isdisjoint(turn.user for turn in turns):
            yield _row(f"practice/{number}", conversation)


def _row(item: str, conversation: Conversation) -> ReplayRow:
    said = [Message(str(each["role"]), str(each["content"])) for each in messages_of(conversation, False)]
    return ReplayRow(item, tuple(said), conversation.turns[-1].answer)


def _read(path: Path) -> Iterator[ReplayRow]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise SetupError(f"training.replay names {path}, which cannot be read: {error.strerror}.") from None
    for number, line in enumerate(lines, start=1):
        try:
            yield _parsed(f"line {number}", orjson.loads(line))
        except (ValueError, TypeError, LookupError) as error:
            raise SetupError(
                f"Line {number} of {path} (training.replay) is no row: {error!r:.100}. A row is one JSON object with "
                '"prompt" or "messages", and "answer".'
            ) from None


def _parsed(item: str, found: dict[str, Any]) -> ReplayRow:
    asked = found["messages"] if "messages" in found else [{"role": "user", "content": found["prompt"]}]
    said = tuple(Message(str(each["role"]), str(each["content"])) for each in asked)
    return ReplayRow(str(found.get("id", item)), said, str(found["answer"]))
