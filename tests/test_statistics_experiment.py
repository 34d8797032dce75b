"""Experiments: published numbers to the digit, then error rates and power by simulation of the functions that decide.

A rate is accepted up to three Monte Carlo errors above its level (`band`); a power down to three below its figure.
"""

from dataclasses import replace
from math import exp, log, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray
from simulated_arms import Numbers, band, joints, looks, moments, spliced

from monitoring.experiments import spending, superiority
from monitoring.experiments.sequential import (
    Difference,
    adjusted,
    difference,
    log_e_value,
    mean_margin,
    mixture_bound,
    mixture_log_e,
    mixture_rho,
    ratio_log_e,
)
from monitoring.policy import ExperimentPolicy, Rule

R, BATCH = 2000, 250
ANYTIME = ExperimentPolicy(planned=2000)


def by_looks(planned: int) -> ExperimentPolicy:
    return ExperimentPolicy(rule=Rule.GROUP_SEQUENTIAL, planned=planned)


def decided(found: Difference, policy: ExperimentPolicy) -> NDArray[np.int8]:
    """The verdict at each look under the rule."""
    if policy.rule is Rule.ANYTIME:
        return superiority.anytime(found, policy)
    return superiority.group_sequential(found.z, found.n, policy)


def ever(found: Difference, policy: ExperimentPolicy) -> float:
    return float((decided(found, policy)[:, -1] != 0).mean())


def floor_of(power: float, replicates: int) -> float:
    return power - 3 * sqrt(power * (1 - power) / replicates)


def users(
    rng: np.random.Generator, chance: Numbers, lift: float = 0.0, rate: float | Numbers = 1.0, size: int = BATCH
) -> tuple[Numbers, NDArray[np.bool_], NDArray[np.bool_]]:
    """Outcomes from -1 to 1, the arms of the users, and who rated; who does not is worth zero."""
    challenger = rng.random((size, len(chance))) < 0.5
    rated = rng.random(challenger.shape) < rate * np.ones(len(chance))
    liked = rng.random(challenger.shape) < chance + lift * challenger
    return np.where(rated, np.where(liked, 1.0, -1.0), 0.0), challenger, rated


