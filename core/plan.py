"""The plan: how it changes (pure), and the one row that holds it, which changes by compare-and-swap only.

Knows nothing of stages; core/registry.py changes both in one transaction.
"""

from collections.abc import Iterable
from dataclasses import asdict, replace

from sqlalchemy import Connection, insert, select, update

from core.errors import Conflict
from core.lifecycle import Stage
from core.schema import plan as table
from core.types import Holdback, Json, Plan, Split, Version

_ROW = 1


def succeeded(plan: Plan, champion: Version, candidates: Iterable[Version], holdback: Holdback | None = None) -> Plan:
    """The plan after another version became champion.

    The old champion stays as the previous one, the experiment and the older hold-back end, and of the `candidates` that
    are still in the running the first becomes the shadow.
    """
    split = plan.split and plan.split.challenger
    running = (version for version in (plan.shadow, split, *candidates) if version and version != champion)
    return Plan(plan.revision + 1, champion, previous=plan.champion, shadow=next(running, None), holdback=holdback)


def advanced(plan: Plan, version: Version, target: Stage) -> Plan:
    """The plan after a version that is not the champion moved; the same one when the move does not touch it.

    Raises Conflict when another version is the shadow already.
    """
    if target not in (Stage.SHADOW, Stage.REJECTED):
        return plan
    if target is Stage.SHADOW and plan.shadow not in (None, version):
        raise Conflict(f"{plan.shadow} is in shadow already; reject it before {version} follows.")
    shadow = version if target is Stage.SHADOW else plan.shadow if plan.shadow != version else None
    split = plan.split if plan.split and plan.split.challenger != version else None
    wanted = replace(plan, shadow=shadow, split=split)
    return plan if wanted == plan else replace(wanted, revision=plan.revision + 1)


def read(conn: Connection) -> Plan | None:
    """The plan, None before the first start."""
    row = conn.execute(select(table)).one_or_none()
    if row is None:
        return None
    split = Split(**row.split) if row.split else None
    holdback = Holdback(**row.holdback) if row.holdback else None
    return Plan(row.revision, row.champion, row.previous, row.shadow, split, holdback)


def current(conn: Connection) -> Plan:
    """The plan; raises Conflict before the first start."""
    found = read(conn)
    if found is None:
        raise Conflict("There is no champion yet; start Hone once with `hone up`.")
    return found


def seen(conn: Connection, revision: int) -> Plan:
    """The plan; raises Conflict when it is not at the revision that the caller decided on."""
    found = current(conn)
    if found.revision != revision:
        raise _moved_on(found, revision)
    return found


def place(conn: Connection, first: Plan, at: int) -> None:
    """Write the first plan."""
    conn.execute(insert(table).values(id=_ROW, **_values(first, at)))


def swap(conn: Connection, old: Plan, wanted: Plan, at: int) -> None:
    """Put `wanted` in the place of `old`; raises Conflict when another one is there."""
    query = update(table).where(table.c.id == _ROW, table.c.revision == old.revision)
    if conn.execute(query.values(**_values(wanted, at))).rowcount != 1:
        raise _moved_on(current(conn), old.revision)


def _moved_on(found: Plan, seen: int) -> Conflict:
    """The refusal of a decision that was made on an older plan."""
    parts = {"champion": found.champion, "previous": found.previous, "shadow": found.shadow}
    now = ", ".join(f"{name} {version or 'none'}" for name, version in parts.items())
    return Conflict(f"The plan moved on from revision {seen} to {found.revision}: {now}. Look again, then decide.")


def _values(plan: Plan, at: int) -> dict[str, Json]:
    return {
        "revision": plan.revision,
        "updated_at": at,
        "champion": plan.champion,
        "previous": plan.previous,
        "shadow": plan.shadow,
        "split": asdict(plan.split) if plan.split else None,
        "holdback": asdict(plan.holdback) if plan.holdback else None,
    }
