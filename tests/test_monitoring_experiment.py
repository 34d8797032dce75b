"""An A/B read at one look: who counts, what is claimed, what is harm, and what is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from simulated_arms import looks

from core.types import Subject
from monitoring.experiments import spending, superiority
from monitoring.experiments.experiment import examine
from monitoring.experiments.findings import Effect, Exposure, Findings, Harm, Taken
from monitoring.policy import ExperimentPolicy, Guardrail, Rule, Scale

POLICY = ExperimentPolicy(guardrails=())
LATENCY = ExperimentPolicy(guardrails=(Guardrail("latency", 0.25, Scale.RATIO),))
BY_LOOKS = replace(POLICY, rule=Rule.GROUP_SEQUENTIAL, planned=400, looks=4)
SKILLS = ExperimentPolicy(guardrails=(Guardrail("old_skills", 0.05, higher_is_worse=False),))


def arm(
    challenger: bool, values: Mapping[str, list[float]], n: int, share: float = 0.5, group: str = ""
) -> list[Exposure]:
    """`n` subjects of one arm; each metric's values go to the first of them."""
    return [
        Exposure(
            subject=Subject(f"{group}{challenger}{share}{place}"),
            challenger=challenger,
            share=share,
            outcomes={name: given[place] for name, given in values.items() if place < len(given)},
            rated=place < len(values.get("thumbs", [])) and values["thumbs"][place] != 0.0,
        )
        for place in range(n)
    ]


def thumbs(up: tuple[int, int], n: tuple[int, int], share: float = 0.5) -> list[Exposure]:
    parts = [[1.0] * liked + [-1.0] * (total - liked) for liked, total in zip(up, n, strict=True)]
    return arm(False, {"thumbs": parts[0]}, n[0], share) + arm(True, {"thumbs": parts[1]}, n[1], share)


def measured(metric: str, a: list[float], b: list[float], policy: ExperimentPolicy) -> Findings:
    return examine(arm(False, {metric: a}, len(a)) + arm(True, {metric: b}, len(b)), 0.5, policy)


def test_a_clear_difference_is_shown_with_its_interval() -> None:
    found = examine(thumbs((20, 85), (100, 100)), 0.5, POLICY).primary
    assert found.effect is Effect.BETTER
    assert found.comparison.estimate == pytest.approx(1.3)
    assert found.comparison.interval is not None and 0.8 < found.comparison.interval.low < 1.3
    assert (found.comparison.champion.mean, found.comparison.challenger.mean) == pytest.approx((-0.6, 0.7))
    assert examine(thumbs((85, 20), (100, 100)), 0.5, POLICY).primary.effect is Effect.WORSE


def test_one_look_is_what_the_simulations_look_at() -> None:
    rng = np.random.default_rng(0)
    challenger, rated = rng.random((1, 900)) < 0.5, rng.random((1, 900)) < 0.4
    outcome = np.where(rated, rng.choice([-1.0, 1.0], size=(1, 900)) + 0.4 * challenger, 0.0)
    simulated = looks(outcome, challenger, rated, planned=400, floor=1.0)
    exposures = [
        Exposure(Subject(str(k)), bool(challenger[0, k]), 0.5, {"thumbs": float(outcome[0, k])}, bool(rated[0, k]))
        for k in range(900)
    ]
    by_looks = superiority.group_sequential(simulated.z, simulated.n, BY_LOOKS)[0]
    taken: Sequence[Taken] = ()
    for n in range(290, 900, 5):
        found = examine(exposures[:n], 0.5, POLICY).primary.comparison
        margin = float(simulated.margin[0, n - 1])
        assert found.estimate == pytest.approx(float(simulated.estimate[0, n - 1]))
        assert found.interval is not None and found.interval.high - found.interval.low == pytest.approx(2 * margin)
    for n in range(1, 900):
        outcome_ = examine(exposures[:n], 0.5, BY_LOOKS, taken).primary
        taken = outcome_.taken
        assert superiority.verdict(taken) == by_looks[n - 1] if taken else by_looks[n - 1] == 0
    assert len(taken) >= 2 and by_looks[-1] == 1


def test_silence_is_unmeasured_and_says_how_much_is_missing() -> None:
    unrated = {"thumbs": [0.0] * 400}
    for exposures in ([], arm(False, {}, 400) + arm(True, {}, 400), arm(False, unrated, 400) + arm(True, unrated, 400)):
        found = examine(exposures, 0.5, POLICY).primary
        assert (found.effect, found.comparison.interval) == (Effect.UNMEASURED, None)
        assert "0 with the champion and 0 with the challenger, of 50 each" in found.outlook


