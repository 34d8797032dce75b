"""What Hone's documents say, in the words and figures that a demo keeps of them. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent.demo.record import Compared, Control, Look
from agent.loop_documents import CheckDocument, ExperimentDetails, ModelDetails, RunDocument
from agent.status_documents import StatusDocument
from core.clock import SECOND
from core.types import Verdict

DRIFT, THUMBS = "drift", "thumbs"
COMPARISONS = (
    ("held-out rows, offline", ("offline", "held_out")),
    ("shadow, by corrections", ("shadow", "references")),
    ("shadow, old skills", ("shadow", "old_skills")),
    ("A/B test, by thumbs", ("experiment", "primary", "comparison")),
)
"""Where the candidate was compared with the champion, and where the frozen evidence says how it went."""


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


def looks(trial: ExperimentDetails, began_at: int) -> list[Look]:
    """What the looks at an A/B said, the first one first; `began_at` is the demo's start in microseconds."""
    found = ((look.created_at, look.findings["primary"]["comparison"]) for look in reversed(trial.looks))
    return [_look(said, (at - began_at) / SECOND) for at, said in found if said["interval"] is not None]


def _look(comparison: Mapping[str, Any], at: float) -> Look:
    interval, arms = comparison["interval"], (comparison["champion"], comparison["challenger"])
    subjects = sum(arm["measured"] for arm in arms)
    return Look(at, subjects, comparison["estimate"], interval["low"], interval["high"])


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


def comparisons(model: ModelDetails) -> Iterator[Compared]:
    """How the candidate did beside the champion at each gate, as it was frozen."""
    for where, path in COMPARISONS:
        found = _dig(model.evidence, path)
        if found and found.get("interval"):
            estimate = found["mean"] if "mean" in found else found["estimate"]
            interval = found["interval"]
            yield Compared(where, _units(found), estimate, interval["low"], interval["high"])


def _units(found: Mapping[str, Any]) -> int:
    """Pairs, or subjects of both arms."""
    if "units" in found:
        return int(found["units"])
    return sum(int(found[arm]["measured"]) for arm in ("champion", "challenger"))


def _dig(values: Mapping[str, Any] | None, path: Sequence[str]) -> Mapping[str, Any] | None:
    for name in path:
        values = (values or {}).get(name)
    return values


def _number(values: Mapping[str, Any], name: str) -> float | None:
    found = values.get(name)
    return float(found) if isinstance(found, int | float) else None
