"""Routing: the precedence, and what the hash promises about shares, stickiness and independence."""

import subprocess
import sys
from itertools import product
from math import sqrt

import pytest

from core.types import Arm, Assignment, Holdback, Plan, Split, Subject, Version
from serving.router import assign, bucket

OLD, CHAMPION, CHALLENGER, NAMED = (Version(f"m-{name}") for name in ("old", "champion", "challenger", "named"))
SUBJECTS = [Subject(f"subject-{number}") for number in range(20_000)]


def plan(*, share: float | None = None, held: float | None = None, salt: str = "split") -> Plan:
    return Plan(
        revision=7,
        champion=CHAMPION,
        previous=OLD,
        split=None if share is None else Split("exp", CHALLENGER, share, salt),
        holdback=None if held is None else Holdback(OLD, held, "held"),
    )


def challengers(share: float, salt: str = "split") -> set[Subject]:
    return {s for s in SUBJECTS if assign(plan(share=share, salt=salt), s).arm is Arm.CHALLENGER}


def within(count: int, share: float, total: int = len(SUBJECTS)) -> bool:
    """Within 5 standard deviations: wrong once in 1.7 million fair hashes."""
    return abs(count - share * total) <= 5 * sqrt(total * share * (1 - share))


def test_precedence_is_named_pin_holdback_experiment_champion() -> None:
    subject = SUBJECTS[0]
    everything = plan(share=1.0, held=1.0)
    assert assign(everything, subject, named=NAMED, pinned=CHALLENGER).arm is Arm.NAMED
    assert assign(everything, subject, pinned=CHALLENGER).arm is Arm.PINNED
    assert assign(everything, subject).arm is Arm.HOLDBACK
    assert assign(plan(share=1.0), subject).arm is Arm.CHALLENGER
    assert assign(plan(share=0.0, held=0.0), subject).arm is Arm.CHAMPION
    assert assign(plan(), subject).arm is Arm.CHAMPION


COMBINATIONS = list(product((None, NAMED), (None, OLD), (0.0, 1.0), (0.0, 1.0)))


@pytest.mark.parametrize(("named", "pinned", "held", "share"), COMBINATIONS)
def test_every_combination_serves_the_first_that_applies(
    named: Version | None, pinned: Version | None, held: float, share: float
) -> None:
    found = assign(plan(share=share, held=held), SUBJECTS[0], named=named, pinned=pinned)
    expected = named or pinned or (OLD if held else CHALLENGER if share else CHAMPION)
    assert found.version == expected


def test_a_pin_to_a_version_that_the_plan_has_dropped_is_void() -> None:
    assert assign(plan(), SUBJECTS[0], pinned=Version("m-gone")).arm is Arm.CHAMPION


def test_a_named_version_has_no_reserve_and_every_other_than_the_champion_has() -> None:
    subject, everything = SUBJECTS[0], plan(share=1.0)
    assert assign(everything, subject, named=NAMED).reserve is None
    assert assign(everything, subject).reserve == CHAMPION
    assert assign(everything, subject, pinned=OLD).reserve == CHAMPION
    assert assign(plan(held=1.0), subject).reserve == CHAMPION
    assert assign(plan(), subject).reserve is None


def test_both_arms_carry_the_experiment_and_nothing_else_does() -> None:
    arms: dict[Arm, Assignment] = {}
    for subject in SUBJECTS[:500]:
        found = assign(plan(share=0.5, held=0.2), subject)
        arms[found.arm] = found
    assert arms[Arm.CHALLENGER].experiment == arms[Arm.CHAMPION].experiment == "exp"
    assert arms[Arm.HOLDBACK].experiment is None
    assert assign(plan(share=1.0), SUBJECTS[0], named=CHALLENGER).experiment is None
    assert assign(plan(share=1.0), SUBJECTS[0], pinned=CHALLENGER).experiment is None


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2, 0.5, 0.9])
def test_the_share_is_met_within_five_standard_deviations(share: float) -> None:
    assert within(len(challengers(share)), share)


def test_places_are_uniform_over_the_unit_interval() -> None:
    cells = [0] * 20
    for subject in SUBJECTS:
        place = bucket("salt", subject)
        assert 0 <= place < 1
        cells[int(place * 20)] += 1
    chi_square = sum((cell - 1000) ** 2 / 1000 for cell in cells)
    assert chi_square < 58.0  # 19 degrees of freedom: exceeded by a fair hash with probability 1e-5


def test_a_subject_stays_where_it_is_whatever_process_asks() -> None:
    code = "from serving.router import bucket; print(repr(bucket('salt', 'someone')))"
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert float(elsewhere.stdout) == bucket("salt", Subject("someone"))


def test_raising_the_share_moves_nobody_out_of_the_challenger_arm() -> None:
    small, large = challengers(0.1), challengers(0.3)
    assert small < large


def test_two_salts_draw_independently() -> None:
    first, second = challengers(0.5, "a"), challengers(0.5, "b")
    assert within(len(first & second), 0.25)
    assert within(len(first - second), 0.25)


def test_being_held_back_says_nothing_about_the_arm_otherwise() -> None:
    arms = [assign(plan(share=0.5, held=0.2), subject).arm for subject in SUBJECTS]
    free = [arm for arm in arms if arm is not Arm.HOLDBACK]
    assert within(len(arms) - len(free), 0.2)
    assert within(free.count(Arm.CHALLENGER), 0.5, len(free))


def test_propensity_is_the_frequency_of_the_arm_and_sums_to_one() -> None:
    drawn: dict[Arm, list[float]] = {}
    for subject in SUBJECTS:
        found = assign(plan(share=0.3, held=0.1), subject)
        drawn.setdefault(found.arm, []).append(found.propensity)
    propensities = {arm: values[0] for arm, values in drawn.items()}
    assert all(set(values) == {propensities[arm]} for arm, values in drawn.items())
    assert propensities == pytest.approx({Arm.HOLDBACK: 0.1, Arm.CHALLENGER: 0.27, Arm.CHAMPION: 0.63})
    assert all(within(len(values), propensities[arm]) for arm, values in drawn.items())


def test_salt_and_subject_do_not_run_into_each_other() -> None:
    assert bucket("ab", Subject("c")) != bucket("a", Subject("bc"))


def test_an_assignment_carries_the_revision_it_was_made_under() -> None:
    assert assign(plan(), SUBJECTS[0]).revision == assign(plan(), SUBJECTS[0], named=NAMED).revision == 7
