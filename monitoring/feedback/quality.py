"""The job that says how good the answers of the champion and of the version on trial are, as far as people told.

Only answers whose rating was asked for at random count, each with what its own subject said of it last. Until SETTLED
an answer may still be rated, so the young ones are read anew each time; older ones are added up once and for all, and
ratings that come later are left out. What reviewers say of the answers drawn for them is a second estimate, by the
probabilities of the draws alone. Knows rows; the estimates are those of propensity.py.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, Select, func, select

from core import plan, reports, states
from core.clock import HOUR, SECOND, Clock, now
from core.interactions import not_measuring
from core.reports import ReportKind
from core.schema import asks, feedback
from core.schema import interactions as answers
from core.schema import states as documents
from core.store import Store
from core.types import Arm, Finish, JsonObject, Plan, Role, Version
from monitoring.drift.arrivals import LOOK_BACK, time_of
from monitoring.feedback import propensity, words
from monitoring.feedback.propensity import Asks, Estimates, Share
from monitoring.feedback.responses import Asked, Responses, responses_of
from monitoring.terms import Measure

SETTLED = HOUR
AT_ONCE = 20_000
"""Most answers that are read in one look."""
PACE = 60 * SECOND
GROWTH = 0.02
"""By how much the answers must have grown for a report before its time."""
DRAWS = 5000
"""The newest draws for reviewers that count."""
STATE = "quality"
_ARMS = (Arm.CHAMPION, Arm.CHALLENGER, Arm.HOLDBACK, Arm.PINNED)
_WHOLE = (Finish.STOP, Finish.LENGTH)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the answers of a version were read: up to `cursor` they are in `settled`, `newest` was seen last."""

    settled: Responses
    cursor: str = ""
    newest: str = ""
    asked: int = 0
    at: int = 0


class Quality:
    """The job. `measure` is the metric by which ratings are asked for. Make a new one for each leader."""

    def __init__(self, store: Store, measure: Measure, clock: Clock = now) -> None:
        self._store = store
        self._measure = measure
        self._clock = clock
        self._progress: dict[Version, Progress] = {}

    async def tick(self) -> None:
        """Report on the versions that are being rated, where a report is due."""
        await asyncio.to_thread(self._look)

    def _look(self) -> None:
        at = self._clock()
        with self._store.read() as conn:
            found = plan.read(conn)
            if found is None:
                return
            looks = [self._read(conn, version, at) for version in _rated(found) if self._is_due(conn, version, at)]
        if looks:
            with self._store.write() as conn:
                _forget(conn, found)
                for look in looks:
                    look.keep(conn, self._progress.get(look.version), at)
        for look in looks:
            self._progress[look.version] = look.progress

    def _is_due(self, conn: Connection, version: Version, at: int) -> bool:
        progress = self._progress.get(version)
        if progress is None or at - progress.at >= PACE:
            return True
        enough = max(1, round(GROWTH * progress.asked))
        news = _asked(version, progress.newest).with_only_columns(answers.c.id).limit(enough).subquery()
        return conn.scalar(select(func.count()).select_from(news)) == enough

    def _read(self, conn: Connection, version: Version, at: int) -> "Look":
        progress = self._progress.get(version) or _resumed(conn, version)
        page = self._page(conn, version, progress.cursor)
        settled = [answer for answer in page if time_of(answer.id) <= at - SETTLED]
        if not settled and len(page) == AT_ONCE:
            settled = [answer for answer in page if time_of(answer.id) <= at - LOOK_BACK]
        done = progress.settled.plus(settled)
        responses = done.plus(page[len(settled) :])
        cursor = settled[-1].id if settled else progress.cursor
        newest = max(progress.newest, page[-1].id) if page else progress.newest
        reviewers = self._reviewers(conn, version)
        return Look(version, Progress(done, cursor, newest, responses.asked, at), report(responses, reviewers))

    def _page(self, conn: Connection, version: Version, cursor: str) -> Sequence[Asked]:
        query = _asked(version, cursor).limit(AT_ONCE)
        said = words.standing(
            query.with_only_columns(answers.c.id),
            feedback.c.name == self._measure.name,
            feedback.c.role == Role.USER,
            feedback.c.value.is_not(None),
        )
        ratings = {row.interaction: self._measure.of(row.value) for row in conn.execute(said)}
        return [
            Asked(row.id, row.subject, row.asked, row.completion_tokens or 0, ratings.get(row.id))
            for row in conn.execute(query)
        ]

    def _reviewers(self, conn: Connection, version: Version) -> JsonObject | None:
        """What reviewers said of the answers of a version that were drawn for them."""
        columns = (asks.c.interaction, asks.c.actor, asks.c.propensity, asks.c.reason, answers.c.subject)
        joined = select(*columns).join(answers, answers.c.id == asks.c.interaction)
        drawn = conn.execute(joined.where(answers.c.served == version).order_by(asks.c.id.desc()).limit(DRAWS)).all()
        if not drawn:
            return None
        among = select(asks.c.interaction).order_by(asks.c.id.desc()).limit(DRAWS)
        said = words.standing(
            among,
            feedback.c.name == self._measure.name,
            feedback.c.role != Role.USER,
            feedback.c.value.is_not(None),
        )
        ratings = {(row.interaction, row.actor): self._measure.of(row.value) for row in conn.execute(said)}
        values = [ratings.get((row.interaction, row.actor)) for row in drawn]
        share = _weighed([row.subject for row in drawn], [row.propensity for row in drawn], values)
        reasons = [str(row.reason) for row in drawn]
        return {
            "drawn": len(drawn),
            "rated": sum(value is not None for value in values),
            "reviewers": len({row.actor for row in drawn}),
            "reasons": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
            **_share(share),
            "ess": round(share.size, 1),
        }


