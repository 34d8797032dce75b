"""Which map a version's confidence gets: fitted by scikit-learn, and chosen by what it does to votes it has not seen.

Pure. A map must be better than none by more than chance; of those that are, the one that foretells unseen votes best is
taken. Knows neither rows nor when a map is due.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV

from monitoring.calibration import labels as votes
from monitoring.calibration.labels import Label
from monitoring.calibration.recalibration import IDENTITY, Form, Isotonic, Kind, Sigmoid, Temperature, apply, log_odds
from monitoring.experiments.sequential import Array
from monitoring.policy import CalibrationPolicy

FOLDS = 5
LEAST = 10
"""Votes of the rarer kind without which there is nothing to fit."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """The chosen form, and what maps of this form that did not see a vote make of its confidence.

    `gained` is the log loss that this saves a vote, in nats, against no map.
    """

    form: Form
    held_out: Array
    gained: float


class _Stated(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that is given its own log-odds, which scikit-learn takes twice for two classes.

    It learns nothing, which is what FrozenEstimator would see to, if that took weights.
    """

    def __init__(self) -> None:
        self.classes_ = np.array([0, 1])

    def fit(self, odds: Array, liked: NDArray[np.int64], sample_weight: Array | None = None) -> "_Stated":
        return self

    def decision_function(self, odds: Array) -> Array:
        return odds[:, 0] / 2

    def predict(self, odds: Array) -> NDArray[np.int64]:
        return (odds[:, 0] > 0).astype(np.int64)


def fitted(kind: Kind, confidence: Array, liked: NDArray[np.int64], weight: Array) -> Form:
    """The map of a kind for these votes; the identity where all are alike, or nearly."""
    if min(liked.sum(), (1 - liked).sum()) < LEAST:
        return IDENTITY
    odds = log_odds(confidence)[:, None]
    model = CalibratedClassifierCV(_Stated(), method=kind.value, ensemble=False, cv=2)
    model.fit(odds, liked, sample_weight=weight)
    calibrator = model.calibrated_classifiers_[0].calibrators[0]
    match kind:
        case Kind.TEMPERATURE:
            return Temperature(1 / float(calibrator.beta_))
        case Kind.SIGMOID:
            return Sigmoid(-float(calibrator.a_) / 2, -float(calibrator.b_))
        case Kind.ISOTONIC:
            # A share of all or nothing is what few votes show, not what is true.
            edge = 1 / (len(liked) + 2)
            shares = np.clip(calibrator.y_thresholds_, edge, 1 - edge)
            places = 2 * calibrator.X_thresholds_
            return Isotonic(tuple(places.tolist()), tuple(shares.tolist()))


def held_out(kind: Kind, labels: Sequence[Label], policy: CalibrationPolicy) -> Array:
    """What maps of a kind that saw the other folds make of each confidence."""
    f, y, w = _arrays(labels, policy)
    fold, mapped = votes.folds(labels, FOLDS), f.copy()
    for number in range(FOLDS):
        seen, kept = fold != number, fold == number
        mapped[kept] = apply(fitted(kind, f[seen], y[seen], w[seen]), f[kept])
    return mapped


def chosen(labels: Sequence[Label], policy: CalibrationPolicy) -> Fitted:
    """The map that foretells unseen votes best, of those that there are votes enough for; none if none helps."""
    labels = votes.ordered(labels)
    f, y, w = _arrays(labels, policy)
    tried = {kind: held_out(kind, labels, policy) for kind in kinds(len(labels), policy)}
    helpful = {kind: mapped for kind, mapped in tried.items() if _is_better(mapped, f, y, w)}
    if not helpful:
        return Fitted(IDENTITY, f, 0.0)
    saved = {kind: float(np.mean(w * (log_loss(f, y) - log_loss(mapped, y)))) for kind, mapped in helpful.items()}
    best = max(saved, key=saved.__getitem__)
    return Fitted(fitted(best, f, y, w), helpful[best], saved[best])


def kinds(n: int, policy: CalibrationPolicy) -> Sequence[Kind]:
    """The forms that so many votes can carry, stiff ones first."""
    return tuple(Kind) if n >= policy.isotonic_from else (Kind.TEMPERATURE, Kind.SIGMOID)


def log_loss(confidence: Array, liked: NDArray[np.int64]) -> Array:
    """Of each vote, in nats; never more than at the edge of what counts as a confidence."""
    odds = log_odds(confidence)
    return np.asarray(np.logaddexp(0, np.where(liked == 1, -odds, odds)))


def _is_better(mapped: Array, other: Array, liked: NDArray[np.int64], weight: Array) -> bool:
    """Whether log loss falls by more than a standard error, and the Brier score does not rise."""
    if len(liked) < 2:
        return False
    saved = weight * (log_loss(other, liked) - log_loss(mapped, liked))
    error = float(saved.std(ddof=1)) / np.sqrt(len(saved))
    brier = float(np.mean(weight * ((mapped - liked) ** 2 - (other - liked) ** 2)))
    return bool(saved.mean() > error and brier <= 0)


def _arrays(labels: Sequence[Label], policy: CalibrationPolicy) -> tuple[Array, NDArray[np.int64], Array]:
    weight = votes.weights(labels, policy.actor_share, policy.actor_votes)
    return votes.confidences(labels), votes.thumbs(labels), weight
