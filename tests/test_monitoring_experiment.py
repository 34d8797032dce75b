"""An A/B read at one look: who counts, what is claimed, what is harm, and what is missing."""

from collections.abc import Mapping

import numpy as np
import pytest
from simulated_arms import looks

from core.types import Subject
from monitoring.experiment import Effect, Exposure, Findings, Harm, examine
from monitoring.policy import ExperimentPolicy, Guardrail, Scale

POLICY = ExperimentPolicy(guardrails=())
LATENCY = ExperimentPolicy(guardrails=(Guardrail("latency", 0.25, Scale.RATIO),))
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
        )
        for place in range(n)
    ]


def thumbs(up: tuple[int, int], n: tuple[int, int], share: float = 0.5) -> list[Exposure]:
    parts = [[1.0] * liked + [0.0] * (total - liked) for liked, total in zip(up, n, strict=True)]
    return arm(False, {"thumbs": parts[0]}, n[0], share) + arm(True, {"thumbs": parts[1]}, n[1], share)


def measured(metric: str, a: list[float], b: list[float], policy: ExperimentPolicy) -> Findings:
    return examine(arm(False, {metric: a}, len(a)) + arm(True, {metric: b}, len(b)), 0.5, policy)


def test_a_clear_difference_is_shown_with_its_interval() -> None:
    found = examine(thumbs((20, 85), (100, 100)), 0.5, POLICY).primary
    assert found.effect is Effect.BETTER
    assert found.comparison.estimate == pytest.approx(0.65)
    assert found.comparison.interval is not None and 0.4 < found.comparison.interval.low < 0.65
    assert (found.comparison.champion.mean, found.comparison.challenger.mean) == (0.2, 0.85)
    assert examine(thumbs((85, 20), (100, 100)), 0.5, POLICY).primary.effect is Effect.WORSE


def test_one_look_is_what_the_simulations_look_at() -> None:
    rng = np.random.default_rng(0)
    challenger, outcome = rng.random((1, 300)) < 0.5, rng.random((1, 300))
    simulated = looks(outcome, challenger, planned=POLICY.planned)
    exposures = [
        Exposure(Subject(str(k)), bool(challenger[0, k]), 0.5, {"thumbs": float(outcome[0, k])}) for k in range(300)
    ]
    for n in (120, 300):
        found = examine(exposures[:n], 0.5, POLICY).primary.comparison
        margin = float(simulated.margin[0, n - 1])
        assert found.estimate == pytest.approx(float(simulated.estimate[0, n - 1]))
        assert found.interval is not None and found.interval.high - found.interval.low == pytest.approx(2 * margin)


def test_silence_is_unmeasured_and_says_how_much_is_missing() -> None:
    for exposures in ([], arm(False, {}, 400) + arm(True, {}, 400)):
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
    half_silent = arm(False, {"thumbs": [1.0, 0.0] * 200}, 400) + arm(True, {"thumbs": [1.0, 0.0] * 100}, 400)
    findings = examine(half_silent, 0.5, POLICY)
    assert (findings.split.broken, findings.rated.broken) == (False, True)


def test_the_split_is_checked_against_each_subjects_own_share() -> None:
    ramp = arm(False, {}, 900, 0.1) + arm(True, {}, 100, 0.1) + arm(False, {}, 500) + arm(True, {}, 500)
    found = examine(ramp, 0.5, POLICY).split
    assert (found.champion, found.challenger, found.broken) == (1400, 600, False)


def test_the_outlook_names_the_number_that_would_decide() -> None:
    found = examine(thumbs((60, 70), (100, 100)), 0.5, POLICY).primary
    assert found.effect is Effect.UNCLEAR
    assert found.outlook.startswith("About ") and found.outlook.endswith("if the difference stays +0.100.")
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
