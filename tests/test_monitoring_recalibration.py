"""Maps: chosen so that none is worse than none, the same in any order of votes, applied without scikit-learn."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from monitoring.calibration import fitting, recalibration
from monitoring.calibration import labels as votes
from monitoring.calibration.fitting import chosen, fitted, held_out
from monitoring.calibration.labels import Label, folds, weights
from monitoring.calibration.recalibration import (
    EDGE,
    IDENTITY,
    Form,
    Isotonic,
    Kind,
    Map,
    Sigmoid,
    Temperature,
    apply,
    log_odds,
)
from monitoring.experiments.sequential import Array
from monitoring.policy import CalibrationPolicy

POLICY = CalibrationPolicy()
FORMS: list[Form] = [Temperature(2.0), Sigmoid(0.7, -0.8), Isotonic((-1.0, 0.0, 2.0), (0.2, 0.5, 0.6)), IDENTITY]


def labelled(n: int, truth: Callable[[Array], Array], seed: int = 1) -> list[Label]:
    rng = np.random.default_rng(seed)
    f = rng.beta(4, 1.5, n)
    liked = rng.random(n) < truth(f)
    return [Label(f"i{i}", f"a{i}", i, float(f[i]), bool(liked[i])) for i in range(n)]


@pytest.mark.parametrize("form", FORMS)
def test_a_map_is_a_document_and_means_the_same_when_read_back(form: Form) -> None:
    chart = Map(form, "p_true", 300, 5, 77)
    body = recalibration.to_json(chart)
    stored = json.loads(json.dumps(body))
    assert recalibration.map_of(stored) == chart
    assert (stored["kind"], stored["label"], stored["n"]) == (chart.kind, "P(thumbs up | rated)", 300)


def test_what_is_no_map_is_refused() -> None:
    body = dict(recalibration.to_json(Map(Sigmoid(1, 0), "logprob", 1, 1, 1)))
    with pytest.raises(ValueError, match="spline"):
        recalibration.map_of({**body, "kind": "spline"})
    with pytest.raises(TypeError, match="temperature"):
        recalibration.map_of({**body, "kind": "isotonic", "parameters": {"temperature": 1.0}})


@pytest.mark.parametrize("form", FORMS)
def test_a_map_gives_shares_and_turns_no_order_around(form: Form) -> None:
    f = np.linspace(0, 1, 201)
    mapped = apply(form, f)
    assert ((mapped >= 0) & (mapped <= 1)).all() and (np.diff(mapped) >= 0).all()
    assert float(apply(form, 0.4)) == pytest.approx(float(apply(form, [0.4])[0]))


def test_forms_by_hand() -> None:
    assert float(apply(Temperature(2.0), 0.8)) == pytest.approx(2 / 3)  # odds 4 to 1 become 2 to 1
    assert float(apply(Sigmoid(1.0, float(np.log(3))), 0.5)) == pytest.approx(0.75)
    assert apply(FORMS[2], [0.01, 0.5, 0.999]).tolist() == pytest.approx([0.2, 0.5, 0.6])
    assert np.isfinite(log_odds([0.0, 1.0])).all() and log_odds(0.0) == log_odds(EDGE)


def test_applying_needs_no_scikit_learn() -> None:
    program = "import sys; import monitoring.calibration.recalibration; print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_fits_are_those_of_the_textbook() -> None:
    labels = labelled(3000, lambda f: f**2)
    f, y, odds = votes.confidences(labels), votes.thumbs(labels), log_odds(votes.confidences(labels))
    weight = np.random.default_rng(2).uniform(0.5, 1.5, 3000)
    sigmoid = fitted(Kind.SIGMOID, f, y, weight)
    plain = LogisticRegression(C=np.inf).fit(odds[:, None], y, sample_weight=weight)
    assert isinstance(sigmoid, Sigmoid)
    assert (sigmoid.slope, sigmoid.intercept) == pytest.approx((plain.coef_[0, 0], plain.intercept_[0]), abs=0.02)
    temperature = fitted(Kind.TEMPERATURE, f, y, weight)
    tight = LogisticRegression(C=np.inf, fit_intercept=False).fit(odds[:, None], y, sample_weight=weight)
    assert isinstance(temperature, Temperature)
    assert 1 / temperature.temperature == pytest.approx(tight.coef_[0, 0], abs=1e-3)
    stairs = IsotonicRegression(out_of_bounds="clip").fit(odds, y, sample_weight=weight)
    assert apply(fitted(Kind.ISOTONIC, f, y, weight), f) == pytest.approx(stairs.predict(odds), abs=1e-3)


@pytest.mark.parametrize("n", [60, 600])
def test_no_map_is_worse_than_none(n: int) -> None:
    """Over many models, of which some are calibrated: beyond noise no chosen map makes the Brier score worse."""
    rng, harm = np.random.default_rng(n), []
    unseen = rng.beta(4, 1.5, 20_000)
    for seed in range(8):
        tilt, level = (1.0, 0.0) if seed % 2 else (rng.uniform(0.4, 1.6), rng.uniform(-1, 1))

        def truth(f: Array, tilt: float = tilt, level: float = level) -> Array:
            return apply(Sigmoid(tilt, level), f)

        form = chosen(labelled(n, truth, seed), replace(POLICY, isotonic_from=600)).form
        before, after = (np.mean((f - truth(unseen)) ** 2) for f in (unseen, apply(form, unseen)))
        harm.append(after - before)
    assert np.mean(harm) <= 0
    assert max(harm) <= 0.02 * (100 / n) ** 0.5


def test_what_is_calibrated_mostly_stays_as_it_is() -> None:
    found = [chosen(labelled(200, lambda f: f, seed), POLICY).form for seed in range(10)]
    assert found.count(IDENTITY) >= 7


def test_steps_need_many_votes() -> None:
    def steps(f: Array) -> Array:
        return np.where(f < 0.7, 0.3, 0.9)

    assert isinstance(chosen(labelled(900, steps), POLICY).form, Sigmoid)
    assert isinstance(chosen(labelled(1500, steps), POLICY).form, Isotonic)


def test_too_few_of_a_kind_make_no_map() -> None:
    assert chosen([], POLICY).form == IDENTITY
    assert chosen(labelled(1, lambda f: f), POLICY).form == IDENTITY
    assert chosen(labelled(400, lambda f: np.ones_like(f)), POLICY).form == IDENTITY
    assert fitted(Kind.SIGMOID, np.full(5, 0.5), np.array([0, 1, 1, 0, 1]), np.ones(5)) == IDENTITY


def test_confidences_that_are_all_the_same_get_the_share_that_is_liked() -> None:
    rng = np.random.default_rng(3)
    labels = [Label(f"i{i}", f"a{i}", i, 0.95, bool(rng.random() < 0.6)) for i in range(400)]
    liked = np.mean([label.liked for label in labels])
    assert float(apply(chosen(labels, POLICY).form, 0.95)) == pytest.approx(liked, abs=0.02)


def test_the_order_of_votes_changes_no_map() -> None:
    labels = labelled(1200, lambda f: f**2)
    order = np.random.default_rng(4).permutation(len(labels))
    assert chosen([labels[place] for place in order], POLICY).form == chosen(labels, POLICY).form


def test_a_vote_does_not_know_itself() -> None:
    labels = labelled(200, lambda f: f**2)
    fold = folds(labels, fitting.FOLDS)
    before = held_out(Kind.SIGMOID, labels, POLICY)
    turned = [
        replace(label, liked=not label.liked) if own == fold[0] else label
        for label, own in zip(labels, fold, strict=True)
    ]
    after = held_out(Kind.SIGMOID, turned, POLICY)
    assert after[fold == fold[0]] == pytest.approx(before[fold == fold[0]])
    assert not np.allclose(after[fold != fold[0]], before[fold != fold[0]])


def test_an_actor_is_in_one_fold_unless_there_are_too_few() -> None:
    many = [replace(label, actor=f"a{place % 60}") for place, label in enumerate(labelled(300, lambda f: f))]
    fold = folds(many, 5)
    assert all(
        len({own for label, own in zip(many, fold, strict=True) if label.actor == actor}) == 1 for actor in ("a0", "a7")
    )
    assert len(set(folds([replace(label, actor="one") for label in many], 5))) == 5


def test_one_loud_actor_weighs_no_more_than_its_share() -> None:
    quiet = labelled(300, lambda f: f)
    loud = [Label(f"l{i}", "loud", i, 0.9, False) for i in range(700)]
    found = weights([*quiet, *loud], share=0.05, least=5)
    # Its 700 votes count as 50 against the 300 others; the mean is one again.
    assert found[300:].sum() / found.sum() == pytest.approx(50 / 350)
    assert found.mean() == pytest.approx(1)
    without = apply(chosen(quiet, POLICY).form, 0.9)
    capped = apply(chosen([*quiet, *loud], POLICY).form, 0.9)
    heard = apply(chosen([replace(label, actor=label.answer) for label in [*quiet, *loud]], POLICY).form, 0.9)
    assert float(heard) < float(capped) - 0.2 < float(without)


def test_answers_that_were_rarely_asked_about_weigh_more() -> None:
    labels = labelled(200, lambda f: f)
    asked = [replace(label, asked=0.1 if place < 100 else 0.5) for place, label in enumerate(labels)]
    found = weights(asked, 1.0, 5)
    assert found[0] / found[-1] == pytest.approx(5)
    assert found.mean() == pytest.approx(1)
    rare = weights([replace(asked[0], asked=1e-6), *asked[1:]], 1.0, 5)
    assert rare[0] / rare[1] == pytest.approx(2), "no vote weighs more than twenty asked for with certainty"


def test_votes_that_came_unasked_keep_their_part() -> None:
    labels = labelled(200, lambda f: f)
    mixed = [replace(label, asked=0.02) if place < 50 else label for place, label in enumerate(labels)]
    found = weights(mixed, 1.0, 5)
    assert found == pytest.approx(np.ones(200))
