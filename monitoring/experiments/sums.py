"""The sums over the calls of an experiment's subjects, kept in memory and brought up to date by what is new.

A call is counted once, in the order in which rows appear: reading goes back a little behind the newest one, since rows
are written late. A word counts as it stands now: those given, changed or taken back lately are looked up again.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from math import exp, log
from statistics import fmean
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, select, union

from core.clock import HOUR
from core.ids import millis_of
from core.schema import exposures, feedback, interactions, retractions
from core.types import Finish, Subject
from monitoring.experiments.exposures import LOOK_BACK, Scope, id_from
from monitoring.shadow.questions import Asked, Skills
from monitoring.terms import Measure

_ANSWERED = frozenset({Finish.STOP, Finish.LENGTH})
_BACK = LOOK_BACK * 4 // 3
"""Exposures are looked for as far back as that."""
_OLD = 24 * HOUR
"""Of traffic, after which everything is counted anew: rows may have come later still after trouble with a database."""


class Word(NamedTuple):
    """What is said of one answer, as 0 to 1; whether the call was an answer by itself, and to an old question."""

    value: float
    answer: bool
    skilled: bool


@dataclass(slots=True)
class Calls:
    """The sums over one subject's calls."""

    calls: int = 0
    errors: int = 0
    answers: int = 0
    own: int = 0
    """Answers of the assigned version, all of which take the same path through the engine."""
    tokens: int = 0
    logs: float = 0.0
    words: dict[str, Word] = field(default_factory=dict)

    def count(self, row: Row[tuple[object, ...]]) -> None:
        """Add one call."""
        self.calls += 1
        self.answers += row.finish in _ANSWERED
        if row.finish == Finish.ERROR or row.provider is not None or row.served not in (None, row.assigned):
            self.errors += 1
        elif row.finish in _ANSWERED and row.completion_tokens and row.duration:
            self.own += 1
            self.tokens += row.completion_tokens
            self.logs += log(row.duration / row.completion_tokens)

    def heard(self) -> int:
        """Answers, and calls that were cut short but rated all the same."""
        return self.answers + sum(not word.answer for word in self.words.values())

    def ups_and_downs(self) -> tuple[float, float]:
        """Shares of all answers; a word between the two ends is so much of either."""
        heard, nets = self.heard(), [2 * word.value - 1 for word in self.words.values()]
        if not heard:
            return 0.0, 0.0
        return sum(max(net, 0.0) for net in nets) / heard, sum(max(-net, 0.0) for net in nets) / heard

    def outcomes(self, metric: str) -> Mapping[str, float]:
        """Every metric that is known of the subject."""
        found: dict[str, float] = {}
        if self.calls:
            found["errors"] = self.errors / self.calls
        if self.own:
            found |= {"latency": exp(self.logs / self.own), "length": self.tokens / self.own}
        if skilled := [word.value for word in self.words.values() if word.skilled]:
            found["old_skills"] = fmean(skilled)
        if self.heard():
            up, down = self.ups_and_downs()
            found[metric] = up - down
        return found


