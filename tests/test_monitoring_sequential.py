"""Anytime-valid bounds: published numbers to the digit, error rates and power by simulation."""

from math import exp, log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_arms import Numbers, band, looks, moments, stacked

from monitoring.sequential import (
    Difference,
    Moments,
    betting_interval,
    difference,
    mean_margin,
    mixture_bound,
    mixture_log_e,
    mixture_rho,
    ratio_log_e,
    subjects_needed,
)

REPLICATES, BATCH = 2000, 250


def experiments(
    baseline: Numbers, lift: float = 0.0, replicates: int = REPLICATES, **tuning: float
) -> list[Difference]:
    """Replicated experiments of Bernoulli subjects whose chance follows `baseline`, half of them raised by `lift`."""
    rng, found = np.random.default_rng(7), []
    for _ in range(replicates // BATCH):
        challenger = rng.random((BATCH, len(baseline))) < 0.5
        outcome = (rng.random(challenger.shape) < baseline + lift * challenger).astype(float)
        found.append(looks(outcome, challenger, **tuning))
    return found


def ever(found: list[Difference]) -> float:
    estimate, margin = stacked(found)
    return float((np.abs(estimate) > margin).any(axis=1).mean())


def test_the_normal_mixture_is_the_published_one() -> None:
    # confseq, uniform_boundaries_unittest.cpp: two-sided, tuned at 100, alpha .05
    rho = float(mixture_rho(100, 0.05))
    assert rho == pytest.approx(12.60056, abs=5e-6)
    assert float(mixture_log_e(10, 100, rho)) == pytest.approx(-0.6510052, abs=5e-8)
    assert float(mixture_bound(100, rho, 0.05)) == pytest.approx(30.35209, abs=5e-6)


def test_the_mixture_is_the_sequential_probability_ratio_with_a_normal_prior() -> None:
    # R. Johari et al., arXiv 1512.04922: 25 values of mean .8, sigma 1, prior deviation .5
    assert exp(float(mixture_log_e(25 * 0.8, 25, 1 / 0.5**2))) == pytest.approx(367.2530021527, abs=5e-11)


def test_the_bound_is_where_the_e_value_reaches_its_level() -> None:
    bound = mixture_bound([1.0, 50.0, 3000.0], 20.0, 0.01)
    assert mixture_log_e(bound, [1.0, 50.0, 3000.0], 20.0) == pytest.approx(log(100))


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


@pytest.mark.parametrize("shares", [(0.5, 0.6), (0.0, 1.0), (1.0,)])
def test_a_split_that_cannot_be_is_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="a split needs"):
        ratio_log_e([10, 10], shares)


@pytest.mark.parametrize(("burn_in", "planned"), [(50, 2000), (30, 100)])
@pytest.mark.parametrize(
    "baseline",
    [np.full(2000, 0.5), np.full(2000, 0.95), 0.6 + 0.25 * np.sin(np.arange(2000) / 50)],
    ids=["half", "rare", "waves"],
)
def test_looking_at_every_subject_keeps_the_level(baseline: Numbers, burn_in: int, planned: float) -> None:
    assert ever(experiments(baseline, burn_in=burn_in, planned=planned)) <= band(0.05, REPLICATES)


def test_without_burn_in_and_floor_the_level_is_lost_and_the_simulation_sees_it() -> None:
    assert ever(experiments(np.full(400, 0.5), burn_in=2, floor=0.0, planned=100)) > band(0.05, REPLICATES)


def test_naive_peeking_is_far_from_its_level() -> None:
    rng = np.random.default_rng(3)
    challenger = rng.random((500, 2000)) < 0.5
    outcome = (rng.random(challenger.shape) < 0.7).astype(float)
    a, b = moments(outcome, ~challenger), moments(outcome, challenger)
    gap, error = (part[0, :, 100:] for part in (b.mean - a.mean, a.variance * b.n + b.variance * a.n))
    error = error / (a.n * b.n)[0, :, 100:]
    assert (np.abs(gap) > 1.96 * np.sqrt(error)).any(axis=1).mean() > 0.25


def test_a_ramp_over_a_changing_mix_is_no_effect_within_its_splits_though_pooled_it_is() -> None:
    rng = np.random.default_rng(5)
    early, late = rng.random((REPLICATES, 600)) < 0.1, rng.random((REPLICATES, 600)) < 0.5
    good, poor = rng.random(early.shape) < 0.9, rng.random(late.shape) < 0.4
    arms = []
    for arm in (False, True):
        first, then = moments(good * 1.0, early == arm), moments(poor * 1.0, late == arm)
        first = Moments(*(np.repeat(part[:, :, -1:], 600, axis=2) for part in (first.n, first.mean, first.variance)))
        pairs = zip((first.n, first.mean, first.variance), (then.n, then.mean, then.variance), strict=True)
        arms.append(Moments(*(np.concatenate(pair) for pair in pairs)))
    found = difference(*arms, planned=1200, alpha=0.05, burn_in=50, floor=0.25)
    pooled = looks(np.hstack([good, poor]) * 1.0, np.hstack([early, late]))
    assert ever([found]) <= band(0.05, REPLICATES)
    assert ever([pooled]) > 0.9


