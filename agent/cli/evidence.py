"""What speaks for a version, in words for the person who decides. Pure: reads what the API shows of the version.

Each gate is told with its controls, one a line. Figures behind them are left to `hone models show ID --json`.
"""

from collections.abc import Iterator, Mapping, Sequence

from agent.cli.terminal import moment, record_lines
from core.types import Json, JsonObject

LEFT_OUT = frozenset({"at", "gates", "reasons", "terms", "offline", "shadow", "experiment", "note"})
"""Parts of a snapshot that are told as gates, or too long to be told."""


def told(model: JsonObject) -> Iterator[str]:
    """The evidence of a version, line by line."""
    yield f"{model['id']} is at {str(model['stage']).replace('_', ' ')}."
    if model.get("run"):
        yield f"Run {model['run']} made it from {model.get('parent') or 'the base'}; {model['requester']} asked for it."
    if isinstance(approval := model.get("approval"), Mapping):
        alone = ", who had asked for the run: self-approved" if approval["self_approved"] else ""
        yield f"Approved by {approval['actor']}{alone}: {approval['reason']}"
    yield from _snapshot(model)


def ruling(gate: JsonObject) -> Iterator[str]:
    """What a gate said: its verdict, then every control."""
    stage, verdict = (str(gate.get(name) or "").replace("_", " ") for name in ("stage", "ruling"))
    deadline = f", until {moment(gate['deadline'])}" if verdict == "hold" and gate.get("deadline") else ""
    if stage:
        yield f"The gate at {stage} says {verdict}{deadline}:"
    for control in _objects(gate.get("reasons")):
        yield f"  {control.get('ruling', '-')!s:<8} {control.get('control')}: {control.get('says')}"


def _snapshot(model: JsonObject) -> Iterator[str]:
    evidence = model.get("evidence")
    if not isinstance(evidence, Mapping):
        if model["stage"] not in ("champion", "retired"):
            yield "No evidence is frozen for it; that happens when it arrives at approval."
        return
    yield f"Evidence of {moment(model.get('evidence_at'))}, digest {model['evidence_digest']}"
    if model.get("evidence_void"):
        yield f"It is void: {model['evidence_void']}."
    if evidence.get("note"):
        yield str(evidence["note"])
    for gate in _objects(evidence.get("gates")) or [evidence]:
        yield from ruling(gate)
    rest = {name: value for name, value in evidence.items() if name not in LEFT_OUT and value is not None}
    yield from record_lines(rest)


def _objects(value: Json) -> list[JsonObject]:
    items = value if isinstance(value, Sequence) and not isinstance(value, str) else []
    return [item for item in items if isinstance(item, Mapping)]
