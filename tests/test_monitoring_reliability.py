"""Scores and pictures of calibration on data small enough to be checked by hand, and the document that is published.

How they behave over many replicates is in test_statistics_calibration.py.
"""

import json
from dataclasses import astuple, replace

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from monitoring.calibration import assessment, reliability
from monitoring.calibration.labels import Label
from monitoring.calibration.recalibration import IDENTITY, Map, Sigmoid
from monitoring.calibration.reliability import binned_ece, curve, debiased_ece, diagram, p_value, scores, slices
from monitoring.policy import CalibrationPolicy

POLICY = CalibrationPolicy()


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def labelled(n: int, shift: float = 0.0, seed: int = 2, **changes: object) -> list[Label]:
    draws = np.random.default_rng(seed)
    f = draws.beta(4, 1.5, n)
    y = draws.random(n) < np.clip(f + shift, 0, 1)
    some = [Label(f"i{i}", f"a{i}", i, float(f[i]), bool(y[i]), None, "key", i % 90) for i in range(n)]
    return [replace(label, **changes) for label in some]  # type: ignore[arg-type]


def test_scores_by_hand() -> None:
    found = scores([0.8, 0.6, 0.2, 0.4], [1, 0, 0, 1])
    assert found is not None
    assert (found.n, found.confidence, found.liked) == (4, pytest.approx(0.5), 0.5)
    assert found.brier == pytest.approx(brier_score_loss([1, 0, 0, 1], [0.8, 0.6, 0.2, 0.4]))
    assert found.base == 0.25
    # Two bins: {.2, .4} and {.6, .8}, half liked in each; (.5 - .3)^2 - .25 and (.5 - .7)^2 - .25
    assert found.ece == pytest.approx(0.04 - 0.25)


def test_the_usual_error_by_hand() -> None:
    assert binned_ece([0.1, 0.15, 0.9, 1.0], [0, 1, 1, 1], bins=10) == pytest.approx((0.75 + 0.1) / 4)


def test_no_labels_have_no_scores_and_one_is_enough_not_to_fail() -> None:
    assert scores([], []) is None
    assert p_value([], [], rng()) == 1.0
    assert diagram([], [], rng()) == () and curve([], [], rng()).x.size == 0
    one = scores([0.7], [1])
    assert one is not None and (one.n, one.brier, one.ece) == (1, pytest.approx(0.09), 0.0)
    assert p_value([0.7], [1], rng()) > 0.3
    assert len(diagram([0.7], [1], rng())) == 1 and curve([0.7], [1], rng()).y == pytest.approx(1.0)


@pytest.mark.parametrize(("confidence", "liked"), [([1.2], [1]), ([0.5], [0.5]), ([0.5, 0.5], [1]), (0.5, 1)])
def test_labels_and_confidences_that_cannot_be_are_refused(confidence: object, liked: object) -> None:
    with pytest.raises(ValueError, match=r"labels are 0 or 1|needs one label"):
        scores(confidence, liked)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"labels are 0 or 1|needs one label"):
        debiased_ece(confidence, liked)  # type: ignore[arg-type]


def test_the_order_of_labels_changes_no_score() -> None:
    draws = np.random.default_rng(3)
    f, u = draws.random(300), draws.random(300)
    order = draws.permutation(300)
    one, other = scores(f, u < f), scores(f[order], (u < f)[order])
    assert one and other and astuple(one) == pytest.approx(astuple(other))
    assert reliability.smooth_ece(f, u < f) == pytest.approx(reliability.smooth_ece(f[order], (u < f)[order]))


def test_bins_hold_everything_once_and_their_bands_what_chance_allows() -> None:
    draws = np.random.default_rng(4)
    f = draws.random(3000)
    y = draws.random(3000) < f
    bins = diagram(f, y, rng(), 12)
    assert sum(each.n for each in bins) == 3000 and len(bins) == 12
    assert sum(each.n * each.liked for each in bins) == pytest.approx(y.sum())
    assert all(each.low <= each.confidence <= each.high and each.band_low < each.band_high for each in bins)
    assert sum(each.band_low <= each.liked <= each.band_high for each in bins) >= 10
    off = diagram(f, draws.random(3000) < f**2, rng(), 12)
    assert sum(each.band_low <= each.liked <= each.band_high for each in off) <= 5


