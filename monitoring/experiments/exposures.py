"""Who met which arm of an experiment first, kept as rows, so that later assignments change nothing.

Reads new calls only, from a little before the last one it saw, since a call is written when it ends. Pinned and named
calls, mirrored ones and measurements were not drawn and expose nobody. Knows no outcome.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, func, not_, select

from core import states
from core.clock import SECOND, Clock, now
from core.ids import encode, millis_of
from core.interactions import not_measuring
from core.schema import exposures, interactions
from core.store import Store, insert_new
from core.types import Arm, Experiment, ExperimentKind, ExperimentState

LOOK_BACK = 900 * SECOND
"""A call is written when it has ended, and later still after trouble with the database."""
_DRAWN = (Arm.CHAMPION, Arm.CHALLENGER, Arm.HOLDBACK, Arm.EXTERNAL)
"""External: a provider stood in for the version that was assigned."""


@dataclass(frozen=True, slots=True)
class Scope:
    """An experiment, and for a hold-back the A/Bs since, in whose time its own draw is not the only one."""

    experiment: Experiment
    others: Sequence[Experiment] = ()

    def condition(self) -> ColumnElement[bool]:
        """The calls that were drawn by this experiment."""
        table, experiment = interactions.c, self.experiment
        drawn = and_(table.arm.in_(_DRAWN), not_measuring(), table.assigned.in_(self._versions()))
        if experiment.kind is ExperimentKind.AB:
            return and_(table.experiment == experiment.id, drawn)
        # Who was drawn by nothing, because a version was named or pinned, carries the probability 1.
        lone = and_(table.experiment.is_(None), table.propensity < 1, table.revision >= self._begun(experiment))
        return and_(lone, drawn, *(not_(self._during(other)) for other in self.others if self._overlaps(other)))

    def _versions(self) -> tuple[str, str]:
        return self.experiment.champion, self.experiment.challenger

    def _begun(self, experiment: Experiment) -> int:
        """The revision of the plan that began it."""
        return min(step.revision for step in experiment.steps)

    def _overlaps(self, other: Experiment) -> bool:
        return other.kind is ExperimentKind.AB and self._begun(other) > self._begun(self.experiment)

    def _during(self, other: Experiment) -> ColumnElement[bool]:
        started = interactions.c.revision >= self._begun(other)
        if other.state is ExperimentState.RUNNING or other.ended_at is None:
            return started
        return and_(started, interactions.c.created_at <= other.ended_at)


class Exposures:
    """Keeps the table of first assignments up to date."""

    def __init__(self, store: Store, clock: Clock = now) -> None:
        self._store = store
        self._clock = clock

    def collect(self, scope: Scope) -> int:
        """Add the subjects that the experiment met since the last time; how many there were."""
        experiment = scope.experiment
        with self._store.read() as conn:
            cursor = states.read(conn, _name(experiment))
            seen = int(str(cursor.body["seen"])) if cursor else experiment.created_at
            found = _fresh(conn, scope, seen - LOOK_BACK)
            newest = _newest(conn, scope, seen)
        # The cursor saves reading, nothing else, so it need not move for every call.
        if found or newest - seen > LOOK_BACK / 3:
            with self._store.write() as conn:
                insert_new(conn, exposures, found)
                states.put(conn, _name(experiment), {"seen": newest}, self._clock())
        return len(found)


def id_from(micros: int) -> str:
    """The smallest id of a call that began then."""
    return encode(max(micros // 1000, 0) << 80)


def share_at(experiment: Experiment, revision: int) -> float:
    """The challenger's share for calls that were assigned under a plan of this revision."""
    in_force = [step for step in experiment.steps if step.revision <= revision] or [experiment.steps[0]]
    return max(in_force, key=lambda step: step.revision).share


def _fresh(conn: Connection, scope: Scope, since: int) -> list[dict[str, object]]:
    """First calls of subjects that are not in the table yet."""
    experiment, table = scope.experiment, interactions.c
    known = select(exposures.c.subject).where(
        exposures.c.experiment == experiment.id, exposures.c.subject == table.subject
    )
    first = (
        select(func.min(table.id).label("id"))
        .where(scope.condition(), table.id >= id_from(since), not_(known.exists()))
        .group_by(table.subject)
        .subquery()
    )
    columns = [table[name] for name in ("id", "created_at", "subject", "assigned", "revision")]
    query = select(*columns).join(first, first.c.id == table.id).order_by(table.id)
    return [
        {
            "experiment": experiment.id,
            "subject": row.subject,
            "created_at": row.created_at,
            "arm": Arm.CHALLENGER if row.assigned == experiment.challenger else Arm.CHAMPION,
            "share": share_at(experiment, row.revision),
            "interaction": row.id,
        }
        for row in conn.execute(query)
    ]


def _newest(conn: Connection, scope: Scope, seen: int) -> int:
    """When the newest call of the experiment began."""
    table = interactions.c
    found = conn.scalar(select(func.max(table.id)).where(scope.condition(), table.id >= id_from(seen)))
    return max(seen, millis_of(found) * 1000) if found else seen


def _name(experiment: Experiment) -> str:
    return f"exposures/{experiment.id}"