def test_one_single_user_is_no_experiment() -> None:
    findings = examine(arm(True, {"thumbs": [1.0], "latency": [0.2]}, 1), 0.5, LATENCY)
    assert findings.primary.effect is Effect.UNMEASURED
    assert findings.guardrails[0].harm is Harm.UNMEASURED
    assert not findings.split.broken


def test_identical_arms_are_never_told_apart() -> None:
    found = examine(thumbs((500, 500), (500, 500)), 0.5, POLICY).primary
    assert (found.effect, found.comparison.estimate) == (Effect.UNCLEAR, 0.0)
    assert "no affordable number would tell them apart" in found.outlook


def test_subjects_first_met_before_the_final_split_are_counted_and_left_out() -> None:
    early, final = thumbs((300, 0), (300, 33), 0.1), thumbs((20, 85), (100, 100))
    alone, both = examine(final, 0.5, POLICY), examine(early + final, 0.5, POLICY)
    assert (alone.left_out, both.left_out) == (0, 333)
    assert both.primary == alone.primary


def test_the_first_small_step_counts_for_the_guardrails_within_its_own_split() -> None:
    # Early traffic is slow in both arms and meets the challenger rarely: pooled, the challenger would look fast.
    early = arm(False, {"latency": [2.0, 2.2] * 150}, 300, 0.1) + arm(True, {"latency": [2.0, 2.2] * 17}, 34, 0.1)
    final = arm(False, {"latency": [0.5, 0.6] * 50}, 100) + arm(True, {"latency": [1.0, 1.2] * 50}, 100)
    guarded = examine(early + final, 0.5, LATENCY).guardrails[0]
    assert guarded.comparison.estimate is not None and 0.25 < guarded.comparison.estimate < 1.0
    assert (guarded.comparison.champion.measured, guarded.comparison.challenger.measured) == (400, 134)


@pytest.mark.parametrize(
    ("champion", "challenger", "harm"),
    [
        ([1.0, 1.1] * 15, [3.0, 3.3] * 15, Harm.SHOWN),
        ([1.0, 2.0] * 15, [1.0, 2.0] * 15, Harm.UNSEEN),
        ([1.0, 2.0] * 500, [1.0, 2.0] * 500, Harm.EXCLUDED),
        ([1.0, 1.1] * 15, [9.0, 9.9] * 14, Harm.UNMEASURED),
    ],
)
def test_a_ratio_guardrail_needs_thirty_subjects_an_arm(
    champion: list[float], challenger: list[float], harm: Harm
) -> None:
    assert measured("latency", champion, challenger, LATENCY).guardrails[0].harm is harm


def test_a_ratio_is_that_of_the_geometric_means() -> None:
    guarded = measured("latency", [0.5, 2.0] * 40, [1.0, 4.0] * 40, LATENCY).guardrails[0]
    assert guarded.comparison.estimate == pytest.approx(1.0)
    assert (guarded.comparison.champion.mean, guarded.comparison.challenger.mean) == pytest.approx((1.0, 2.0))
    assert guarded.margin == 0.25


@pytest.mark.parametrize(
    ("champion", "challenger", "harm"),
    [(95, 30, Harm.SHOWN), (30, 95, Harm.EXCLUDED), (90, 88, Harm.UNSEEN)],
)
def test_a_guardrail_knows_which_way_is_worse(champion: int, challenger: int, harm: Harm) -> None:
    a, b = ([1.0] * n + [0.0] * (100 - n) for n in (champion, challenger))
    guarded = measured("old_skills", a, b, SKILLS).guardrails[0]
    assert (guarded.harm, guarded.margin) == (harm, -0.05)


def test_a_broken_split_and_unequal_rating_are_two_findings() -> None:
    fair, tilted = thumbs((300, 300), (500, 500)), thumbs((400, 200), (700, 400))
    assert not examine(fair, 0.5, POLICY).split.broken
    assert examine(tilted, 0.5, POLICY).split.broken
    silent = {"thumbs": [1.0, -1.0] * 200}, {"thumbs": [1.0, -1.0] * 100 + [0.0] * 200}
    findings = examine(arm(False, silent[0], 400) + arm(True, silent[1], 400), 0.5, POLICY)
    assert (findings.split.broken, findings.answered.broken) == (False, False)
    assert (findings.rated.broken, findings.rating.alarm) == (True, True)
    assert (findings.rating.champion.rate, findings.rating.challenger.rate) == (1.0, 0.5)
    unanswered = {"thumbs": [1.0, -1.0] * 200}, {"thumbs": [1.0, -1.0] * 100}
    findings = examine(arm(False, unanswered[0], 400) + arm(True, unanswered[1], 400), 0.5, POLICY)
    assert (findings.split.broken, findings.answered.broken, findings.rating.alarm) == (False, True, False)


