"""The job that keeps confidences meaningful: fits maps for the champion and a version on trial, and publishes reports.

A version gets its map with its first `min_labels` votes and a new one when these have doubled; after an alarm of the
watch at once (or, if so configured, when an operator has acknowledged one), from what was said since the change. Knows
neither how maps are fitted nor how a change is seen.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection

from core import plan, reports, states
from core.clock import SECOND, Clock, now
from core.reports import Report, ReportKind
from core.settings import Settings
from core.store import Store
from core.types import JsonObject, Version
from monitoring.calibration import assessment, betting, fitting, maps
from monitoring.calibration import labels as votes
from monitoring.calibration.labels import Label
from monitoring.calibration.recalibration import Map
from monitoring.calibration.votes import Votes
from monitoring.experiments.sequential import Array
from monitoring.policy import CalibrationPolicy

THUMBS = "thumbs"
PACE = 60 * SECOND
"""Time between two reports on a version with the same map."""
GROWTH = 1.02
"""How many more votes a new report needs."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Alarm:
    """The watch's word that confidence is off: since when, and for how many votes before that it looks off."""

    at: int
    run: int


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of a version's calibration: its votes, oldest first, and what was made of them so far."""

    version: Version
    labels: Sequence[Label]
    chart: Map | None = None
    alarm: Alarm | None = None
    acknowledged: int = 0
    """When an operator last dealt with alarms."""
    reported: Report | None = None


class Calibrator:
    """The job. Make a new one for each leader: it remembers what it took."""

    def __init__(
        self, store: Store, policy: CalibrationPolicy, settings: Settings, rng: np.random.Generator, clock: Clock = now
    ) -> None:
        self._store, self._policy, self._rng, self._clock = store, policy, rng, clock
        self._votes = Votes(THUMBS, policy.source, settings.monitoring.score_share, policy.max_labels, clock)

    async def tick(self) -> None:
        """Take what is new, fit what is due, publish what has changed."""
        await asyncio.to_thread(self._look)

    def _look(self) -> None:
        with self._store.read() as conn:
            found = plan.read(conn)
            if found is None:
                return
            versions = [found.champion, *([found.split.challenger] if found.split else [])]
            self._votes.look(conn, versions)
            before = [self._case(conn, version) for version in versions]
        at = self._clock()
        charts = {case.version: self._chart(case, at) for case in before}
        documents = self._documents(before, charts, at)
        fresh = {case.version: charts[case.version] for case in before if charts[case.version] != case.chart}
        if fresh or documents:
            self._keep(fresh, documents, at)

    def _case(self, conn: Connection, version: Version) -> Case:
        word = states.read(conn, states.ACKNOWLEDGED)
        return Case(
            version,
            self._votes.of(version),
            maps.read(conn, version, self._policy.source),
            alarm(states.read(conn, f"{reports.ReportKind.CALIBRATION}/{version}")),
            word.updated_at if word else 0,
            reports.find(conn, ReportKind.CALIBRATION, version),
        )

    def _chart(self, case: Case, at: int) -> Map | None:
        """The map that the version is to have from now on."""
        learned = due(case, self._policy)
        if not learned:
            return case.chart
        found = fitting.chosen(learned, self._policy)
        chart = Map(found.form, self._policy.source, len(learned), learned[0].at, at)
        log.info("a new %s map", chart.kind, extra={"version": case.version, "votes": chart.n, "gain": found.gained})
        return chart

    def _documents(
        self, cases: Sequence[Case], charts: Mapping[Version, Map | None], at: int
    ) -> Mapping[Version, JsonObject]:
        labels = {case.version: assessment.recent(case.labels, charts[case.version]) for case in cases}
        wanted = [
            case.version
            for case in cases
            if is_news(case.reported, len(labels[case.version]), charts[case.version] != case.chart, at)
        ]
        if not wanted:
            return {}
        peers: dict[str, tuple[Array, Array]] = {
            version: (assessment.stated(some, charts[version], self._policy), votes.thumbs(some).astype(float))
            for version, some in labels.items()
        }
        return {
            version: assessment.report(labels[version], charts[version], peers, self._policy, self._rng, at)
            for version in wanted
        }

    def _keep(self, fresh: Mapping[Version, Map | None], documents: Mapping[Version, JsonObject], at: int) -> None:
        with self._store.write() as conn:
            for version, chart in fresh.items():
                if chart:
                    maps.put(conn, version, chart)
            for version, document in documents.items():
                reports.put(conn, ReportKind.CALIBRATION, version, document, at)


def due(case: Case, policy: CalibrationPolicy) -> Sequence[Label]:
    """The votes from which a new map is to be made now; none when the one there is may stay."""
    chart, labels = case.chart, case.labels
    if chart is None:
        return labels if len(labels) >= policy.min_labels else ()
    if case.alarm and case.alarm.at > chart.fitted_at:
        if not policy.recalibrate and case.acknowledged < case.alarm.at:
            return ()
        later = sum(label.at > case.alarm.at for label in labels)
        return labels[-max(case.alarm.run + later, policy.min_labels) :]
    known = assessment.recent(labels, chart)
    if not policy.recalibrate and case.acknowledged > chart.fitted_at:
        # The watch has begun anew since; what came after the map tells best what is wrong with it.
        later = sum(label.at > chart.fitted_at for label in labels)
        return known[-max(later, policy.min_labels) :]
    return known if len(known) >= 2 * chart.n else ()


def is_news(last: Report | None, n: int, changed: bool, at: int) -> bool:
    """Whether a report on `n` votes is to be published; on a changed map at once."""
    if n == 0:
        return False
    if last is None or changed:
        return True
    return at - last.at >= PACE and n >= GROWTH * int(str(last.body["n"]))


def alarm(standing: states.State | None) -> Alarm | None:
    """The alarm of the watch over a version's confidence, from its standing as the ledger has it."""
    if standing is None or not standing.body["alarm"]:
        return None
    watch: JsonObject = standing.body["watch"]  # type: ignore[assignment]
    return Alarm(int(str(standing.body["alarm_at"])), betting.watch_of(watch).run)