@dataclass(frozen=True, slots=True)
class Look:
    """What one look brings; nothing is changed before it is in the ledger."""

    version: Version
    progress: Progress
    report: JsonObject

    def keep(self, conn: Connection, before: Progress | None, at: int) -> None:
        """Publish, and keep what is settled, as far as it is news."""
        if before is None or before.cursor != self.progress.cursor:
            body: JsonObject = {"cursor": self.progress.cursor, "cells": self.progress.settled.to_json()}
            states.put(conn, f"{STATE}/{self.version}", body, at)
        kept = reports.find(conn, ReportKind.QUALITY, self.version)
        if kept is None or {**kept.body, "at": 0} != {**self.report, "at": 0}:
            reports.put(conn, ReportKind.QUALITY, self.version, {**self.report, "at": at}, at)


def report(responses: Responses, reviewers: JsonObject | None = None) -> JsonObject:
    """What is published of a version, but for the time."""
    found = propensity.estimates(responses.asks(), responses.actors())
    return {
        "says": says(found),
        "asked": found.asked,
        "rated": found.rated,
        "response_rate": found.response.value,
        "up_per_ask": _share(found.up),
        "down_per_ask": _share(found.down),
        "ipw": {**_share(found.ipw), "ess": round(found.ipw.size, 1)},
        "manski": {"low": found.manski.low, "high": found.manski.high},
        "quality": {"low": found.quality.low, "high": found.quality.high},
        "reviewers": reviewers,
        "actors": found.actors,
        "largest_weight": found.largest_weight,
        "largest_uncapped": found.largest_uncapped,
    }


def says(found: Estimates) -> str:
    """One sentence or two. What is called good is an interval: silence may mean anything."""
    if not found.asked:
        return "No answer was asked about yet."
    quality = f"Between {found.quality.low:.0%} and {found.quality.high:.0%} of the answers are good"
    basis = f"{found.rated} of {found.asked} that were asked about were rated, by about {found.actors} people"
    point = found.ipw
    if point.value is None or 2 * found.rated < found.asked:
        return f"{quality}, whatever those think who were silent: {basis}."
    return (
        f"{quality}, whatever those think who were silent: {basis}. If silence says nothing about the answer, "
        f"it is {point.value:.0%} ({point.low:.0%} to {point.high:.0%})."
    )


def _rated(found: Plan) -> Sequence[Version]:
    """The versions whose answers people rate: the champion, and the one on trial."""
    return [found.champion, *([found.split.challenger] if found.split else [])]


def _asked(version: Version, after: str) -> Select[tuple[str, str, float, int | None]]:
    """The answers of a version behind an id that were asked about, oldest first; not those in another's place."""
    return (
        select(answers.c.id, answers.c.subject, answers.c.asked, answers.c.completion_tokens)
        .where(
            answers.c.served == version,
            answers.c.assigned == version,
            answers.c.id > after,
            answers.c.asked.is_not(None),
            answers.c.arm.in_(_ARMS),
            answers.c.finish.in_(_WHOLE),
            not_measuring(),
        )
        .order_by(answers.c.id)
    )


def _resumed(conn: Connection, version: Version) -> Progress:
    state = states.read(conn, f"{STATE}/{version}")
    if state is None:
        return Progress(Responses())
    cells: Sequence[Sequence[float]] = state.body["cells"]  # type: ignore[assignment]
    return Progress(responses_of(cells), str(state.body["cursor"]))


def _forget(conn: Connection, found: Plan) -> None:
    """Drop the counts of versions that are not served any more; should one come back, it is read from its start."""
    kept = select(documents.c.name).where(documents.c.name.startswith(f"{STATE}/"))
    for name in conn.scalars(kept).all():
        if name.removeprefix(f"{STATE}/") not in found.live():
            states.drop(conn, name)


def _weighed(subjects: Sequence[str], chances: Sequence[float], values: Sequence[float | None]) -> Share:
    rated = np.array([value is not None for value in values])
    drawn = Asks.of(subjects, chances, rated, [value or 0.0 for value in values])
    weights = propensity.clipped(1.0 / drawn.probability, drawn.rated)
    return propensity.self_normalised(drawn.up, drawn.rated, weights, drawn.actor)


def _share(share: Share) -> Mapping[str, float | None]:
    return {"value": share.value, "low": share.low, "high": share.high}
