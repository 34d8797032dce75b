"""The snapshot that a person agrees to: which files, against whom, under which terms, and what each gate found.

Pure; plain JSON without a text of anybody, floats rounded, so that the same findings give the same digest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from enum import Enum
from math import isfinite
from typing import Any

from core.types import Experiment, Json, JsonObject, Model
from monitoring.experiments.findings import Findings
from monitoring.gates import offline
from monitoring.gates.gate import Offline, Shadow
from monitoring.policy import Rollout
from monitoring.terms import Terms

DIGITS = 6
NO_AB = "No A/B was run: few users, blind preferences of reviewers in its place."


@dataclass(frozen=True, slots=True)
class Trial:
    """An A/B and what its last look found."""

    experiment: Experiment
    findings: Findings


def snapshot(
    model: Model,
    champion: Model,
    terms: Terms,
    screened: Offline,
    mirrored: Shadow,
    rulings: Sequence[JsonObject],
    trial: Trial | None,
    now: int,
    confidence_map: Mapping[str, object] | None = None,
) -> JsonObject:
    """Everything that speaks for a version on its arrival at approval; `rulings` are those of all gates.

    `confidence_map` is what its confidence has proved to mean so far: it is promoted with the version.
    """
    return {
        "at": now,
        "candidate": {**_identity(model), **_origin(model)},
        "champion": _identity(champion),
        "base": {"name": model.base, "digest": model.base_digest},
        "terms_digest": terms.digest,
        "terms": plain(terms),
        "offline": {**plain(screened), "figures": plain(offline.figures(model.manifest))},
        "shadow": plain(mirrored),
        "experiment": _trial(trial),
        "confidence_map": plain(confidence_map),
        "rollout": terms.gate.rollout,
        "note": NO_AB if terms.gate.rollout is Rollout.REVIEW and trial is None else None,
        "gates": [plain(ruled) for ruled in rulings],
    }


def plain(value: Any) -> Any:
    """A value as JSON: records as objects, floats rounded to six digits, what is not finite as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain({name: getattr(value, name) for name in value.__dataclass_fields__})
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float):
        return round(value, DIGITS) if isfinite(value) else None
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    return value


def _identity(model: Model) -> JsonObject:
    return {"version": model.id, "artifact": model.digest}


def _origin(model: Model) -> JsonObject:
    names = ("method", "dataset", "template_digest", "tokens_digest")
    made: dict[str, Json] = {name: model.manifest.get(name) for name in names}
    return {"run": model.run, "parent": model.parent, "registered": model.created_at, **made}


def _trial(trial: Trial | None) -> JsonObject | None:
    if trial is None:
        return None
    experiment = trial.experiment
    return {
        "id": experiment.id,
        "begun": experiment.created_at,
        "share": experiment.share,
        "steps": [plain(asdict(step)) for step in experiment.steps],
        **plain(trial.findings),
    }