def test_the_curve_follows_what_is_liked_and_leaves_its_band_where_confidence_is_off() -> None:
    draws = np.random.default_rng(5)
    f = draws.random(5000)
    found = curve(f, draws.random(5000) < f**2, rng())
    middle = np.abs(found.x - 0.5).argmin()
    assert found.y[middle] == pytest.approx(0.25, abs=0.06)
    assert found.y[middle] < found.low[middle] < found.high[middle]
    calm = curve(f, draws.random(5000) < f, rng())
    assert np.mean((calm.low <= calm.y) & (calm.y <= calm.high)) >= 0.8


def test_slices_with_few_labels_are_left_out_and_the_bad_one_stands_out() -> None:
    draws = np.random.default_rng(6)
    f = draws.random(400)
    good, bad = (draws.random(400) < f).astype(float), (draws.random(400) < f**2).astype(float)
    parts = [("client", "a", f, good), ("client", "b", f, bad), ("client", "c", f[:50], bad[:50])]
    a, b = slices(parts, rng(), least=100)
    assert (a.name, a.n, b.name) == ("a", 400, "b")
    assert b.p < 0.01 < a.p


def test_a_report_says_what_it_is_about() -> None:
    labels = labelled(600, -0.2)
    body = assessment.report(labels, None, {}, POLICY, rng(), 77)
    assert json.loads(json.dumps(body)) == body
    assert (body["label"], body["source"], body["n"], body["at"]) == ("P(thumbs up | rated)", "logprob", 600, 77)
    assert body["test"] == {"name": "consistency resampling", "p": pytest.approx(1 / 501)}
    assert (body["map"], body["e_value"]) == (None, None)
    assert "(as it is): off by about" in str(body["says"])
    assert {each["by"] for each in body["slices"]} == {"client", "length"}  # type: ignore[union-attr,index]
    calm = assessment.report(labelled(600), None, {}, POLICY, rng(), 77)
    assert "no more apart than by chance" in str(calm["says"])
    few = assessment.report(labelled(1), None, {}, POLICY, rng(), 77)
    assert few["says"] == "warming: 1 of 100 rated answers with a confidence"


def test_versions_are_slices_beside_one_another() -> None:
    labels = labelled(300)
    f = np.array([label.confidence for label in labels])
    y = np.array([float(label.liked) for label in labels])
    body = assessment.report(labels, None, {"v0": (f, y), "v1": (f, 1 - y)}, POLICY, rng(), 1)
    found = [each for each in body["slices"] if each["by"] == "version"]  # type: ignore[union-attr,index,call-overload]
    assert [(each["name"], each["n"]) for each in found] == [("v0", 300), ("v1", 300)]  # type: ignore[call-overload,index]
    assert found[0]["p"] > 0.01 > found[1]["p"]  # type: ignore[call-overload,index,operator]


def test_a_vote_is_judged_by_a_map_that_has_not_seen_it() -> None:
    labels = labelled(1000, -0.2)
    chart = Map(Sigmoid(1.0, -5.0), "logprob", 600, 0, 599)
    stated = assessment.stated(labels, chart, POLICY)
    later = np.array([label.confidence for label in labels[600:]])
    assert stated[600:] == pytest.approx(1 / (1 + np.exp(5) * (1 - later) / later), rel=0.05)
    # The earlier ones go through maps fitted to the other folds of their own, which know of the twenty points.
    earlier = np.array([label.confidence for label in labels[:600]])
    assert np.mean(earlier - stated[:600]) == pytest.approx(0.2, abs=0.05)
    assert assessment.stated(labels, replace(chart, form=IDENTITY), POLICY)[0] == labels[0].confidence


def test_evidence_counts_only_votes_after_the_map() -> None:
    labels = [*labelled(600, -0.3), *labelled(300, seed=9, at=700)]
    assert (assessment.evidence(labels, Map(IDENTITY, "logprob", 600, 0, 599)) or 99) < 20
    assert (assessment.evidence(labels, Map(IDENTITY, "logprob", 1, 0, 0)) or 0) > 20
    assert assessment.evidence(labels, None) is None
    assert assessment.evidence(labels, Map(IDENTITY, "logprob", 600, 0, 800)) is None


def test_thirds_by_length() -> None:
    assert assessment.thirds([1, 2, 3, 4, 5, 6, None]) == ["short", "short", "middle", "middle", "long", "long", ""]
    assert set(assessment.thirds([8] * 5)) == {"short"}
    assert assessment.thirds([None]) == [""]
