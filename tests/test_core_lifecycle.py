"""The table of moves is the design's, word for word, and nothing besides."""

import itertools

import pytest

from core.errors import Conflict, Forbidden
from core.lifecycle import MOVES, Mover, Stage, can_advance, check_advance, diagram

S, OP, MON, SET = Stage, Mover.OPERATOR, Mover.MONITORING, Mover.SETUP

DESIGN = {
    # Monitoring leads a candidate up to the approval, never beyond.
    (S.CANDIDATE, S.SHADOW): {MON},
    (S.SHADOW, S.AB): {MON},
    (S.AB, S.AWAITING_APPROVAL): {MON},
    (S.SHADOW, S.AWAITING_APPROVAL): {MON},  # review instead of an A/B
    # A person approves.
    (S.AWAITING_APPROVAL, S.CHAMPION): {OP},
    # A champion leaves for another one; it returns by a rollback only, which monitoring may make for harm.
    (S.CHAMPION, S.RETIRED): {OP, MON},
    (S.RETIRED, S.CHAMPION): {OP, MON},
    # Another champion makes the comparison worthless.
    (S.AB, S.SHADOW): {OP, MON},
    (S.AWAITING_APPROVAL, S.SHADOW): {OP, MON},
    # Rejected from any stage before champion.
    (S.CANDIDATE, S.REJECTED): {OP, MON},
    (S.SHADOW, S.REJECTED): {OP, MON},
    (S.AB, S.REJECTED): {OP, MON},
    (S.AWAITING_APPROVAL, S.REJECTED): {OP, MON},
    # Version 0 of a base at the first start.
    (S.CANDIDATE, S.CHAMPION): {SET},
}

ALL = list(itertools.product(Stage, Stage, Mover))


@pytest.mark.parametrize(("source", "target", "mover"), ALL)
def test_exactly_the_moves_of_the_design_are_allowed(source: Stage, target: Stage, mover: Mover) -> None:
    allowed = DESIGN.get((source, target), set())
    assert can_advance(source, target, mover) == (mover in allowed)
    if mover in allowed:
        check_advance(source, target, mover)
    else:
        with pytest.raises(Forbidden if allowed else Conflict):
            check_advance(source, target, mover)


def test_monitoring_never_makes_a_champion_of_what_was_not_one() -> None:
    into = {source for source, target, mover in ALL if target is S.CHAMPION and can_advance(source, target, MON)}
    assert into == {S.RETIRED}


def test_a_person_makes_a_champion_of_what_was_approved_or_was_one_before() -> None:
    into = {source for source, target, mover in ALL if target is S.CHAMPION and can_advance(source, target, OP)}
    assert into == {S.AWAITING_APPROVAL, S.RETIRED}


def test_a_rejected_version_never_moves_again() -> None:
    assert not any(can_advance(S.REJECTED, target, mover) for target in Stage for mover in Mover)


def test_a_refusal_says_what_is_possible_and_who_may() -> None:
    with pytest.raises(Conflict, match="from candidate it can become shadow, rejected, champion"):
        check_advance(S.CANDIDATE, S.AB, MON)
    with pytest.raises(Conflict, match="from rejected it can become nothing"):
        check_advance(S.REJECTED, S.CHAMPION, OP)
    with pytest.raises(Forbidden, match=r"Only operator may move .* not monitoring"):
        check_advance(S.AWAITING_APPROVAL, S.CHAMPION, MON)


def test_the_diagram_shows_each_move_once_with_its_movers() -> None:
    lines = [line.strip() for line in diagram().splitlines()]
    assert lines[:2] == ["stateDiagram-v2", "[*] --> candidate"]
    shown = [line.partition(": ") for line in lines[2:]]
    assert len(shown) == len(MOVES)
    assert {(arrow, frozenset(movers.split(", "))) for arrow, _, movers in shown} == {
        (f"{source} --> {target}", frozenset(movers)) for (source, target), movers in DESIGN.items()
    }
