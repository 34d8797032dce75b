"""What a run's own evaluation says of its candidate, as evidence for the gate; what is missing or odd is a control.

Pure. Reads the manifest that the run left; whether the weights are whole is handed in. Knows no rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import isfinite

from core.types import Json, JsonObject, Model, Version
from monitoring.gates.gate import Offline
from monitoring.gates.ruling import Reason, Ruling
from monitoring.shadow.controls import Decoy
from monitoring.shadow.pairs import Pair, Paired, compare
from monitoring.terms import Terms

SETS = ("held_out", "old_skills")


def read(model: Model, champion: Version, weights: Reason, terms: Terms) -> Offline:
    """The evidence of a candidate that would follow `champion`."""
    evaluation = model.manifest.get("evaluation")
    if not isinstance(evaluation, Mapping):
        missing = Reason("evaluation", Ruling.HOLD, "the run left none; start another one")
        return Offline(None, None, (weights, missing))
    try:
        held_out, old_skills = (_compared(evaluation.get(name), terms.gate.alpha) for name in SETS)
        decoys = _decoys(evaluation, terms.gate.alpha)
    except (TypeError, ValueError) as error:
        odd = Reason("evaluation", Ruling.HOLD, f"it cannot be read ({error}); start another run")
        return Offline(None, None, (weights, odd))
    controls = (weights, *_controls(evaluation, terms), *_parent(model, champion))
    return Offline(held_out, old_skills, controls, decoys)


def _compared(comparison: Json, alpha: float) -> Paired | None:
    """A set has a fixed size and is judged a single time."""
    if comparison is None:
        return None
    pairs = comparison.get("pairs") if isinstance(comparison, Mapping) else None
    if not isinstance(pairs, Sequence):
        raise ValueError("a comparison lacks its pairs")
    return compare([_pair(row) for row in pairs], alpha, once=True)


def _decoys(evaluation: Mapping[str, Json], alpha: float) -> Sequence[Decoy]:
    """What the run noted of decoys: by set and name their differences to the champion, pair by pair."""
    tried = {name: _tried(evaluation.get(name), alpha) for name in SETS}
    names = dict.fromkeys(name for found in tried.values() for name in found)
    return [Decoy(name, tried["held_out"].get(name), tried["old_skills"].get(name)) for name in names]


def _tried(comparison: Json, alpha: float) -> Mapping[str, Paired]:
    noted = comparison.get("decoys") if isinstance(comparison, Mapping) else None
    if not isinstance(comparison, Mapping) or not isinstance(noted, Mapping):
        return {}
    pairs = comparison["pairs"]
    if not isinstance(pairs, Sequence):
        raise ValueError("a comparison lacks its pairs")
    return {name: compare(_planted(pairs, differences), alpha, once=True) for name, differences in noted.items()}


def _planted(pairs: Sequence[Json], differences: Json) -> Sequence[Pair]:
    if not isinstance(differences, Sequence):
        raise ValueError("a decoy lacks its differences")
    return [
        replace(_pair(row), difference=_number(difference), same=False)
        for row, difference in zip(pairs, differences, strict=True)
    ]


def _number(value: Json) -> float:
    if isinstance(value, int | float):
        return float(value)
    raise ValueError(f"{value!r} is no number")


def _pair(row: Json) -> Pair:
    match row:
        case [str(unit), float() | int() as difference, bool(same)]:
            return Pair(unit, float(difference), same)
    raise ValueError(f"{row!r} is no pair")


def _controls(evaluation: Mapping[str, Json], terms: Terms) -> Iterator[Reason]:
    yield _finite(evaluation)
    yield _leaks(evaluation.get("leaks"))
    yield _length(evaluation.get("length_ratio"), terms.max_length_ratio)
    if evaluation.get("old_skills") is None:
        yield Reason(
            "old skills set", Ruling.HOLD, "there is none to compare on; name one in training.old_skills and run again"
        )


def _finite(evaluation: Mapping[str, Json]) -> Reason:
    """JSON has no word for NaN, so a missing number is one that was none."""
    control = "numbers"
    for name in SETS:
        comparison = evaluation.get(name)
        figures = comparison.get("candidate") if isinstance(comparison, Mapping) else {}
        if not isinstance(figures, Mapping):
            return Reason(control, Ruling.HOLD, f"the candidate's figures on {name} are missing")
        if odd := [key for key, value in figures.items() if not _is_number(value)]:
            return Reason(control, Ruling.REJECT, f"{', '.join(odd)} on {name} is not finite: the weights are broken")
    return Reason(control, Ruling.ADVANCE, "all figures are finite")


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and isfinite(value)


def _leaks(found: Json) -> Reason:
    control = "leaks"
    if not isinstance(found, int):
        return Reason(control, Ruling.HOLD, "nobody looked whether held-out rows were trained on")
    if found:
        return Reason(control, Ruling.REJECT, f"{found} held-out rows were trained on, so they prove nothing")
    return Reason(control, Ruling.ADVANCE, "no held-out row was trained on")


def _length(ratio: Json, most: float) -> Reason:
    control = "length of answers"
    if not isinstance(ratio, int | float) or not isfinite(ratio):
        return Reason(control, Ruling.HOLD, "it was not compared")
    says = f"{ratio:.3g} times the champion's, at most {most:g}"
    return Reason(control, Ruling.REJECT if ratio > most else Ruling.ADVANCE, says)


def _parent(model: Model, champion: Version) -> Iterator[Reason]:
    """The screen may be against a former champion: the proof is on live subjects, against the one of now."""
    if model.parent not in (None, champion):
        yield Reason("champion", Ruling.ADVANCE, f"it was compared with {model.parent}, the champion of that time")


def figures(manifest: JsonObject) -> JsonObject:
    """The figures of both versions on both sets, without the pairs."""
    evaluation = manifest.get("evaluation")
    if not isinstance(evaluation, Mapping):
        return {}
    kept: dict[str, Json] = {name: evaluation.get(name) for name in ("length_ratio", "leaks")}
    for name in SETS:
        comparison = evaluation.get(name)
        both = comparison if isinstance(comparison, Mapping) else {}
        kept[name] = {side: both.get(side) for side in ("champion", "candidate")}
    return kept
