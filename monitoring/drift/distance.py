"""How far a prompt is from those of the reference: a source of scores about what people ask of the champion.

After a promotion the first prompts fit a space and are measured no more, since their distance would be small by
construction; later ones are. Which ones fitted it is kept, so that after a restart or an erasure it is fitted again to
the texts that are left. With a provider of embeddings texts leave for it and its vectors are the space.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import Connection

from core import erasure, plan, states
from core.clock import Clock, now
from core.errors import EngineFailed, HoneError, SetupError
from core.rules import Drift
from core.settings import Provider
from core.store import Store
from core.text import normalise
from core.types import Interaction, Subject, Version
from monitoring.drift import prompts
from monitoring.drift.prompts import Turn
from monitoring.drift.space import Space, Vectors, distances, fitted, units
from monitoring.drift.streams import ARMS, champion_since
from serving import providers

NAME = "distance"
PREFIX = "distance/"
"""Under it is kept which prompts fitted a version's space."""
MOST_FITTED = 1000
"""More would fit no better a space, and every one is written down when it is chosen."""


Embed = Callable[[Provider, Sequence[str]], Awaitable[list[list[float]]]]


@dataclass(frozen=True, slots=True)
class Reign:
    """A champion since a time, at a count of erasures: what a fitted space holds for."""

    champion: Version
    since: int
    erasures: int


@dataclass(slots=True)
class Reference:
    """The prompts that fit the space of a reign, and the space once there are enough."""

    reign: Reign
    chosen: list[str]
    """The ids of all that were chosen, erased ones included."""
    turns: list[Turn]
    asked: set[tuple[Subject, str]] = field(default_factory=set)
    space: Space | None = None
    places: Vectors | None = None


class Distance:
    """The source. It writes down what it chose, so it belongs to the conductor that leads."""

    name = NAME

    def __init__(
        self, store: Store, settings: Drift, provider: Provider, clock: Clock = now, embed: Embed = providers.embed
    ) -> None:
        self._store = store
        self._enough = min(settings.min_reference, MOST_FITTED)
        self._provider = provider
        self._clock = clock
        self._embed = embed
        self._reference: Reference | None = None

    async def of(self, answer: Interaction) -> Mapping[str, float]:
        """The distance from 0 to 1; nothing while the reference is collected, or of what is no champion's prompt.

        Raises EngineFailed when the provider of embeddings does not answer, SetupError for a wrong configuration.
        """
        text = prompts.asked(answer.messages[-1]) if answer.messages else None
        if text is None:
            return {}
        reference = await asyncio.to_thread(self._ready, answer, text)
        if reference is None or not reference.turns:
            return {}
        if reference.places is None:
            reference.places = await self._fitted(reference)
        placed = await self._placed(reference.space, [text])
        return {NAME: float(distances(placed, reference.places)[0])}

    def _ready(self, answer: Interaction, text: str) -> Reference | None:
        """The complete reference, for an answer that is to be compared with it; one more prompt for it if not."""
        with self._store.read() as conn:
            reference = self._current(conn)
        if reference is None or not _counts(answer, reference.reign) or answer.id in reference.chosen:
            return None
        if len(reference.chosen) >= self._enough:
            return reference
        self._choose(reference, Turn(answer.id, answer.subject, text))
        return None

    def _current(self, conn: Connection) -> Reference | None:
        found = plan.read(conn)
        if found is None:
            return None
        reign = Reign(found.champion, champion_since(conn, found.champion), erasure.serial(conn))
        if self._reference is None or self._reference.reign != reign:
            self._reference = _kept(conn, reign)
        return self._reference

    def _choose(self, reference: Reference, turn: Turn) -> None:
        question = turn.subject, normalise(turn.text)
        if question in reference.asked:
            return
        with self._store.write() as conn:
            if not reference.chosen:
                states.drop(conn, PREFIX)
            name, chosen = f"{PREFIX}{reference.reign.champion}", [*reference.chosen, turn.id]
            states.put(conn, name, {"fitted": chosen}, self._clock())
        reference.asked.add(question)
        reference.chosen.append(turn.id)
        reference.turns.append(turn)

    async def _fitted(self, reference: Reference) -> Vectors:
        texts = [turn.text for turn in reference.turns]
        if not self._provider.model:
            reference.space = await asyncio.to_thread(fitted, texts)
        return await self._placed(reference.space, texts)

    async def _placed(self, space: Space | None, texts: Sequence[str]) -> Vectors:
        if space:
            return await asyncio.to_thread(space.place, texts)
        try:
            return units(np.asarray(await self._embed(self._provider, texts), dtype=np.float32))
        except SetupError:
            raise
        except HoneError as error:
            raise EngineFailed(f"A prompt has no embedding: {error.message}") from error


def _kept(conn: Connection, reign: Reign) -> Reference:
    state = states.read(conn, f"{PREFIX}{reign.champion}")
    # A version that is champion for the second time is compared with what is asked then.
    kept: Sequence[str] = state.body["fitted"] if state and state.updated_at >= reign.since else ()  # type: ignore[assignment]
    turns = prompts.read(conn, kept)
    asked = {(turn.subject, normalise(turn.text)) for turn in turns}
    return Reference(reign, list(kept), list(turns), asked)


def _counts(answer: Interaction, reign: Reign) -> bool:
    return answer.served == reign.champion and answer.arm in ARMS and answer.created_at >= reign.since