def test_a_subject_counts_once_however_often_it_rates() -> None:
    rng, replicates, users, ratings = np.random.default_rng(11), 500, 200, 25
    mood = rng.beta(2, 1, (replicates, users))
    rated = rng.random((replicates, users, ratings)) < mood[:, :, None]
    challenger = rng.random((replicates, users)) < 0.5
    per_user = looks(rated.mean(axis=2), challenger, planned=200)
    per_rating = looks(rated.reshape(replicates, -1) * 1.0, np.repeat(challenger, ratings, axis=1), planned=5000)
    assert ever([per_user]) <= band(0.05, replicates)
    assert ever([per_rating]) > 0.25


@pytest.mark.parametrize(("lift", "subjects", "power", "median"), [(0.05, 5000, 0.8, 2700), (0.10, 2500, 0.99, 700)])
def test_power_at_the_reference_effects(lift: float, subjects: int, power: float, median: float) -> None:
    estimate, margin = stacked(experiments(np.full(subjects, 0.7), lift, 500))
    shown = estimate > margin
    assert shown.any(axis=1).mean() >= power
    assert np.median(np.where(shown.any(axis=1), shown.argmax(axis=1), subjects)) <= median


def test_nothing_is_claimed_before_the_burn_in_of_both_arms() -> None:
    def arm(n: float, mean: float) -> Moments:
        return Moments(np.array([n]), np.array([mean]), np.array([0.01]))

    claim = {"planned": 400, "alpha": 0.05, "burn_in": 50, "floor": 0.25}
    assert np.isinf(difference(arm(5000, 0.0), arm(49, 1.0), **claim).margin)  # type: ignore[arg-type]
    assert np.isfinite(difference(arm(50, 0.0), arm(50, 1.0), **claim).margin)  # type: ignore[arg-type]


def test_the_number_of_subjects_needed_is_the_first_that_decides() -> None:
    needed = subjects_needed(-0.1, 0.84, 400, 0.05)
    assert needed is not None
    assert float(mean_margin(needed, 0.84, 400, 0.05)) < 0.1 <= float(mean_margin(needed - 1, 0.84, 400, 0.05))
    assert subjects_needed(0.0, 0.84, 400, 0.05) is None


def test_the_split_check_keeps_its_level_at_every_subject_and_finds_a_tilt() -> None:
    rng, replicates = np.random.default_rng(2), 1000
    taken = (rng.random((replicates, 3000)) < 0.5).cumsum(axis=1)
    fair = ratio_log_e(np.stack([np.arange(1, 3001) - taken, taken], axis=-1), (0.5, 0.5)).max(axis=1)
    assert (fair >= log(20)).mean() <= band(0.05, replicates)
    assert (fair >= log(1000)).mean() <= band(0.001, replicates)
    taken = (rng.random((300, 12000)) < 0.53).cumsum(axis=1)
    tilted = ratio_log_e(np.stack([np.arange(1, 12001) - taken, taken], axis=-1), (0.5, 0.5)) >= log(1000)
    assert 3500 <= np.median(tilted.argmax(axis=1)) <= 5300  # 4369 in the reference simulation


@pytest.mark.parametrize("chances", [(0.05, 0.9, 0.05), (0.5, 0.0, 0.5), (0.1, 0.45, 0.45)])
def test_bets_hold_the_true_mean_at_all_looks(chances: tuple[float, float, float]) -> None:
    rng, replicates, truth = np.random.default_rng(13), 300, chances[2] - chances[0]
    wrong = 0
    for _ in range(replicates):
        values = rng.choice([-1.0, 0.0, 1.0], size=640, p=chances)
        found = [betting_interval(values[:n], 0.05) for n in (5, 10, 20, 40, 80, 160, 320, 640)]
        wrong += any(not i.low <= truth <= i.high for i in found)
    assert wrong / replicates <= band(0.05, replicates)


def test_equal_answers_rule_out_a_loss_of_five_points_after_86_pairs() -> None:
    assert betting_interval(np.zeros(85), 0.05).low < -0.05 < betting_interval(np.zeros(86), 0.05).low


@given(st.lists(st.floats(-1, 1), max_size=60))
def test_bets_hold_the_sample_mean_mirror_and_do_not_mind_the_order(values: list[float]) -> None:
    found = betting_interval(values, 0.05)
    mirror = betting_interval([-v for v in values], 0.05)
    again = betting_interval(sorted(values), 0.05)
    assert -1 <= found.low <= (np.mean(values) if values else 0) + 1e-9 <= found.high + 2e-9 <= 1 + 2e-9
    assert (found.low, found.high) == pytest.approx((-mirror.high, -mirror.low), abs=1e-6)
    assert (found.low, found.high) == pytest.approx((again.low, again.high), abs=1e-9)


@pytest.mark.parametrize("value", [1.5, float("nan")])
def test_bets_refuse_what_lies_outside_their_range(value: float) -> None:
    with pytest.raises(ValueError, match="betting needs values"):
        betting_interval([0.0, value], 0.05)
