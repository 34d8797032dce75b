"""What subjects said before an experiment: the deciding number over their earlier answers, to take out of the outcome.

Only rows from before the experiment count, calls, words and what was taken back alike: nothing that an arm could have
changed. So the number of a subject never changes, and is read once. Knows no arms.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, and_, func, select

from core.clock import HOUR
from core.interactions import not_measuring
from core.schema import feedback, interactions, retractions
from core.types import Arm, Experiment, Finish, Subject
from monitoring.experiments.exposures import id_from
from monitoring.terms import Measure

PAST = 28 * 24 * HOUR
"""How much of the time before counts: four whole weeks, recent enough to say something."""
_PAGE = 500
_ANSWERED = (Finish.STOP, Finish.LENGTH)


class Covariates:
    """Reads the past of subjects."""

    def __init__(self, measure: Measure) -> None:
        self._measure = measure

    def read(self, conn: Connection, experiment: Experiment, subjects: Sequence[Subject]) -> Mapping[Subject, float]:
        """Ups less downs an answer before the experiment, -1 to 1, of those among them who had an answer."""
        found: dict[Subject, float] = {}
        for start in range(0, len(subjects), _PAGE):
            page = subjects[start : start + _PAGE]
            net = self._net(conn, experiment, page)
            for subject, answers in _answers(conn, experiment, page).items():
                found[subject] = net.get(subject, 0.0) / answers
        return found

    def _net(self, conn: Connection, experiment: Experiment, subjects: Sequence[Subject]) -> Mapping[Subject, float]:
        """The sum over rated answers of the mean of the last words on them."""
        until, last = experiment.created_at, (feedback.c.created_at.desc(), feedback.c.id.desc())
        place = func.row_number().over(partition_by=(feedback.c.interaction, feedback.c.actor), order_by=last)
        said = and_(
            feedback.c.interaction == interactions.c.id,
            feedback.c.name == self._measure.name,
            feedback.c.created_at < until,
        )
        unsaid = and_(retractions.c.feedback == feedback.c.id, retractions.c.created_at < until)
        words = (
            select(interactions.c.subject, interactions.c.id, feedback.c.value, place.label("place"))
            .add_columns(retractions.c.feedback.label("retracted"))
            .join(feedback, said)
            .join(retractions, unsaid, isouter=True)
            .where(*_earlier(experiment, subjects))
            .subquery()
        )
        query = (
            select(words.c.subject, func.avg(words.c.value).label("value"))
            .where(words.c.place == 1, words.c.retracted.is_(None), words.c.value.is_not(None))
            .group_by(words.c.subject, words.c.id)
        )
        net: dict[Subject, float] = {}
        for row in conn.execute(query):
            subject = Subject(row.subject)
            net[subject] = net.get(subject, 0.0) + 2 * self._measure.of(row.value) - 1
        return net


def _answers(conn: Connection, experiment: Experiment, subjects: Sequence[Subject]) -> Mapping[Subject, int]:
    query = select(interactions.c.subject, func.count().label("answers")).where(*_earlier(experiment, subjects))
    return {Subject(row.subject): row.answers for row in conn.execute(query.group_by(interactions.c.subject))}


def _earlier(experiment: Experiment, subjects: Sequence[Subject]) -> Sequence[ColumnElement[bool]]:
    table, begun = interactions.c, experiment.created_at
    return (
        table.subject.in_(subjects),
        table.id >= id_from(begun - PAST),
        table.id < id_from(begun),
        table.finish.in_(_ANSWERED),
        table.arm != Arm.SHADOW,
        not_measuring(),
    )
