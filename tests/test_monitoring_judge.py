"""What follows from a judge's words: a win in both orders or none, and no say for a judge outside its bounds."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import pytest
from umpires import Placed, Talkative, Umpire

from core.decoys import APPEAL, COMMON, UNKNOWING
from core.types import JsonObject
from monitoring.policy import GatePolicy
from monitoring.shadow.controls import Trial, tried
from monitoring.shadow.judge import Ballot, Choice, Findings, Judge, Judged, ballot, examine, length_controlled, poll
from monitoring.shadow.pairs import Pair

POLICY = GatePolicy()
FIRST, SECOND, NEITHER = Choice
ASKED: Sequence[JsonObject] = [{"role": "user", "content": "when?"}]
STEADY = [tried(kind, [-1.0] * 60, POLICY) for kind in (COMMON, UNKNOWING, APPEAL)]
WIN, LOSS, TIE = Ballot(1, 0.5), Ballot(-1, 0.5), Ballot(0, 0.5)


def judged(*ballots: tuple[Ballot, int], longer: float | None = 0.0) -> list[Judged]:
    """So many pairs with each ballot, each of a subject of its own."""
    flat = [ballot for ballot, times in ballots for _ in range(times)]
    return [Judged(f"s{n}", ballot, longer) for n, ballot in enumerate(flat)]


def found(pairs: Sequence[Judged], controls: Sequence[Trial] = STEADY, same: int = 0) -> Findings:
    return examine("test", pairs, [Pair(f"same{n}", 0.0, True) for n in range(same)], controls, POLICY)


def test_only_a_winner_in_both_orders_wins() -> None:
    outcomes = {both: ballot(*both) for both in product(Choice, repeat=2)}
    assert {both for both, seen in outcomes.items() if seen.verdict == 1} == {(SECOND, FIRST)}
    assert {both for both, seen in outcomes.items() if seen.verdict == -1} == {(FIRST, SECOND)}
    assert outcomes[FIRST, FIRST] == Ballot(0, 1.0)
    assert outcomes[SECOND, SECOND] == Ballot(0, 0.0)
    assert outcomes[NEITHER, NEITHER] == Ballot(0, 0.5)


@pytest.mark.parametrize(
    ("judge", "verdict"),
    [(Umpire({"when?": "At nine."}), 1), (Placed({}), 0), (Talkative({}), 1), (Umpire({}), 0)],
)
async def test_a_pair_is_asked_in_both_orders(judge: Umpire, verdict: int) -> None:
    asked: Judge = judge
    assert (await poll(asked, ASKED, "No.", "At nine.")).verdict == verdict
    assert [(a, b) for _, a, b in judge.asked] == [("No.", "At nine."), ("At nine.", "No.")]


def test_consistency_and_first_pick_are_those_of_the_choices_that_were_made() -> None:
    one_sided, unsure = ballot(FIRST, FIRST), ballot(FIRST, NEITHER)
    seen = found(judged((WIN, 3), (one_sided, 2), (unsure, 1), (TIE, 4)))
    # Six pairs with a choice, three alike in both orders; 3 x 2 + 2 x 2 + 1 choices, of which 3 + 4 + 1 were first.
    assert seen.consistency == pytest.approx(3 / 6)
    assert seen.first_pick == pytest.approx(8 / 11)
    nothing = found(judged((TIE, 4)))
    assert (nothing.consistency, nothing.first_pick, nothing.stability) == (None, None, None)


def test_every_outcome_of_two_orders_can_be_told_from_its_ballot() -> None:
    for both in product(Choice, repeat=2):
        seen = found([Judged("s", ballot(*both))])
        named = [choice for choice in both if choice is not NEITHER]
        wanted = None if not named else named.count(FIRST) / len(named)
        assert seen.first_pick == wanted
        assert (seen.consistency is None) == (not named)


def test_a_judge_is_heard_once_enough_pairs_are_decided() -> None:
    few, enough = found(judged((WIN, 60), (LOSS, 39))), found(judged((WIN, 60), (LOSS, 40), (TIE, 20)), same=7)
    assert not few.usable and few.reason == "insufficient: 99 of 100 pairs decided by both orders"
    assert enough.usable
    assert (enough.wins, enough.losses, enough.ties, enough.same) == (60, 40, 20, 7)
    assert enough.paired is not None and (enough.paired.units, enough.paired.same) == (127, 7)


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (judged((WIN, 120), (ballot(FIRST, FIRST), 45), (ballot(SECOND, SECOND), 45)), "only 57% of its winners"),
        (judged((ballot(FIRST, FIRST), 100)), "only 0% of its winners are the same in both orders"),
        (judged((WIN, 120), (ballot(FIRST, FIRST), 60)), "the answer shown first in 67% of its choices"),
        (judged((LOSS, 120), (ballot(SECOND, SECOND), 60)), "the answer shown first in 33% of its choices"),
    ],
)
def test_a_judge_outside_its_bounds_is_not_usable_and_that_is_no_tie(pairs: list[Judged], words: str) -> None:
    seen = found(pairs)
    assert not seen.usable
    assert seen.reason.startswith("not usable: ") and words in seen.reason


def test_a_judge_that_prefers_decoys_or_was_not_tried_has_no_say() -> None:
    pairs = judged((WIN, 200))
    fooled = [*STEADY[:2], tried(APPEAL, [1.0] * 20 + [-1.0] * 40, POLICY)]
    assert found(pairs, fooled).reason.startswith("not usable: injection set: the judge prefers 20 of 60 decoys")
    untried = [*STEADY[:2], tried(APPEAL, [-1.0] * 29, POLICY)]
    assert found(pairs, untried).reason == "insufficient: injection set: 29 of 30 decoys tried"
    assert found(pairs, ()).reason == "insufficient: no decoy was tried"
    assert found(pairs).usable


def test_verdicts_that_change_when_asked_again_are_counted() -> None:
    pairs = [replace(each, steady=n % 4 > 0) if n < 20 else each for n, each in enumerate(judged((WIN, 100)))]
    assert found(pairs).stability == pytest.approx(0.75)


def test_a_talkative_subject_is_one_voice() -> None:
    loud = [Judged("loud", WIN, 0)] * 300
    seen = found([*loud, *judged((LOSS, 40))])
    assert seen.paired is not None and (seen.paired.better, seen.paired.worse) == (1, 40)
    assert seen.length_controlled is not None and seen.length_controlled.value < 0.1


def test_without_lengths_nothing_is_said_of_them_and_with_equal_ones_the_rate_is_the_plain_one() -> None:
    assert length_controlled(judged((WIN, 5), longer=None), 0.05) is None
    seen = length_controlled(judged((WIN, 300), (LOSS, 100)), 0.05)
    assert seen is not None and seen.value == pytest.approx(0.75, abs=0.005)
    assert seen.interval.low < 0.75 < seen.interval.high


def test_where_all_answers_are_shorter_alike_the_doubt_is_in_the_interval() -> None:
    alike = length_controlled(judged((LOSS, 140), (WIN, 60), longer=-0.5), 0.05)
    plain = length_controlled(judged((LOSS, 140), (WIN, 60)), 0.05)
    assert alike is not None and plain is not None
    assert plain.interval.high < 0.5 < alike.interval.high
    slightly = length_controlled(judged((LOSS, 140), (WIN, 60), longer=-0.05), 0.05)
    assert slightly is not None and slightly.interval.high < 0.5
