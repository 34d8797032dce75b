"""How likely both versions find the answers that people held to be right, measured for mirrored calls.

The reference is the last correction of the champion's answer, or this answer itself where it was liked. Kept as scores
under a name of their own, so that each call is measured once. Knows nothing of what follows.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import exp

from sqlalchemy import Connection, or_, select

from core import interactions, plan, versions
from core.clock import Clock, now
from core.errors import EngineFailed, EngineUnavailable
from core.ids import new_id
from core.lifecycle import Stage
from core.recent import Recent
from core.schema import feedback, scores
from core.schema import interactions as table
from core.settings import Settings
from core.store import Store, insert_new
from core.types import Interaction, JsonObject, Score, Version
from monitoring import history
from monitoring.feedback.words import standing
from monitoring.history import Window
from monitoring.shadow.mirrored import LIKELIHOOD, mine
from monitoring.terms import Terms, terms
from serving.scoring import Scorer

SOURCE = "engine"
REFUSED = 10_000
"""Calls that the engine would not score, remembered so that they are not asked again."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reference:
    """What was asked in a mirrored call, and the text that is held to be right."""

    interaction: str
    messages: Sequence[JsonObject]
    text: str


class Likelihoods:
    """The job that measures; a few calls a tick."""

    def __init__(self, store: Store, scorer: Scorer, settings: Settings, clock: Clock = now) -> None:
        self._store, self._scorer, self._clock = store, scorer, clock
        self._terms = terms(settings)
        self._most = max(1, settings.monitoring.scores_per_tick // 2)
        self._refused: Recent[str, bool] = Recent(REFUSED)

    async def tick(self) -> None:
        """Measure some of what was not measured yet; while the engine does not answer, it waits."""
        found = await asyncio.to_thread(self._missing)
        if found is None:
            return
        window, references = found
        for reference in references:
            try:
                measured = await self._measure(window, reference)
            except EngineUnavailable:
                return
            if measured:
                await asyncio.to_thread(self._keep, window, reference, measured)
            else:
                self._refused.put(reference.interaction, True)

    async def _measure(self, window: Window, reference: Reference) -> Sequence[float]:
        """Under the champion and the candidate; nothing where the engine will not say. Raises EngineUnavailable."""
        try:
            values = [await self._value(version, reference) for version in (window.champion, window.version)]
        except EngineFailed as error:
            # It may have broken down over this very call, so the others do not wait for it.
            log.warning("%s", error.message, extra={"interaction": reference.interaction})
            return ()
        measured = [value for value in values if value is not None]
        return measured if len(measured) == len(values) else ()

    async def _value(self, version: Version, reference: Reference) -> float | None:
        """The mean probability of a token, 0..1."""
        scored = await self._scorer.score(version, reference.messages, reference.text)
        return None if scored is None else exp(scored.answer)

    def _keep(self, window: Window, reference: Reference, values: Sequence[float]) -> None:
        at = self._clock()
        rows = [
            asdict(Score(new_id(at // 1000), at, reference.interaction, version, SOURCE, LIKELIHOOD, value))
            for version, value in zip((window.champion, window.version), values, strict=True)
        ]
        with self._store.write() as conn:
            insert_new(conn, scores, rows)

    def _missing(self) -> tuple[Window, Sequence[Reference]] | None:
        """Mirrored calls with a reference that the version in shadow was not measured on; None: there is no shadow."""
        with self._store.read() as conn:
            found, shadow = plan.read(conn), next(iter(versions.at_stage(conn, Stage.SHADOW)), None)
            if found is None or shadow is None:
                return None
            window = history.window(conn, shadow, found.champion)
            texts = {call: text for call, text in _texts(conn, window, self._terms).items() if self._is_open(call)}
            calls = interactions.find_all(conn, sorted(texts)[: self._most])
        references = [_reference(call, texts[identity]) for identity, call in calls.items()]
        return window, [reference for reference in references if reference.text and reference.messages]

    def _is_open(self, call: str) -> bool:
        return self._refused.get(call) is None


def _reference(call: Interaction, correction: str | None) -> Reference:
    said = (call.reply or {}).get("content")
    return Reference(call.id, call.messages, correction or (said if isinstance(said, str) else ""))


def _texts(conn: Connection, window: Window, agreed: Terms) -> Mapping[str, str | None]:
    """By call its last correction, or None where the champion's own answer was liked."""
    measured = select(scores.c.interaction).where(scores.c.name == LIKELIHOOD, scores.c.version == window.version)
    parents = select(table.c.parent).where(mine(window), table.c.parent.not_in(measured))
    known = or_(feedback.c.name == agreed.measure.name, feedback.c.corrected.is_(True))
    texts: dict[str, str | None] = {}
    for row in sorted(conn.execute(standing(parents, known)), key=lambda row: (row.created_at, row.id)):
        correction = row.body.get("correction") if row.body else None
        if isinstance(correction, str):
            texts[row.interaction] = correction
        elif row.value is not None and agreed.measure.of(row.value) > 0.5:
            texts.setdefault(row.interaction, None)
    return texts