def nets(
    chance: Numbers, planned: int, lift: float = 0.0, rate: float | Numbers = 1.0, replicates: int = R, **tuning: float
) -> Difference:
    """All replicates, looked at after every user."""
    rng, parts = np.random.default_rng(7), []
    for _ in range(replicates // BATCH):
        outcome, challenger, rated = users(rng, chance, lift, rate)
        parts.append(looks(outcome, challenger, rated, planned=planned, **{"floor": 1.0, **tuning}))
    return spliced(parts)


def test_the_normal_mixture_is_the_published_one() -> None:
    # confseq, uniform_boundaries_unittest.cpp: two-sided, tuned at 100, alpha .05
    rho = float(mixture_rho(100, 0.05))
    assert rho == pytest.approx(12.60056, abs=5e-6)
    assert float(mixture_log_e(10, 100, rho)) == pytest.approx(-0.6510052, abs=5e-8)
    assert float(mixture_bound(100, rho, 0.05)) == pytest.approx(30.35209, abs=5e-6)


def test_the_mixture_is_the_sequential_probability_ratio_with_a_normal_prior() -> None:
    # R. Johari et al., arXiv 1512.04922: 25 values of mean .8, sigma 1, prior deviation .5
    assert exp(float(mixture_log_e(25 * 0.8, 25, 1 / 0.5**2))) == pytest.approx(367.2530021527, abs=5e-11)


def test_the_margin_with_a_given_prior_is_the_published_one() -> None:
    # TensorZero, asymptotic_confidence_sequences.rs (proposition 2.5): variance .25, n = 100
    ratio = sqrt(-2 * log(0.05) + log(-2 * log(0.05)) + 1) / 10
    assert ratio == pytest.approx(0.296341, abs=5e-7)
    assert float(mixture_bound(100 * 0.25, 1 / ratio**2, 0.05)) / 100 == pytest.approx(0.161333, abs=5e-7)


@pytest.mark.parametrize(
    ("arms", "planned", "expected"),
    [
        # GrowthBook, packages/stats/tests/frequentist/test_tests.py: sum, sum of squares, n of both arms
        (((1396.87, 52377.9767, 3000), (2422.7, 134698.29, 3461)), 1000, (0.50336, -0.55844, 1.56516, 0.33341)),
        (((1396, None, 3000), (2422, None, 3461)), 5000, (0.50386, 0.40098, 0.60675, 0.03386)),
    ],
)
def test_the_confidence_sequence_of_a_lift_is_the_published_one(
    arms: tuple[tuple[float, float | None, int], ...], planned: float, expected: tuple[float, ...]
) -> None:
    means = [total / n for total, _, n in arms]
    variances = [
        mean * (1 - mean) if squares is None else (squares - total * mean) / (n - 1)
        for mean, (total, squares, n) in zip(means, arms, strict=True)
    ]
    (a, b), (va, vb), n = means, variances, sum(arm[2] for arm in arms)
    lift, error = b / a - 1, sqrt(vb / (a * a * arms[1][2]) + va * b * b / (a**4 * arms[0][2]))
    margin = float(mean_margin(n, error**2 * n, planned, 0.05))
    assert (lift, lift - margin, lift + margin, error) == pytest.approx(expected, abs=6e-6)


def test_a_broken_split_is_found_at_the_published_subject() -> None:
    # savvi, Multinomial.qmd: the legacy generator, truth .1 .3 .6, stated .1 .4 .5
    drawn = np.random.RandomState(1).multinomial(1, [0.1, 0.3, 0.6], 1000).cumsum(axis=0)
    evidence = ratio_log_e(drawn, [0.1, 0.4, 0.5])
    stopped = int(np.argmax(evidence >= log(20)))
    assert stopped + 1 == 402
    assert exp(-evidence[stopped]) == pytest.approx(0.04845591105969, abs=5e-14)


def test_boundaries_and_constants_are_the_published_ones() -> None:
    looks_ = (1, 2, 3, 4, 5, 10, 20, 50, 100, 200)
    peeked = (0.0500, 0.0831, 0.1073, 0.1262, 0.1417, 0.1934, 0.2479, 0.3205, 0.3736, 0.4243)
    assert [spending.peeking_error(k, 0.05) for k in looks_] == pytest.approx(peeked, abs=6e-5)  # Armitage et al., 1969
    # C. Jennison and B. W. Turnbull, Group sequential methods (2000), tables 2.1 and 2.3
    pocock, last = (2.178, 2.289, 2.361, 2.413, 2.555), (1.977, 2.004, 2.024, 2.040, 2.087)
    assert [spending.pocock(k, 0.05) for k in (2, 3, 4, 5, 10)] == pytest.approx(pocock, abs=6e-4)
    assert [spending.obrien_fleming(k, 0.05) for k in (2, 3, 4, 5, 10)] == pytest.approx(last, abs=6e-4)
    # The five equal looks of programs for alpha spending, such as ldbounds: two-sided .05
    expected = (4.8769, 3.3570, 2.6803, 2.2898, 2.0310)
    assert spending.boundaries(spending.equal(5), 0.05) == pytest.approx(expected, abs=6e-5)


@pytest.mark.parametrize(
    ("chance", "rate", "planned"),
    [
        (np.full(2000, 0.7), 1.0, 1900),
        (np.full(1500, 0.95), 1.0, 400),
        (0.6 + 0.25 * np.sin(np.arange(2000) / 50), 1.0, 1900),
        (np.full(3500, 0.7), 0.10, 300),
        (np.full(4000, 0.85), 0.05, 180),
        (np.full(2000, 0.8), np.linspace(0.05, 0.4, 2000), 400),
    ],
    ids=[
        "flat",
        "rare downs",
        "waves from .35 to .85",
        "one in ten rates",
        "one in twenty rates",
        "more and more rate",
    ],
)
def test_equal_arms_looked_at_after_every_user_are_promoted_or_rejected_within_the_level(
    chance: Numbers, rate: float | Numbers, planned: int
) -> None:
    found = nets(chance, planned, rate=rate)
    assert ever(found, replace(ANYTIME, planned=planned)) <= band(0.05, R)
    by_plan = ever(found, by_looks(planned))
    assert 0.02 < by_plan <= band(0.05, R)


def test_the_simulation_sees_what_naive_peeking_does_and_neither_rule_does_it() -> None:
    replicates, chance = 500, np.full(5000, 0.7)
    found = nets(chance, 2000, replicates=replicates)
    from_50_an_arm = np.where(np.isfinite(found.margin), np.abs(found.z), 0.0)
    peeked = (from_50_an_arm > 1.96).any(axis=1).mean()
    assert 0.35 < peeked < 0.50  # 42 % in the reference simulation
    assert (from_50_an_arm[:, -1] > 1.96).mean() <= band(0.05, replicates)
    assert ever(found, ANYTIME) <= band(0.05, replicates)
    assert ever(found, by_looks(4800)) <= band(0.05, replicates)


def test_without_burn_in_and_floor_the_level_is_lost() -> None:
    found = nets(np.full(400, 0.7), 100, burn_in=2, floor=0.0)
    assert ever(found, replace(ANYTIME, planned=100)) > band(0.05, R)  # 10-12 % in the reference simulation


def test_a_ramp_over_a_changing_mix_is_no_effect_within_its_splits_though_pooled_it_is() -> None:
    rng = np.random.default_rng(5)
    early, late = rng.random((R, 600)) < 0.1, rng.random((R, 600)) < 0.5
    good, poor = (np.where(rng.random((R, 600)) < chance, 1.0, -1.0) for chance in (0.9, 0.4))
    arms = []
    for arm in (False, True):
        first, then = moments(good, early == arm), moments(poor, late == arm)
        first = replace(first, **{name: np.repeat(getattr(first, name)[..., -1:], 600, 2) for name in ("n", "mean")})
        first = replace(first, variance=np.repeat(first.variance[..., -1:], 600, 2))
        arms.append(
            replace(
                then,
                n=np.concatenate([first.n, then.n]),
                mean=np.concatenate([first.mean, then.mean]),
                variance=np.concatenate([first.variance, then.variance]),
            )
        )
    found = difference(*arms, planned=1200, alpha=0.05, burn_in=50, floor=1.0)
    pooled = looks(np.hstack([good, poor]), np.hstack([early, late]), floor=1.0)
    # A claim rests on the final split alone, where looks are taken by the number of its subjects.
    final = looks(poor, late, floor=1.0, planned=600)
    assert ever(found, replace(ANYTIME, planned=1200)) <= band(0.05, R)
    assert ever(final, replace(ANYTIME, planned=600)) <= band(0.05, R)
    assert ever(final, by_looks(590)) <= band(0.05, R)
    assert min(ever(pooled, ANYTIME), ever(pooled, by_looks(1150))) > 0.9


def test_two_hundred_sticky_users_with_25_ratings_each_count_once_each() -> None:
    rng, people, ratings = np.random.default_rng(11), 200, 25
    challenger = rng.random((R, people)) < 0.5
    liked = rng.random((R, people, ratings)) < rng.beta(2, 1, (R, people))[:, :, None]
    nets_of = np.where(liked, 1.0, -1.0)
    so_far = nets_of.cumsum(axis=2) / np.arange(1, ratings + 1)
    # One look a round: everybody is there, and each mean has one more rating in it.
    parts = [looks(so_far[:, :, k], challenger, planned=200, floor=1.0) for k in range(ratings)]
    by_round = spliced([_last(part) for part in parts], axis=1)
    assert ever(by_round, replace(ANYTIME, planned=200)) <= band(0.05, R)
    growing = looks(so_far[:, :, -1], challenger, planned=200, floor=1.0)
    assert ever(growing, by_looks(200)) <= band(0.05, R)
    rounds = nets_of[:500].transpose(0, 2, 1).reshape(500, -1)
    per_rating = looks(rounds, np.tile(challenger[:500], (1, ratings)), planned=5000, floor=1.0)
    assert ever(per_rating, replace(ANYTIME, planned=5000)) > 0.25  # 37 % in the reference simulation
    assert ever(per_rating, by_looks(5000)) > 0.25


def _last(found: Difference) -> Difference:
    return Difference(*(part[:, -1:] for part in (found.estimate, found.margin, found.n, found.spread)))


@pytest.mark.parametrize(("lift", "subjects", "power", "median"), [(0.05, 5000, 0.80, 2700), (0.10, 2500, 0.99, 700)])
def test_power_of_the_confidence_sequence_at_the_reference_effects(
    lift: float, subjects: int, power: float, median: float
) -> None:
    shown = decided(nets(np.full(subjects, 0.7), 2000, lift, replicates=500), ANYTIME) > 0
    assert shown[:, -1].mean() >= power
    assert np.median(np.where(shown[:, -1], shown.argmax(axis=1), subjects)) <= median


def test_alpha_spending_needs_few_more_subjects_at_most_and_fewer_on_average_than_one_look() -> None:
    lift, spread = 0.1, 4 * 4 * 0.7475 * 0.2525
    policy = by_looks(400)
    policy = replace(policy, planned=superiority.planned(2 * lift, spread, policy, 0.8))
    fixed = (spending.fixed_drift(0.05, 0.8) / (2 * lift)) ** 2 * spread
    verdicts = decided(nets(np.full(policy.planned, 0.6975), policy.planned, lift), policy)
    assert policy.planned / fixed <= 1.06
    assert (verdicts[:, -1] == 1).mean() >= floor_of(0.8, R)
    stopped = np.where(verdicts[:, -1] != 0, (verdicts != 0).argmax(axis=1) + 1, policy.planned)
    assert stopped.mean() / fixed <= 0.82


@pytest.mark.parametrize(
    ("looks_", "budget", "expected"),
    [(5, 1.03, (1.02, 0.82, 0.62, 0.49)), (14, 1.04, (1.03, 0.78, 0.56, 0.43))],
)
def test_budget_and_expected_sample_by_integration_are_the_simulated_ones(
    looks_: int, budget: float, expected: tuple[float, ...]
) -> None:
    # A table by simulation (4,000 paths) for boundaries of O'Brien and Fleming; drift 0, 1, 1.5 and 2 times the plan's.
    fractions = spending.equal(looks_)
    bounds, most = spending.boundaries(fractions, 0.05), spending.budget(looks_, 0.05, 0.8)
    assert most == pytest.approx(budget, abs=0.01)
    for times, share in zip((0, 1, 1.5, 2), expected, strict=True):
        left = spending.leaving(bounds, fractions, times * spending.fixed_drift(0.05, 0.8) * sqrt(most)).sum(axis=0)
        assert most * (left @ fractions + 1 - left.sum()) == pytest.approx(share, abs=0.015)


def test_the_guardrail_rule_has_its_power_within_seventeen_tenths_of_one_looks_subjects() -> None:
    assert superiority.anytime_budget(0.05, 0.8) <= 1.7
    lift, spread = 0.1, 4 * 4 * 0.7475 * 0.2525
    most = round(1.7 * (spending.fixed_drift(0.05, 0.8) / (2 * lift)) ** 2 * spread)
    policy = replace(ANYTIME, planned=most)
    shown = decided(nets(np.full(most, 0.6975), most, lift, replicates=1000), policy)[:, -1] == 1
    assert shown.mean() >= floor_of(0.8, 1000)


@pytest.mark.parametrize("lift", [0.0, 0.15])
def test_what_subjects_were_like_before_sharpens_the_difference_and_biases_nothing(lift: float) -> None:
    rng, subjects, rho, share = np.random.default_rng(17), 800, 0.7, 0.8
    past = rng.standard_normal((R, subjects))
    challenger = rng.random((R, subjects)) < 0.5
    outcome = rho * past + sqrt(1 - rho**2) * rng.standard_normal(past.shape) + lift * challenger
    before = np.where(rng.random(past.shape) < share, past, 0.0)
    tuning = {"planned": 800, "alpha": 0.05, "burn_in": 50, "floor": 1.0}
    arms = [joints(outcome, before, arm) for arm in (~challenger, challenger)]
    first, second, slope = adjusted(*arms)
    sharp = difference(first, second, **tuning)  # type: ignore[arg-type]
    plain = difference(arms[0].outcome, arms[1].outcome, **tuning)  # type: ignore[arg-type]
    left = np.median(sharp.spread[:, -1] / plain.spread[:, -1])
    assert left == pytest.approx(1 - rho**2 * share, abs=0.02)
    assert np.median(slope[0, :, -1]) == pytest.approx(rho, abs=0.02)
    assert abs(sharp.estimate[:, -1].mean() - lift) < 3 * sharp.estimate[:, -1].std() / sqrt(R)
    for policy in (replace(ANYTIME, planned=800), by_looks(790)):
        with_past, without = ever(sharp, policy), ever(plain, policy)
        assert with_past <= band(0.05, R) if lift == 0.0 else with_past > without + 0.15


@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_the_rating_alarm_keeps_its_level_and_finds_an_arm_that_is_rated_less(rate: float) -> None:
    rng, subjects = np.random.default_rng(19), 3000
    tuning = {"planned": 400, "alpha": 0.001, "burn_in": 50, "floor": 0.25}
    challenger = rng.random((1000, subjects)) < 0.5

    def evidence(rated: NDArray[np.bool_]) -> Numbers:
        return np.asarray(log_e_value(looks(rated * 1.0, challenger, **tuning), 400, 0.001).max(axis=1))

    fair = evidence(rng.random(challenger.shape) < rate)
    assert (fair >= log(20)).mean() <= band(0.05, 1000)
    assert (fair >= log(1000)).mean() <= band(0.001, 1000)
    tilted = evidence(rng.random(challenger.shape) < np.where(challenger, rate / 2, rate))
    assert (tilted >= log(1000)).mean() > (0.95 if rate == 0.5 else 0.05)


def test_the_sequential_split_check_is_quiet_where_peeking_with_chi2_is_not_and_finds_53_to_47() -> None:
    rng, replicates, subjects = np.random.default_rng(2), 400, 20_000
    n = np.arange(1, subjects + 1)
    taken = (rng.random((replicates, subjects)) < 0.5).cumsum(axis=1)
    chi2 = ((2 * taken - n) ** 2 / n)[:, 20:]
    assert (chi2 > 3.841).any(axis=1).mean() > 0.4  # .05 peeked at: 52 % in the reference simulation
    assert (chi2 > 10.83).any(axis=1).mean() > 0.005  # .001: 2.8 %
    evidence = ratio_log_e(np.stack([n - taken, taken], axis=-1), (0.5, 0.5)).max(axis=1)
    assert (evidence >= log(20)).mean() <= band(0.05, replicates)
    assert (evidence >= log(1000)).mean() <= band(0.001, replicates)
    tilted = (rng.random((300, 12_000)) < 0.53).cumsum(axis=1)
    found = ratio_log_e(np.stack([n[:12_000] - tilted, tilted], axis=-1), (0.5, 0.5)) >= log(1000)
    assert found.any(axis=1).mean() > 0.99
    assert 3500 <= np.median(found.argmax(axis=1)) <= 5300  # 4369 in the reference simulation
