"""Questions and answers reduced to digests that are equal when two texts say the same, and what was liked before.

A digest stands for a text up to case, spaces and punctuation (core/text.py), so no text stays in memory.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from core import conversation, interactions, judgements
from core.interactions import measures
from core.recent import Recent
from core.schema import feedback as feedback_table
from core.store import Store
from core.text import normalise
from core.types import Arm, Feedback, Interaction, Json, JsonObject
from monitoring.terms import Measure

PAGE = 500
MOST = 20_000
"""Judgements before a run that are looked at, the newest ones."""
KNOWN = 100_000
_INSTRUCTING = frozenset({"system", "developer"})


def question(messages: Iterable[JsonObject]) -> str | None:
    """What two conversations share that ask the same; the operator's instructions are left out. None: no text."""
    said = [answer(message) for message in messages if message.get("role") not in _INSTRUCTING]
    return _digest("\n".join(filter(None, said))) if said and None not in said else None


def answer(message: JsonObject | None) -> str | None:
    """What two answers share that say the same; None for an answer that is not text."""
    said = text_of(message.get("content")) if message else None
    return None if said is None else _digest(normalise(said))


def text_digest(text: str) -> str:
    """The same for a bare text, such as a correction."""
    return _digest(normalise(text))


@dataclass(frozen=True, slots=True)
class Skills:
    """Questions that had a liked answer before a time, with the digests of these answers."""

    liked: Mapping[str, frozenset[str]]

    def answers(self, asked: str | None) -> frozenset[str]:
        """The liked answers to a question; none for a new one."""
        return self.liked.get(asked, frozenset()) if asked else frozenset()


def skills(store: Store, until: int, measure: Measure) -> Skills:
    """What was answered well before `until` (microseconds), by the newest judgements given before."""
    liked: defaultdict[str, set[str]] = defaultdict(set)
    for judgement, call in judged(store, until, measure):
        asked, said = question(call.messages), answer(call.reply)
        if asked is None or said is None:
            continue
        if judgement.correction is not None:
            # What is corrected was right no longer, unless the correction says the same.
            liked[asked] &= {text_digest(judgement.correction)}
        elif judgement.name == measure.name and judgement.value is not None:
            (liked[asked].add if measure.of(judgement.value) > 0.5 else liked[asked].discard)(said)
    return Skills({asked: frozenset(texts) for asked, texts in liked.items() if texts})


class Asked:
    """Remembers which question a call asked, by the last message that it was given."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: Recent[str, tuple[str | None]] = Recent(KNOWN)

    def read(self, leaves: Iterable[str]) -> Mapping[str, str | None]:
        """The questions that end at these messages."""
        found: dict[str, str | None] = {}
        missing: list[str] = []
        for leaf in set(leaves):
            if (known := self._known.get(leaf)) is not None:
                found[leaf] = known[0]
            else:
                missing.append(leaf)
        for start in range(0, len(missing), PAGE):
            with self._store.read() as conn:
                branches = conversation.read(conn, missing[start : start + PAGE])
            found |= {leaf: question(messages) for leaf, messages in branches.items()}
        for leaf in missing:
            self._known.put(leaf, (found.get(leaf),))
        return found


def judged(store: Store, until: int, measure: Measure, most: int = MOST) -> Iterator[tuple[Feedback, Interaction]]:
    """The newest judgements that stand and the calls they are about, oldest first."""
    after: tuple[int, str] | None = None
    start = _start(store, until, measure, most)
    while True:
        with store.read() as conn:
            found = judgements.since(conn, start, until, after, PAGE)
            calls = interactions.find_all(conn, {judgement.interaction for judgement in found})
        for judgement in found:
            call = calls.get(judgement.interaction)
            if call is not None and _teaches(judgement, call):
                yield judgement, call
        if len(found) < PAGE:
            return
        after = found[-1].created_at, found[-1].id


def _start(store: Store, until: int, measure: Measure, most: int) -> int:
    table = feedback_table.c
    older = select(table.created_at).where(table.name == measure.name, table.created_at < until)
    with store.read() as conn:
        return conn.scalar(older.order_by(table.created_at.desc()).offset(most).limit(1)) or 0


def _teaches(judgement: Feedback, call: Interaction) -> bool:
    return judgements.stands(judgement) and call.arm is not Arm.SHADOW and not measures(call)


def text_of(content: Json) -> str | None:
    """A message's text; its parts, if all are text, in lines."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return None
    parts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
    texts = [part for part in parts if isinstance(part, str)]
    return "\n".join(texts) if len(texts) == len(parts) else None


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()
