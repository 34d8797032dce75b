"""The one table of how a version may move through its stages, and who may move it.

Pure. ARCHITECTURE.md's state diagram is generated from MOVES by `diagram`.
"""

from collections.abc import Mapping
from enum import StrEnum

from core.errors import Conflict, Forbidden


class Stage(StrEnum):
    CANDIDATE = "candidate"
    SHADOW = "shadow"
    AB = "ab"
    AWAITING_APPROVAL = "awaiting_approval"
    CHAMPION = "champion"
    RETIRED = "retired"
    REJECTED = "rejected"


class Mover(StrEnum):
    """Who asks for a move: a person with an operator's key, the monitoring process, or Hone's first start."""

    OPERATOR = "operator"
    MONITORING = "monitoring"
    SETUP = "setup"


_BOTH = frozenset({Mover.OPERATOR, Mover.MONITORING})
_OPERATOR = frozenset({Mover.OPERATOR})
_MONITORING = frozenset({Mover.MONITORING})

MOVES: Mapping[tuple[Stage, Stage], frozenset[Mover]] = {
    (Stage.CANDIDATE, Stage.SHADOW): _MONITORING,
    (Stage.SHADOW, Stage.AB): _MONITORING,
    (Stage.SHADOW, Stage.AWAITING_APPROVAL): _MONITORING,
    (Stage.AB, Stage.AWAITING_APPROVAL): _MONITORING,
    (Stage.AB, Stage.SHADOW): _BOTH,
    (Stage.AWAITING_APPROVAL, Stage.SHADOW): _BOTH,
    (Stage.AWAITING_APPROVAL, Stage.CHAMPION): _OPERATOR,
    (Stage.CHAMPION, Stage.RETIRED): _BOTH,
    (Stage.RETIRED, Stage.CHAMPION): _BOTH,
    (Stage.CANDIDATE, Stage.REJECTED): _BOTH,
    (Stage.SHADOW, Stage.REJECTED): _BOTH,
    (Stage.AB, Stage.REJECTED): _BOTH,
    (Stage.AWAITING_APPROVAL, Stage.REJECTED): _BOTH,
    (Stage.CANDIDATE, Stage.CHAMPION): frozenset({Mover.SETUP}),
}


def can_advance(source: Stage, target: Stage, mover: Mover) -> bool:
    """Whether `mover` may take a version from `source` to `target`."""
    return mover in MOVES.get((source, target), frozenset())


def check_advance(source: Stage, target: Stage, mover: Mover) -> None:
    """Raise Conflict when no such move exists, Forbidden when it exists for others."""
    movers = MOVES.get((source, target))
    if movers is None:
        reachable = ", ".join(to for (at, to) in MOVES if at == source) or "nothing"
        raise Conflict(f"A version at stage {source} cannot become {target}; from {source} it can become {reachable}.")
    if mover not in movers:
        allowed = " or ".join(sorted(movers))
        raise Forbidden(f"Only {allowed} may move a version from {source} to {target}, not {mover}.")


def diagram() -> str:
    """The table as a Mermaid state diagram, one line a move."""
    lines = [f"    {source} --> {target}: {', '.join(sorted(movers))}" for (source, target), movers in MOVES.items()]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {Stage.CANDIDATE}", *lines])