class Sums:
    """One experiment's sums by subject."""

    def __init__(self, scope: Scope, measure: Measure, skills: Skills, asked: Asked) -> None:
        self.calls: defaultdict[Subject, Calls] = defaultdict(Calls)
        self._scope, self._measure, self._skills, self._asked = scope, measure, skills, asked
        self._lately: set[str] = set()
        """Calls that are counted and would be read again."""
        self._changed: set[Subject] = set()
        self._first = self._newest = self._heard = 0

    def is_old(self) -> bool:
        """Whether so much has come since that it is time to count anew."""
        return self._newest - self._first > _OLD

    def advance(self, conn: Connection) -> Set[Subject]:
        """Count what is new; the subjects of whom something may be."""
        self._changed = set()
        self._count(conn)
        self._listen(conn)
        return self._changed

    def _count(self, conn: Connection) -> None:
        since = id_from(self._newest - _BACK) if self._newest else ""
        for row in conn.execute(_calls(self._scope, _COUNTED).where(interactions.c.id >= since)):
            if row.id not in self._lately:
                self._lately.add(row.id)
                self._of(row).count(row)
        if self._lately:
            self._newest = max(self._newest, millis_of(max(self._lately)) * 1000)
            self._first = self._first or self._newest
            kept = id_from(self._newest - _BACK)
            self._lately = {call for call in self._lately if call >= kept}

    def _listen(self, conn: Connection) -> None:
        """Bring words up to date: on the first time all, later those about calls that were spoken of lately."""
        query, latest = _ratings(self._scope, self._measure.name), _latest_word(conn)
        if self._heard:
            lately = interactions.c.id.in_(_spoken_of(self._measure.name, self._heard - _BACK))
            for row in conn.execute(_calls(self._scope, ("id", "subject")).where(lately)):
                self._of(row).words.pop(row.id, None)
            query = _ratings(self._scope, self._measure.name, lately)
        self._hear(conn.execute(query).all())
        self._heard = max(self._heard, latest)

    def _hear(self, rated: Sequence[Row[tuple[object, ...]]]) -> None:
        prompts = [row.prompt for row in rated if row.prompt] if self._skills.liked else []
        questions = self._asked.read(prompts)
        for row in rated:
            skilled = bool(self._skills.answers(questions.get(row.prompt)))
            word = Word(self._measure.of(row.value), row.finish in _ANSWERED, skilled)
            self._of(row).words[row.id] = word

    def _of(self, row: Row[tuple[object, ...]]) -> Calls:
        subject = Subject(row.subject)
        self._changed.add(subject)
        return self.calls[subject]


_COUNTED = ("id", "subject", "assigned", "served", "provider", "finish", "duration", "completion_tokens")
_HEARD = ("id", "subject", "prompt", "finish")


def _calls(scope: Scope, names: Sequence[str]) -> Select[tuple[object, ...]]:
    """The calls of exposed subjects from their first one on."""
    met = and_(exposures.c.subject == interactions.c.subject, exposures.c.interaction <= interactions.c.id)
    joined = select(*[interactions.c[name] for name in names]).join(exposures, met)
    return joined.where(exposures.c.experiment == scope.experiment.id, scope.condition())


def _ratings(scope: Scope, metric: str, about: ColumnElement[bool] | None = None) -> Select[tuple[object, ...]]:
    """Each rated call with the mean of the last word of everyone who rated it, unless they took it back."""
    found = _calls(scope, _HEARD)
    calls = (found if about is None else found.where(about)).subquery()
    last = feedback.c.created_at.desc(), feedback.c.id.desc()
    place = func.row_number().over(partition_by=(feedback.c.interaction, feedback.c.actor), order_by=last)
    words = (
        select(
            *(calls.c[name] for name in _HEARD),
            feedback.c.value,
            retractions.c.feedback.label("retracted"),
            place.label("place"),
        )
        .select_from(calls)
        .join(feedback, and_(feedback.c.interaction == calls.c.id, feedback.c.name == metric))
        .join(retractions, retractions.c.feedback == feedback.c.id, isouter=True)
        .subquery()
    )
    columns = [words.c[name] for name in _HEARD]
    return (
        select(*columns, func.avg(words.c.value).label("value"))
        .where(words.c.place == 1, words.c.retracted.is_(None), words.c.value.is_not(None))
        .group_by(*columns)
    )


def _spoken_of(metric: str, since: int) -> Select[tuple[str]]:
    """Calls about which something was said or taken back since."""
    said = select(feedback.c.interaction).where(feedback.c.name == metric, feedback.c.created_at >= since)
    joined = retractions.join(feedback, feedback.c.id == retractions.c.feedback)
    unsaid = select(feedback.c.interaction).select_from(joined).where(retractions.c.created_at >= since)
    both = union(said, unsaid).subquery()
    return select(both.c.interaction)


def _latest_word(conn: Connection) -> int:
    """When the newest word was said or taken back."""
    times = (conn.scalar(select(func.max(table.c.created_at))) for table in (feedback, retractions))
    return max((time or 0 for time in times), default=0)
