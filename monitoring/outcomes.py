"""What became of the subjects of an experiment: one number a metric and subject, over all their calls since exposure.

Latency: the mean logarithm of the duration a token, brought back. Errors: the share of calls that failed or that
another version had to answer. Length: tokens an answer. The deciding metric: the mean over rated calls; old skills: the
same over calls whose question was answered well before the challenger was asked for. Knows nothing of what follows.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, log
from statistics import fmean

from sqlalchemy import Connection, Row, Select, and_, func, select

from core.schema import exposures, feedback, interactions, retractions
from core.store import Store
from core.types import Arm, Finish, Subject
from monitoring.experiment import Exposure
from monitoring.exposures import Scope
from monitoring.questions import Asked, Skills
from monitoring.terms import Measure

_ANSWERED = frozenset({Finish.STOP, Finish.LENGTH})


@dataclass(slots=True)
class _Calls:
    """The sums over one subject's calls."""

    calls: int = 0
    errors: int = 0
    answers: int = 0
    tokens: int = 0
    logs: float = 0.0
    rated: list[float] = field(default_factory=list)
    skilled: list[float] = field(default_factory=list)

    def outcomes(self, metric: str) -> Mapping[str, float]:
        found: dict[str, float] = {}
        if self.calls:
            found["errors"] = self.errors / self.calls
        if self.answers:
            found |= {"latency": exp(self.logs / self.answers), "length": self.tokens / self.answers}
        if self.rated:
            found[metric] = fmean(self.rated)
        if self.skilled:
            found["old_skills"] = fmean(self.skilled)
        return found


class Outcomes:
    """Reads exposures with all outcomes known so far."""

    def __init__(self, store: Store, measure: Measure) -> None:
        self._store = store
        self._measure = measure
        self._asked = Asked(store)

    def read(self, scope: Scope, skills: Skills) -> Sequence[Exposure]:
        """Every subject that the experiment has met."""
        experiment = scope.experiment
        with self._store.read() as conn:
            columns = [exposures.c[name] for name in ("subject", "arm", "share")]
            met = conn.execute(select(*columns).where(exposures.c.experiment == experiment.id)).all()
            sums = _sums(conn, scope)
            ratings = conn.execute(_ratings(scope, self._measure.name)).all()
        self._rate(sums, ratings, skills)
        return [
            Exposure(
                subject=Subject(row.subject),
                challenger=row.arm == Arm.CHALLENGER,
                share=row.share,
                outcomes=sums[row.subject].outcomes(self._measure.name),
            )
            for row in met
        ]

    def _rate(self, sums: Mapping[str, _Calls], ratings: Sequence[Row[tuple[str, str, float]]], skills: Skills) -> None:
        questions = self._asked.read(row.prompt for row in ratings if row.prompt) if skills.liked else {}
        for row in ratings:
            value = self._measure.of(row.value)
            sums[row.subject].rated.append(value)
            if skills.answers(questions.get(row.prompt)):
                sums[row.subject].skilled.append(value)


def _sums(conn: Connection, scope: Scope) -> defaultdict[str, _Calls]:
    names = ("subject", "assigned", "served", "provider", "finish", "duration", "completion_tokens")
    sums: defaultdict[str, _Calls] = defaultdict(_Calls)
    for row in conn.execute(_calls(scope, names)):
        _add(sums[row.subject], row)
    return sums


def _add(sums: _Calls, row: Row[tuple[object, ...]]) -> None:
    sums.calls += 1
    if row.finish == Finish.ERROR or row.provider is not None or row.served not in (None, row.assigned):
        sums.errors += 1
    elif row.finish in _ANSWERED and row.completion_tokens and row.duration:
        # Only answers of the assigned version, all of which take the same path through the engine.
        sums.answers += 1
        sums.tokens += row.completion_tokens
        sums.logs += log(row.duration / row.completion_tokens)


def _calls(scope: Scope, names: Sequence[str]) -> Select[tuple[object, ...]]:
    """The calls of exposed subjects from their first one on."""
    met = and_(exposures.c.subject == interactions.c.subject, exposures.c.interaction <= interactions.c.id)
    joined = select(*[interactions.c[name] for name in names]).join(exposures, met)
    return joined.where(exposures.c.experiment == scope.experiment.id, scope.condition())


def _ratings(scope: Scope, metric: str) -> Select[tuple[str, str, float]]:
    """Each rated call with the mean of the last word of everyone who rated it, unless they took it back."""
    calls = _calls(scope, ("id", "subject", "prompt")).subquery()
    last = feedback.c.created_at.desc(), feedback.c.id.desc()
    place = func.row_number().over(partition_by=(feedback.c.interaction, feedback.c.actor), order_by=last)
    words = (
        select(
            *(calls.c[name] for name in ("id", "subject", "prompt")),
            feedback.c.value,
            retractions.c.feedback.label("retracted"),
            place.label("place"),
        )
        .select_from(calls)
        .join(feedback, and_(feedback.c.interaction == calls.c.id, feedback.c.name == metric))
        .join(retractions, retractions.c.feedback == feedback.c.id, isouter=True)
        .subquery()
    )
    return (
        select(words.c.subject, words.c.prompt, func.avg(words.c.value).label("value"))
        .where(words.c.place == 1, words.c.retracted.is_(None), words.c.value.is_not(None))
        .group_by(words.c.id, words.c.subject, words.c.prompt)
    )
