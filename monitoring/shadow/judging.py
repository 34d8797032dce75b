"""The job that has a shadow judged: first the decoys that a judge must not prefer, then pair by pair, a few a look.

Each pair is asked about in both orders and its verdict kept at once, so that after a restart nothing is asked twice.
Pairs of equal texts are ties and not asked about. While the judge does not work, all waits, and nobody for it. Decides
nothing.
"""

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from sqlalchemy import Connection, Select, exists, select

from core import plan, states, twins, versions
from core.clock import HOUR, Clock, now
from core.errors import BadRequest, DeadlineExceeded, EngineFailed, HoneError, SetupError, Unavailable
from core.lifecycle import Stage
from core.schema import interactions as table
from core.schema import scores
from core.settings import Settings
from core.store import Store, insert_new
from core.types import Finish, Interaction, JsonObject, Score, Subject
from monitoring import history
from monitoring.experiments.exposures import id_from
from monitoring.history import Window
from monitoring.shadow import likes
from monitoring.shadow.controls import SCORES, traps
from monitoring.shadow.judge import Ballot, Judge, poll
from monitoring.shadow.judges import Appointed, Judges
from monitoring.shadow.mirrored import mine
from monitoring.shadow.questions import text_of
from monitoring.shadow.rubric import Complete
from monitoring.shadow.verdicts import AGAIN, FIRST, STATE, VERDICT
from serving import providers
from serving.router import bucket

