"""Calibration: scores against closed forms, and a watch that keeps its promise at every rating."""

import json

import numpy as np
import pytest
from simulated_arms import band
from sklearn.metrics import brier_score_loss

from core.types import Verdict
from monitoring import calibration
from monitoring.calibration import CalibrationWatch, debiased_ece, finding, observe, scores
from monitoring.policy import CalibrationPolicy

POLICY = CalibrationPolicy()


def rated(rng: np.random.Generator, n: int, shift: float = 0.0) -> list[tuple[float, bool]]:
    """Confidences from Beta(4, 1.5), liked with a chance that lies `shift` beside them."""
    confidence = rng.beta(4, 1.5, n)
    liked = rng.random(n) < np.clip(confidence + shift, 0, 1)
    return list(zip(confidence.tolist(), liked.tolist(), strict=True))


def test_the_squared_error_is_that_of_the_closed_form() -> None:
    # f uniform, y ~ Bernoulli(f^2): E (f - f^2)^2 = 1/30, the Brier score E[f^2 - 2 f^3 + f^2] = 2/3 - 1/2
    rng = np.random.default_rng(1)
    confidence = rng.random(200_000)
    liked = rng.random(200_000) < confidence**2
    found = scores(confidence, liked, bins=100)
    assert found is not None
    assert found.ece == pytest.approx(1 / 30, abs=1e-3)
    assert found.brier == pytest.approx(1 / 6, abs=2e-3)
    assert found.brier == pytest.approx(brier_score_loss(liked, confidence))
    assert (found.liked, found.base) == pytest.approx((1 / 3, 2 / 9), abs=4e-3)


@pytest.mark.parametrize("n", [100, 500, 2000])
def test_few_labels_do_not_look_like_a_calibration_error(n: int) -> None:
    rng = np.random.default_rng(2)
    found = []
    for _ in range(300):
        confidence = rng.beta(4, 1.5, n)
        found.append(debiased_ece(confidence, rng.random(n) < confidence))
    assert np.mean(found) == pytest.approx(0, abs=3 * np.std(found) / np.sqrt(300))


def test_no_labels_have_no_scores_and_one_is_enough_not_to_fail() -> None:
    assert scores([], []) is None
    one = scores([0.7], [1])
    assert one is not None and (one.n, one.brier, one.ece) == (1, pytest.approx(0.09), 0.0)


@pytest.mark.parametrize(("confidence", "liked"), [([1.2], [1]), ([0.5], [0.5]), ([0.5, 0.5], [1])])
def test_labels_and_confidences_that_cannot_be_are_refused(confidence: list[float], liked: list[float]) -> None:
    with pytest.raises(ValueError, match=r"labels are 0 or 1|needs one label"):
        scores(confidence, liked)


def test_the_evidence_against_a_calibrated_model_stays_small_at_every_rating() -> None:
    rng, replicates, reached = np.random.default_rng(3), 400, 0
    never = CalibrationPolicy(run_length=1e12)
    for _ in range(replicates):
        watch = CalibrationWatch()
        for pair in rated(rng, 500):
            watch = observe(watch, [pair], never)
            if finding(watch, never).e_value >= 20:
                reached += 1
                break
    assert reached / replicates <= band(0.05, replicates)


def test_a_calibrated_model_runs_longer_than_promised() -> None:
    rng = np.random.default_rng(4)
    found = [observe(CalibrationWatch(), rated(rng, 2000), POLICY) for _ in range(100)]
    alarms = sum(watch.alarm is not None for watch in found)
    assert alarms <= sum(watch.rated for watch in found) / POLICY.run_length / 10


@pytest.mark.parametrize(("quiet", "most"), [(0, 250), (500, 375)])
def test_ten_points_off_are_found_soon_and_as_soon_after_a_quiet_time(quiet: int, most: float) -> None:
    rng, delays = np.random.default_rng(5), []
    for _ in range(100):
        before = observe(CalibrationWatch(), rated(rng, quiet), POLICY)
        if before.alarm is None:
            delays.append((observe(before, rated(rng, 2000, -0.1), POLICY).alarm or 9999) - quiet)
    assert len(delays) > 90
    assert np.median(delays) <= most


def test_overconfidence_without_a_level_shift_is_found_too() -> None:
    rng, found = np.random.default_rng(6), []
    for _ in range(50):
        truth = rng.choice([0.35, 0.65], 1500)
        stated = np.where(truth > 0.5, 0.9, 0.1)
        pairs = list(zip(stated.tolist(), (rng.random(1500) < truth).tolist(), strict=True))
        found.append(observe(CalibrationWatch(), pairs, POLICY).alarm)
    assert all(found)


def test_it_warms_up_however_wrong_the_first_labels_are() -> None:
    watch = observe(CalibrationWatch(), [(0.99, False)] * 99, POLICY)
    assert finding(watch, POLICY).verdict is Verdict.WARMING
    watch = observe(watch, [(0.99, False)], POLICY)
    assert finding(watch, POLICY).verdict is Verdict.ALARM
    assert finding(watch, POLICY).says == "confidence is off: shown after 100 ratings; recalibrate"


def test_a_watch_stored_as_json_goes_on() -> None:
    pairs = rated(np.random.default_rng(7), 300)
    half = observe(CalibrationWatch(), pairs[:140], POLICY)
    stored = calibration.watch_of(json.loads(json.dumps(calibration.to_json(half))))
    assert observe(stored, pairs[140:], POLICY) == observe(CalibrationWatch(), pairs, POLICY)


def test_what_is_no_watch_or_no_confidence_is_refused() -> None:
    with pytest.raises(ValueError, match="16 accounts"):
        calibration.watch_of({"plain": [0.0]})
    with pytest.raises(ValueError, match="between 0 and 1"):
        observe(CalibrationWatch(), [(float("nan"), True)], POLICY)
