"""What is published of a version's calibration: scores, test, picture and slices of the confidence as it is stated now.

Pure. The confidence is judged by votes that its map has not seen: those given later, and earlier ones through maps of
the same form that did not see them. A map of few votes is off by its own error, which the test sees as well. The label
is a thumb, P(thumbs up | rated), and not P(correct). Knows no rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from core.types import Json, JsonObject
from monitoring.calibration import betting, fitting, recalibration, reliability
from monitoring.calibration import labels as votes
from monitoring.calibration.labels import Label
from monitoring.calibration.recalibration import IDENTITY, LABEL, Map
from monitoring.experiments.sequential import Array
from monitoring.policy import CalibrationPolicy

LEVEL = 0.05
THIRDS = ("short", "middle", "long")


def recent(labels: Sequence[Label], chart: Map | None) -> Sequence[Label]:
    """The votes since the time that a map is about, oldest first."""
    return [label for label in votes.ordered(labels) if chart is None or label.at >= chart.since]


def stated(labels: Sequence[Label], chart: Map | None, policy: CalibrationPolicy) -> Array:
    """The confidence in each of these answers as it comes out of maps that have not seen the vote on it."""
    f = votes.confidences(labels)
    if chart is None or chart.form == IDENTITY:
        return f
    mapped = recalibration.apply(chart.form, f)
    seen = np.array([label.at <= chart.fitted_at for label in labels], dtype=bool)
    if seen.any():
        earlier = [label for label, known in zip(labels, seen, strict=True) if known]
        mapped[seen] = fitting.held_out(chart.kind, earlier, policy)
    return mapped


def report(
    labels: Sequence[Label],
    chart: Map | None,
    peers: Mapping[str, tuple[Array, Array]],
    policy: CalibrationPolicy,
    rng: np.random.Generator,
    at: int,
) -> JsonObject:
    """The document about at least one vote; `peers` are the stated confidences and thumbs of each version by name."""
    f, y = stated(labels, chart, policy), votes.thumbs(labels).astype(float)
    found = reliability.scores(f, y, policy.bins)
    if found is None:
        raise ValueError("nothing is known of a version without votes")
    p, smooth = reliability.p_value(f, y, rng, policy.bins), reliability.smooth_ece(f, y)
    drawn = reliability.curve(f, y, rng)
    return {
        "says": _says(len(labels), found, smooth, p, chart, policy),
        "label": LABEL,
        "source": policy.source,
        "n": found.n,
        "confidence": found.confidence,
        "liked": found.liked,
        "brier": found.brier,
        "brier_base": found.base,
        "smece": smooth,
        "ece_debiased": found.ece,
        "test": {"name": reliability.TEST, "p": p},
        "e_value": evidence(labels, chart),
        "map": recalibration.to_json(chart) if chart else None,
        "curve": {name: _json(getattr(drawn, name)) for name in ("x", "y", "low", "high")},
        "bins": [asdict(each) for each in reliability.diagram(f, y, rng, policy.bins)],
        "slices": _slices(labels, f, y, peers, policy, rng),
        "at": at,
    }


def evidence(labels: Sequence[Label], chart: Map | None) -> float | None:
    """The e-value against the map by the votes given after it was made; None where there are none."""
    later = [label for label in labels if chart is not None and label.at > chart.fitted_at]
    if chart is None or not later:
        return None
    f = recalibration.apply(chart.form, votes.confidences(later))
    return betting.e_value(float(betting.evidence(f, votes.thumbs(later))[-1]))


def _says(
    n: int, found: reliability.Scores, smooth: float, p: float, chart: Map | None, policy: CalibrationPolicy
) -> str:
    if n < policy.min_labels:
        return f"warming: {n} of {policy.min_labels} rated answers with a confidence"
    means = f"{found.liked:.0%} of {n} rated answers are liked, confidence says {found.confidence:.0%}"
    verdict = f"off by about {smooth:.2f}" if p <= LEVEL else "no more apart than by chance"
    through = "as it is" if chart is None or chart.form == IDENTITY else f"through a {chart.kind} map"
    return f"{means} ({through}): {verdict}, p = {p:.3f}"


def _slices(
    labels: Sequence[Label],
    f: Array,
    y: Array,
    peers: Mapping[str, tuple[Array, Array]],
    policy: CalibrationPolicy,
    rng: np.random.Generator,
) -> Sequence[JsonObject]:
    parts = [
        (by, name, f[np.array(places)], y[np.array(places)])
        for by, names in _divisions(labels).items()
        for name, places in _places(names).items()
    ]
    parts += [("version", name, *each) for name, each in peers.items() if len(peers) > 1]
    found = map(asdict, reliability.slices(parts, rng, policy.min_labels, policy.bins))
    return [{**each, "ece_debiased": each.pop("ece")} for each in found]


def _divisions(labels: Sequence[Label]) -> Mapping[str, Sequence[str]]:
    return {"client": [label.key for label in labels], "length": thirds([label.length for label in labels])}


def _places(names: Sequence[str]) -> Mapping[str, Sequence[int]]:
    """Where each name is found, in the order of names; what has no name is in no part."""
    found: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        if name:
            found.setdefault(name, []).append(place)
    return dict(sorted(found.items()))


def thirds(lengths: Sequence[int | None]) -> Sequence[str]:
    """The third of the answers, by their tokens, that each is in; nothing where the tokens are not known."""
    known = [length for length in lengths if length is not None]
    if not known:
        return [""] * len(lengths)
    bounds = np.quantile(known, (1 / 3, 2 / 3))
    return ["" if length is None else THIRDS[int(np.searchsorted(bounds, length))] for length in lengths]


def _json(values: Array) -> Json:
    return [round(float(value), 4) for value in values]