def test_the_split_is_checked_against_each_subjects_own_share() -> None:
    ramp = arm(False, {}, 900, 0.1) + arm(True, {}, 100, 0.1) + arm(False, {}, 500) + arm(True, {}, 500)
    found = examine(ramp, 0.5, POLICY).split
    assert (found.champion, found.challenger, found.broken) == (1400, 600, False)


def test_the_outlook_names_the_number_that_would_decide() -> None:
    found = examine(thumbs((60, 70), (100, 100)), 0.5, POLICY).primary
    assert found.effect is Effect.UNCLEAR
    assert found.outlook.startswith("About ") and "more rated subjects decide it" in found.outlook
    assert found.outlook.endswith("if the difference stays +0.200.")
    more = int(found.outlook.split()[1])
    scale = (200 + more) // 200 + 1
    assert (
        examine(thumbs((60 * scale, 70 * scale), (100 * scale, 100 * scale)), 0.5, POLICY).primary.effect
        is Effect.BETTER
    )


@pytest.mark.parametrize(
    ("exposures", "message"),
    [
        (arm(True, {}, 1) * 2, "listed twice"),
        (arm(True, {}, 1, share=1.0), "share lies between 0 and 1"),
        (arm(True, {"thumbs": [float("nan")]}, 1), "outcome thumbs of subject"),
        (arm(True, {"latency": [0.0]}, 1), "must be positive"),
    ],
)
def test_data_that_cannot_be_is_refused(exposures: list[Exposure], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        examine(exposures, 0.5, LATENCY)


@pytest.mark.parametrize("loose", [{"minimum": 29}, {"guardrail_minimum": 10}, {"alpha": 1.0}])
def test_no_profile_loosens_the_validity(loose: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"30 subjects|alpha"):
        ExperimentPolicy(**loose)  # type: ignore[arg-type]


def test_a_subject_that_says_nothing_counts_in_the_mean_and_not_as_information() -> None:
    few = {"thumbs": [1.0] * 60 + [-1.0] * 40 + [0.0] * 900}, {"thumbs": [1.0] * 95 + [-1.0] * 5 + [0.0] * 900}
    found = examine(arm(False, few[0], 1000) + arm(True, few[1], 1000), 0.5, POLICY)
    sides = found.primary.comparison.champion, found.primary.comparison.challenger
    assert [(side.subjects, side.measured) for side in sides] == [(1000, 100), (1000, 100)]
    assert [side.mean for side in sides] == pytest.approx([0.02, 0.09])
    assert found.primary.effect is Effect.BETTER
    assert examine(arm(False, few[0], 1000) + arm(True, few[1], 49), 0.5, POLICY).primary.effect is Effect.UNMEASURED


def test_an_arm_whose_rare_raters_are_happy_is_not_better_than_one_that_pleases_more() -> None:
    # Up of rated would say 100 % against 80 %; per answer it is .05 against .48.
    loud = {"thumbs": [1.0] * 320 + [-1.0] * 80 + [0.0] * 100}
    found = examine(arm(False, loud, 500) + arm(True, {"thumbs": [1.0] * 60 + [0.0] * 440}, 500), 0.5, POLICY)
    assert found.primary.effect is Effect.WORSE
    assert found.rating.alarm


def grown(n: int, up: tuple[float, float]) -> list[Exposure]:
    """`n` subjects an arm that all rate; the shares of the content ones are exact at every ten subjects."""
    return [
        Exposure(Subject(f"{a}{k}"), bool(a), 0.5, {"thumbs": 1.0 if k % 10 < 10 * up[a] else -1.0}, rated=True)
        for a in (0, 1)
        for k in range(n)
    ]


def test_between_two_scheduled_looks_the_last_one_stands_as_it_was() -> None:
    first = examine(grown(50, (0.5, 0.7)), 0.5, BY_LOOKS).primary
    assert [look.information for look in first.taken] == [100]
    bounds = spending.boundaries([0.25], 0.05)
    assert first.taken[0].boundary == pytest.approx(float(bounds[0]), abs=1e-6)
    assert first.comparison.interval is not None
    reach = first.taken[0].boundary * first.taken[0].error
    assert first.comparison.interval.high - 0.4 == pytest.approx(reach, abs=1e-5)
    later = examine(grown(90, (0.1, 0.9)), 0.5, BY_LOOKS, first.taken).primary
    assert (later.taken, later.comparison.estimate, later.effect) == (first.taken, 0.4, Effect.UNCLEAR)
    assert later.comparison.champion.measured == 90
    due = examine(grown(100, (0.1, 0.9)), 0.5, BY_LOOKS, first.taken).primary
    assert [look.information for look in due.taken] == [100, 200]
    assert due.effect is Effect.BETTER


def test_a_decision_stands_and_no_more_looks_are_taken() -> None:
    won = examine(grown(100, (0.1, 0.9)), 0.5, BY_LOOKS).primary
    assert won.effect is Effect.BETTER
    assert won.outlook.startswith("Decided at look 1, with 200 rated subjects; the interval holds, the estimate")
    after = examine(grown(300, (0.9, 0.1)), 0.5, BY_LOOKS, won.taken).primary
    assert (after.effect, after.taken) == (Effect.BETTER, won.taken)
    assert examine(grown(100, (0.9, 0.1)), 0.5, BY_LOOKS).primary.effect is Effect.WORSE


def test_unequal_looks_spend_by_the_information_that_there_was() -> None:
    first = examine(grown(70, (0.5, 0.5)), 0.5, BY_LOOKS).primary
    last = examine(grown(260, (0.5, 0.6)), 0.5, BY_LOOKS, first.taken).primary
    assert [look.information for look in last.taken] == [140, 520]
    expected = spending.boundaries([140 / 400, 520 / 400], 0.05)
    assert [look.boundary for look in last.taken] == pytest.approx(list(expected), abs=1e-6)


def test_after_the_last_look_nothing_shown_is_inconclusive() -> None:
    ended = examine(grown(200, (0.5, 0.5)), 0.5, BY_LOOKS).primary
    assert ended.effect is Effect.INCONCLUSIVE
    assert ended.outlook == "The last look, with 400 rated subjects, showed no difference."
    assert examine(grown(900, (0.1, 0.9)), 0.5, BY_LOOKS, ended.taken).primary.effect is Effect.INCONCLUSIVE


def test_the_outlook_of_planned_looks_counts_to_the_next_and_to_the_last_one() -> None:
    before = examine(grown(49, (0.5, 0.6)), 0.5, BY_LOOKS).primary
    assert before.outlook.startswith("Too few subjects with thumbs: 49 with the champion")
    first = examine(grown(60, (0.5, 0.7)), 0.5, BY_LOOKS).primary
    assert first.outlook.startswith("The next look is after 80 more, the last after 280 more.")
    assert first.outlook.endswith("About 180 more rated subjects decide it if the difference stays +0.400.")
    alike = examine(grown(60, (0.5, 0.5)), 0.5, BY_LOOKS).primary
    assert alike.outlook == "The next look is after 80 more, the last after 280 more rated subjects."


def test_a_test_goes_on_under_the_plan_that_it_began_with() -> None:
    first = examine(grown(50, (0.5, 0.6)), 0.5, BY_LOOKS).primary
    hurried = replace(BY_LOOKS, planned=110)
    assert examine(grown(60, (0.5, 0.6)), 0.5, hurried, first.taken).primary.taken == first.taken


def test_what_subjects_were_like_before_is_taken_out_and_said() -> None:
    rng = np.random.default_rng(3)
    mood, taken = rng.standard_normal(600), rng.random(600) < 0.5
    values = np.clip(mood + 0.1 * taken + 0.2 * rng.standard_normal(600), -3, 3) / 3

    def made(known: float) -> list[Exposure]:
        return [
            Exposure(
                Subject(str(k)),
                bool(taken[k]),
                0.5,
                {"thumbs": float(values[k])},
                rated=True,
                before=float(mood[k]) if k < known * 600 else None,
            )
            for k in range(600)
        ]

    plain, sharp, some = (examine(made(known), 0.5, POLICY).primary for known in (0.0, 1.0, 0.5))
    assert plain.adjustment is None
    assert sharp.adjustment is not None and some.adjustment is not None
    assert (sharp.adjustment.subjects, some.adjustment.subjects) == (600, 300)
    assert sharp.adjustment.reduction > 0.8 > some.adjustment.reduction > 0.3
    widths = [
        p.comparison.interval.high - p.comparison.interval.low for p in (plain, some, sharp) if p.comparison.interval
    ]
    assert widths == sorted(widths, reverse=True) and len(widths) == 3
    assert plain.effect is Effect.UNCLEAR and sharp.effect is Effect.BETTER


def test_subjects_of_a_week_that_is_not_over_guard_but_do_not_decide() -> None:
    early, late = (
        [replace(e, subject=Subject(f"{at}{e.subject}"), at=at, outcomes={**e.outcomes, "latency": speed})
         for e, speed in zip(group, [1.0, 1.1] * 100, strict=True)]
        for at, group in ((5, grown(100, (0.1, 0.9))), (15, grown(100, (0.9, 0.1))))
    )  # fmt: skip
    found = examine([*early, *late], 0.5, LATENCY, until=10)
    assert (found.primary.comparison.estimate, found.left_out) == (pytest.approx(1.6), 200)
    assert found.guardrails[0].comparison.champion.measured == 200
