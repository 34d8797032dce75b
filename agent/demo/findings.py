"""What Hone's documents say, in the words and figures that a demo keeps of them. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from agent.demo.record import Control, Look
from agent.loop_documents import CheckDocument, ExperimentDetails, ModelDetails, RunDocument
from agent.status_documents import StatusDocument
from core.types import Verdict

DRIFT, THUMBS = "drift", "thumbs"
COMPARISONS = ("references", "likelihood", "old_skills")
"""What a shadow compares by, the most telling first."""


def alarm(status: StatusDocument) -> CheckDocument | None:
    """A drift alarm of the champion, that of the thumbs first."""
    found = [check for check in _drift(status) if check.verdict is Verdict.ALARM]
    return min(found, key=lambda check: check.stream != THUMBS, default=None)


def has_reference(status: StatusDocument) -> bool:
    """Whether the thumbs are watched, so that a fall would be noticed."""
    return any(check.stream == THUMBS and check.verdict is not Verdict.WARMING for check in _drift(status))


def _drift(status: StatusDocument) -> Iterator[CheckDocument]:
    return (check for check in status.checks if check.kind == DRIFT and check.version in (None, status.champion))


def check_words(check: CheckDocument) -> str:
    return f"{check.stream}: {check.details.get('says', check.verdict)}"


def waiting_words(status: StatusDocument) -> str:
    """What Hone waits for before it trains, in its own words."""
    checks = [check_words(check) for check in _drift(status) if check.stream == THUMBS]
    says = status.next_run.says if status.next_run else ""
    return "; ".join(filter(None, [says, *checks])) or "Hone has not looked yet"


def progress(run: RunDocument) -> tuple[str, float]:
    """Where a run stands, in words and as a share of its steps."""
    values = run.progress
    step, steps, loss = (_number(values, name) for name in ("step", "steps", "loss"))
    words = [str(values.get("stage") or run.state)]
    if step and steps:
        words.append(f"step {step:.0f} of {steps:.0f}")
    if loss is not None:
        words.append(f"loss {loss:.3f}")
    left = _number(values, "eta_seconds")
    if left is not None:
        words.append(f"{left:.0f} s left")
    return ", ".join(words), (step or 0.0) / steps if steps else 0.0


def loss(run: RunDocument) -> tuple[int, float] | None:
    """The step and its loss, while the run tells them."""
    step, found = _number(run.progress, "step"), _number(run.progress, "loss")
    return None if step is None or found is None else (int(step), found)


def gate_words(model: ModelDetails) -> str:
    """What the gate of a candidate said last."""
    return str((model.gate or {}).get("says") or "waiting for the first look of its gate")


def trial_words(trial: ExperimentDetails | None) -> str:
    """Where an A/B stands, in a sentence."""
    if trial is None:
        return "waiting for the first look"
    subjects = f"{trial.share:.0%} of the customers meet the candidate; {rated(trial)} have rated"
    if trial.estimate is None or trial.interval is None:
        return subjects
    return f"{subjects}, {trial.estimate:+.3f} ({trial.interval.low:+.3f} to {trial.interval.high:+.3f})"


def rated(trial: ExperimentDetails) -> int:
    """Subjects with an outcome, of both arms."""
    return sum(arm.measured or 0 for arm in (trial.arms.champion, trial.arms.challenger))


def controls(model: ModelDetails) -> Iterator[Control]:
    """What each control of each gate said: as it was frozen if it was, else as it was said last."""
    gate = model.gate or {}
    ruled = (model.evidence or {}).get("gates") or [*gate.get("earlier", ()), gate]
    for ruling in ruled:
        for reason in ruling.get("reasons", ()):
            stage = str(ruling.get("stage", "")).replace("_", " ")
            yield Control(stage, str(reason["control"]), str(reason["ruling"]), str(reason["says"]))


def evidence_words(model: ModelDetails) -> Iterator[str]:
    """What speaks for a candidate, line by line, for the person who decides."""
    yield f"{model.id}, which {model.requester} asked for, has passed every gate against {model.parent}:"
    for control in controls(model):
        yield f"  {control.stage:<10} {control.name}: {control.says}"
    yield f"Frozen under the digest {model.evidence_digest}; `hone models show {model.id}` has all of it."


def shadow_look(model: ModelDetails, at: float) -> Look | None:
    """How the candidate's mirrored answers compared with the champion's, in the end."""
    shadow = (model.evidence or {}).get("shadow") or {}
    for name in COMPARISONS:
        found = shadow.get(name)
        if isinstance(found, Mapping) and isinstance(found.get("interval"), Mapping):
            interval = found["interval"]
            return Look(at, int(found["units"]), float(found["mean"]), float(interval["low"]), float(interval["high"]))
    return None


def _number(values: Mapping[str, Any], name: str) -> float | None:
    found = values.get(name)
    return float(found) if isinstance(found, int | float) else None
