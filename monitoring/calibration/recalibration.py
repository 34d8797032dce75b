"""Maps from the confidence that a version states to the share of such answers that is liked, and how they are applied.

Pure, and small enough to be carried anywhere: applying a map takes its parameters alone. The label is a thumb: what a
map gives is P(thumbs up | rated), not P(correct). How a map is fitted, fitting.py knows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from core.types import Json, JsonObject
from monitoring.experiments.sequential import Array

LABEL = "P(thumbs up | rated)"
EDGE = 1e-3
"""Confidences beyond it, or nearer to 1, count as this: log-odds are to be finite, and nobody is surer than that."""


class Kind(StrEnum):
    """The forms of a map, from stiff to supple."""

    TEMPERATURE = "temperature"
    SIGMOID = "sigmoid"
    ISOTONIC = "isotonic"


@dataclass(frozen=True, slots=True)
class Temperature:
    """Log-odds divided by a temperature; 1 changes nothing (C. Guo et al., On calibration of modern neural networks,
    ICML 2017)."""

    temperature: float = 1.0


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """A line in log-odds (J. Platt, Probabilistic outputs for support vector machines, 1999)."""

    slope: float
    intercept: float


@dataclass(frozen=True, slots=True)
class Isotonic:
    """Rising shares between points in log-odds, as lines; the outermost shares go on beyond (B. Zadrozny and C. Elkan,
    Transforming classifier scores into accurate multiclass probability estimates, KDD 2002)."""

    log_odds: Sequence[float]
    share: Sequence[float]


Form = Temperature | Sigmoid | Isotonic
IDENTITY = Temperature()
_FORMS: Mapping[Kind, type[Form]] = {
    Kind.TEMPERATURE: Temperature,
    Kind.SIGMOID: Sigmoid,
    Kind.ISOTONIC: Isotonic,
}


@dataclass(frozen=True, slots=True)
class Map:
    """A form with what it was made from: `n` labels given from `since` to `fitted_at` (microseconds), for confidences
    of one source."""

    form: Form
    source: str
    n: int
    since: int
    fitted_at: int

    @property
    def kind(self) -> Kind:
        return next(kind for kind, form in _FORMS.items() if isinstance(self.form, form))


def apply(form: Form, confidence: ArrayLike) -> Array:
    """What confidences from 0 to 1 mean, from 0 to 1; the identity leaves them as they are."""
    f = np.asarray(confidence, dtype=float)
    if form == IDENTITY:
        return f
    odds = log_odds(f)
    match form:
        case Temperature(temperature):
            return np.asarray(expit(odds / temperature))
        case Sigmoid(slope, intercept):
            return np.asarray(expit(slope * odds + intercept))
        case Isotonic(places, shares):
            return np.interp(odds, places, shares)


def log_odds(confidence: ArrayLike) -> Array:
    """Of confidences from 0 to 1, finite."""
    f = np.clip(np.asarray(confidence, dtype=float), EDGE, 1 - EDGE)
    return np.asarray(np.log(f) - np.log1p(-f))


def to_json(chart: Map) -> JsonObject:
    """To store and to show, with the label that the map is for."""
    parameters: Json = {name: _json(value) for name, value in asdict(chart.form).items()}
    made: JsonObject = {"source": chart.source, "n": chart.n, "since": chart.since, "fitted_at": chart.fitted_at}
    return {"kind": chart.kind.value, "label": LABEL, **made, "parameters": parameters}


def map_of(stored: JsonObject) -> Map:
    """The map that `to_json` made. Raises KeyError, TypeError or ValueError for anything else."""
    parameters: Mapping[str, object] = stored["parameters"]  # type: ignore[assignment]
    values = {name: tuple(value) if isinstance(value, list | tuple) else value for name, value in parameters.items()}
    form = _FORMS[Kind(str(stored["kind"]))](**values)  # type: ignore[arg-type]
    counts = [int(str(stored[name])) for name in ("n", "since", "fitted_at")]
    return Map(form, str(stored["source"]), *counts)


def _json(value: float | Sequence[float]) -> Json:
    return value if isinstance(value, int | float) else list(value)
