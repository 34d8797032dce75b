"""The watch over confidences: what it takes and says, that it can be stored, and that whole arrays fold as it does.

How often it alarms, and how soon, is in test_statistics_calibration.py.
"""

import json
from dataclasses import replace

import numpy as np
import pytest

from core.types import Subject, Verdict
from monitoring.calibration import betting
from monitoring.calibration.betting import CalibrationWatch, evidence, finding, observe, run
from monitoring.calibration.confidences import Confidences
from monitoring.drift.streams import Observation
from monitoring.policy import CalibrationPolicy

POLICY = CalibrationPolicy()


def rated(rng: np.random.Generator, n: int, shift: float = 0.0) -> list[tuple[float, bool]]:
    """Confidences from Beta(4, 1.5), liked with a chance that lies `shift` beside them."""
    confidence = rng.beta(4, 1.5, n)
    liked = rng.random(n) < np.clip(confidence + shift, 0, 1)
    return list(zip(confidence.tolist(), liked.tolist(), strict=True))


def test_it_warms_up_however_wrong_the_first_labels_are() -> None:
    watch = observe(CalibrationWatch(), [(0.99, False)] * 99, POLICY)
    assert finding(watch, POLICY).verdict is Verdict.WARMING
    watch = observe(watch, [(0.99, False)], POLICY)
    assert finding(watch, POLICY).verdict is Verdict.ALARM
    assert finding(watch, POLICY).says == "confidence is off: shown after 100 ratings; recalibrate"


def test_after_an_alarm_nothing_more_is_taken() -> None:
    watch = observe(CalibrationWatch(), [(0.99, False)] * 100, POLICY)
    assert observe(watch, [(0.5, True)] * 10, POLICY) == watch


@pytest.mark.parametrize("shift", [0.0, -0.1, 0.15])
def test_arrays_of_replicates_alarm_where_the_watch_does(shift: float) -> None:
    rng = np.random.default_rng(8)
    replicates = [rated(rng, 600, shift) for _ in range(30)]
    alarms = run(*np.moveaxis(np.array(replicates), -1, 0), POLICY)
    folded = [observe(CalibrationWatch(), pairs, POLICY).alarm or -1 for pairs in replicates]
    assert alarms.tolist() == folded
    assert shift == 0 or max(folded) > 100


def test_evidence_over_time_is_that_of_the_watch() -> None:
    pairs, watch, seen = rated(np.random.default_rng(9), 300, -0.1), CalibrationWatch(), []
    for pair in pairs:
        watch = observe(watch, [pair], replace(POLICY, run_length=1e300))
        seen.append(finding(watch, POLICY).e_value)
    found = np.exp(evidence(*np.array(pairs).T))
    assert found == pytest.approx(seen)
    assert found[-1] > 20


def test_evidence_of_a_lifetime_is_a_number() -> None:
    watch = CalibrationWatch(plain=(800.0,) * 16)
    assert finding(watch, POLICY).e_value == pytest.approx(np.exp(690))


def test_the_run_of_what_gained_most_reaches_back_to_the_change() -> None:
    rng, found = np.random.default_rng(10), []
    for _ in range(25):
        watch = observe(CalibrationWatch(), [*rated(rng, 400), *rated(rng, 2000, -0.15)], POLICY)
        assert watch.alarm is not None
        if watch.alarm > 400:
            found.append(watch.alarm - watch.run)
    assert len(found) > 18
    assert 340 <= np.median(found) <= 460


def test_a_watch_stored_as_json_goes_on() -> None:
    pairs = rated(np.random.default_rng(7), 300)
    half = observe(CalibrationWatch(), pairs[:140], POLICY)
    stored = betting.watch_of(json.loads(json.dumps(betting.to_json(half))))
    assert observe(stored, pairs[140:], POLICY) == observe(CalibrationWatch(), pairs, POLICY)


def test_what_is_no_watch_or_no_confidence_is_refused() -> None:
    with pytest.raises(ValueError, match="16 accounts"):
        betting.watch_of({"plain": [0.0]})
    with pytest.raises(ValueError, match="between 0 and 1"):
        observe(CalibrationWatch(), [(float("nan"), True)], POLICY)
    with pytest.raises(ValueError, match="between 0 and 1"):
        run([[1.5]], [[1.0]], POLICY)
    with pytest.raises(ValueError, match="one label"):
        run([[0.5, 0.5]], [[1.0]], POLICY)


def test_the_stream_takes_only_what_has_a_confidence() -> None:
    def said(value: float, confidence: float | None) -> Observation:
        return Observation("id", 1, "answer", Subject("s"), value, confidence)

    stream = Confidences(POLICY).after([said(1.0, 0.9), said(0.0, None), said(0.0, 0.4)])
    assert stream.watch == observe(CalibrationWatch(), [(0.9, True), (0.4, False)], POLICY)
    assert stream.stored(json.loads(json.dumps(stream.to_json()))) == stream
    assert stream.anew() == Confidences(POLICY)