ATTEMPTS = 3
"""Failures over one pair after which it is left out until they are forgotten."""
FORGET = HOUR
LATE = HOUR // 2
"""How much younger than its answer a mirrored row may be, or it waits until all are looked through again."""
REPEATED = 0.1
"""Share of the pairs that are asked about once more, to see whether the judge agrees with itself."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Item:
    """Two answers to judge, and the scores of `interaction` under which the outcome is kept."""

    interaction: str
    messages: Sequence[JsonObject]
    champion: str
    candidate: str
    verdict: str
    first: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.interaction, self.verdict


@dataclass(frozen=True, slots=True)
class Case:
    """A version in shadow, who judges it, and the decoys that the judge is shown."""

    window: Window
    appointed: Appointed
    decoys: Sequence[Item]


class Judging:
    """The job. Make a new one for each leader: it remembers whom it appointed and what could not be judged."""

    def __init__(
        self, store: Store, settings: Settings, clock: Clock = now, complete: Complete = providers.complete
    ) -> None:
        self._store, self._clock = store, clock
        self._most = settings.judge.pairs_per_tick
        self._judges = Judges(store, settings, complete)
        self._case: Case | None = None
        self._failures: Counter[tuple[str, str]] = Counter()
        self._forgot_at, self._behind = 0, ""

    async def tick(self) -> None:
        """Judge up to `pairs_per_tick` pairs or decoys. Raises HoneError when the judge does not work, and waits."""
        case = await asyncio.to_thread(self._look)
        if case is None or (judge := case.appointed.judge) is None:
            return
        for item in await asyncio.to_thread(self._waiting, case, judge.name):
            await self._judge(case.window, judge, item)
            if item.first and bucket(AGAIN, Subject(item.interaction)) < REPEATED:
                await self._judge(case.window, judge, replace(item, verdict=AGAIN, first=None))

    async def _judge(self, window: Window, judge: Judge, item: Item) -> None:
        try:
            ballot = await poll(judge, item.messages, item.champion, item.candidate)
        except HoneError as error:
            self._fail(item, error)
        else:
            await asyncio.to_thread(self._keep, window, judge.name, item, ballot)

    def _fail(self, item: Item, error: HoneError) -> None:
        """Leave out for a while what the judge cannot take; raise where it is the judge that does not work."""
        match error:
            case BadRequest():
                self._failures[item.key] = ATTEMPTS
            case EngineFailed() | DeadlineExceeded():
                # It may have broken down over this very pair.
                self._failures[item.key] += 1
                raise error
            case SetupError():
                # A key file that is gone is no reason to end monitoring.
                raise Unavailable(error.message, retry_after=60) from error
            case _:
                raise error
        log.warning("%s", error.message, extra={"interaction": item.interaction})

    def _look(self) -> Case | None:
        """The version in shadow now, with its judge; None: there is none."""
        with self._store.read() as conn:
            found, shadow = plan.read(conn), next(iter(versions.at_stage(conn, Stage.SHADOW)), None)
            if found is None or shadow is None:
                return None
            window, until = history.window(conn, shadow, found.champion), history.asked_for(conn, shadow)
        if self._case is None or self._case.window != window:
            self._case = self._open(window, until)
            self._forgot_at = 0
        if self._clock() - self._forgot_at >= FORGET:
            self._failures.clear()
            self._behind, self._forgot_at = "", self._clock()
        return self._case

    def _open(self, window: Window, until: int) -> Case:
        liked = likes.liked(self._store, until, self._judges.measure)
        appointed = self._judges.appoint(until, {each.interaction for each in liked})
        decoys = [
            Item(trap.liked.interaction, trap.liked.messages, trap.liked.text, trap.decoy, SCORES[trap.kind])
            for trap in traps(liked)
        ]
        body = {"source": appointed.judge.name if appointed.judge else None, "says": appointed.says}
        with self._store.write() as conn:
            states.put(conn, STATE + window.version, body, self._clock())
        return Case(window, appointed, decoys)

    def _waiting(self, case: Case, source: str) -> Sequence[Item]:
        """What is to be judged next: decoys before pairs, the oldest pairs first."""
        with self._store.read() as conn:
            done = _tried(conn, case.window, source)
            items = [item for item in case.decoys if item.key not in done and self._failures[item.key] < ATTEMPTS]
            if len(items) < self._most:
                items += self._pairs(conn, case.window, source, self._most - len(items))
        return items[: self._most]

    def _pairs(self, conn: Connection, window: Window, source: str, most: int) -> Iterator[Item]:
        given_up = {answer for (answer, name), times in self._failures.items() if name == VERDICT and times >= ATTEMPTS}
        enough = most + len(given_up)
        found = conn.scalars(_unjudged(window, source).where(table.c.id >= self._behind).limit(enough)).all()
        if len(found) < enough:
            # All before was seen; rows may be late.
            self._behind = id_from(self._clock() - LATE)
        for twin in found:
            if twin in given_up:
                continue
            pair = twins.find(conn, twin)
            old, new = (_said(pair.served), _said(pair.twin)) if pair else ("", "")
            if pair is None or not old or not new:
                self._failures[twin, VERDICT] = ATTEMPTS
                continue
            yield Item(twin, pair.served.messages, old, new, VERDICT, FIRST)

    def _keep(self, window: Window, source: str, item: Item, ballot: Ballot) -> None:
        values: dict[str, float] = {item.verdict: ballot.verdict}
        if item.first:
            values[item.first] = ballot.first
        at, version = self._clock(), window.version
        rows = [
            Score(_identity(item, name, window, source), at, item.interaction, version, source, name, value)
            for name, value in values.items()
        ]
        with self._store.write() as conn:
            insert_new(conn, scores, [asdict(row) for row in rows])


def _said(call: Interaction) -> str:
    return text_of((call.reply or {}).get("content")) or ""


def _identity(item: Item, name: str, window: Window, source: str) -> str:
    """The same whenever it is made, so that a verdict is kept once; 39 characters."""
    said = "\n".join((name, window.version, source))
    return f"{item.interaction}-{hashlib.blake2b(said.encode(), digest_size=6).hexdigest()}"


def _tried(conn: Connection, window: Window, source: str) -> frozenset[tuple[str, str]]:
    """The decoys that this judge has seen, by liked answer and name of the score."""
    wanted = scores.c.name.in_(list(SCORES.values())), scores.c.version == window.version, scores.c.source == source
    return frozenset(
        (answer, name) for answer, name in conn.execute(select(scores.c.interaction, scores.c.name).where(*wanted))
    )


def _unjudged(window: Window, source: str) -> Select[str]:
    """Mirrored answers that say something else than the champion did and have no verdict of this judge yet."""
    served = table.alias()
    verdict = scores.c.interaction == table.c.id, scores.c.name == VERDICT, scores.c.source == source
    return (
        select(table.c.id)
        .join(served, table.c.parent == served.c.id)
        .where(mine(window), table.c.finish.in_((Finish.STOP, Finish.LENGTH)))
        .where(table.c.reply != served.c.reply, table.c.erased_at.is_(None), served.c.erased_at.is_(None))
        .where(~exists().where(*verdict))
        .order_by(table.c.id)
    )
