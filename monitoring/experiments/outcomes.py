"""What became of the subjects of an experiment: one number a metric and subject, over all their calls since exposure.

Latency: the mean logarithm of the duration a token, brought back. Errors: the share of calls that failed or that
another version had to answer. Length: tokens an answer. The deciding metric: ups less downs over all answers, where an
answer that nobody rated counts as nothing; old skills: the mean word on rated answers whose question was answered well
before the challenger was asked for. The sums stay in memory (sums.py), so that a look reads only what is new; a new
process reads all of it once. Knows nothing of what follows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Row, select

from core.recent import Recent
from core.schema import exposures
from core.store import Store
from core.types import Arm, Subject
from monitoring.experiments.covariates import Covariates
from monitoring.experiments.exposures import Scope
from monitoring.experiments.findings import Exposure
from monitoring.experiments.sums import Calls, Sums
from monitoring.shadow.questions import Asked, Skills
from monitoring.terms import Measure

_REMEMBERED = 4
"""Experiments whose sums are kept; two run at a time at most."""
_NOBODY = Calls()


@dataclass(slots=True)
class _Known:
    """What is in memory of one experiment."""

    scope: Scope
    sums: Sums
    before: dict[Subject, float | None] = field(default_factory=dict)
    exposures: dict[Subject, Exposure] = field(default_factory=dict)


class Outcomes:
    """Reads exposures with all outcomes known so far."""

    def __init__(self, store: Store, measure: Measure) -> None:
        self._store = store
        self._measure = measure
        self._asked = Asked(store)
        self._covariates = Covariates(measure)
        self._known: Recent[str, _Known] = Recent(_REMEMBERED)

    def read(self, scope: Scope, skills: Skills) -> Sequence[Exposure]:
        """Every subject that the experiment has met."""
        known, experiment = self._of(scope, skills), scope.experiment
        with self._store.read() as conn:
            columns = [exposures.c[name] for name in ("subject", "arm", "share", "created_at")]
            met = conn.execute(select(*columns).where(exposures.c.experiment == experiment.id)).all()
            fresh = [Subject(row.subject) for row in met if row.subject not in known.before]
            if fresh:
                found = self._covariates.read(conn, experiment, fresh)
                known.before |= {subject: found.get(subject) for subject in fresh}
            changed = known.sums.advance(conn)
        for row in met:
            subject = Subject(row.subject)
            if subject in changed or subject not in known.exposures:
                known.exposures[subject] = self._exposure(row, known)
        return [known.exposures[Subject(row.subject)] for row in met]

    def _of(self, scope: Scope, skills: Skills) -> _Known:
        """The sums so far; begun anew where the experiment has changed, which changes what counts."""
        known = self._known.get(scope.experiment.id)
        if known is None or known.scope != scope or known.sums.is_old():
            before = known.before if known else {}
            known = _Known(scope, Sums(scope, self._measure, skills, self._asked), before)
            self._known.put(scope.experiment.id, known)
        return known

    def _exposure(self, row: Row[tuple[object, ...]], known: _Known) -> Exposure:
        subject = Subject(row.subject)
        calls = known.sums.calls.get(subject, _NOBODY)
        up, down = calls.ups_and_downs()
        return Exposure(
            subject=subject,
            challenger=row.arm == Arm.CHALLENGER,
            share=row.share,
            outcomes=calls.outcomes(self._measure.name),
            rated=bool(calls.words),
            up=up,
            down=down,
            before=known.before[subject],
            at=row.created_at,
        )
