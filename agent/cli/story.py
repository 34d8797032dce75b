"""The loop in plain sentences, from what /api/status says. Pure; what is not there is not told."""

from collections.abc import Iterator, Mapping

from agent.cli.run_board import sentence
from agent.cli.terminal import minute
from core.types import Json, JsonObject

TOLD = frozenset(
    {"champion", "previous", "challenger", "shadow", "stage", "candidate", "run", "triggers", "next_run", "experiment",
     "holdback", "checks", "condition"}
)  # fmt: skip
"""What the sentences say, so that it need not be listed once more."""


def sentences(status: JsonObject) -> Iterator[str]:
    """Who answers, who is on the way, what runs, what is awaited, and how the last checks were."""
    yield from _champion(status)
    yield from _candidate(status.get("candidate"))
    yield from _experiment(status.get("experiment"))
    run = status.get("run")
    if isinstance(run, dict):
        yield f"{sentence(run)}."
    yield from _next_run(status.get("next_run"))
    yield from _condition(status.get("condition"))
    yield from _checks(status.get("checks"))


def _champion(status: JsonObject) -> Iterator[str]:
    if not status.get("champion"):
        yield "No version is installed yet."
        return
    before = f"; {status['previous']} before it stays loaded" if status.get("previous") else ""
    yield f"{status['champion']} is the champion{before}."
    held = status.get("holdback")
    if isinstance(held, dict):
        yield f"{held['share']:.0%} of the subjects stay on {held['version']}, to compare."


def _candidate(candidate: Json) -> Iterator[str]:
    if not isinstance(candidate, dict):
        yield "No candidate is on its way."
        return
    name, stage = candidate["id"], str(candidate["stage"]).replace("_", " ")
    gate = candidate.get("gate")
    deadline = gate.get("deadline") if isinstance(gate, dict) and gate.get("stage") == candidate["stage"] else None
    until = f" (until {minute(deadline)})" if deadline and candidate["stage"] != "awaiting_approval" else ""
    yield f"Candidate {name} is at {stage} and waits for {str(candidate['waits_for']).rstrip('.')}{until}."
    if candidate["stage"] == "awaiting_approval" and not candidate.get("evidence_void"):
        yield f"Read its evidence and decide: hone promote approve {name} --reason R, or hone promote reject {name}."


def _experiment(experiment: Json) -> Iterator[str]:
    if not isinstance(experiment, dict):
        return
    share = f"{experiment['share']:.0%} of the subjects meet {experiment['challenger']}"
    yield f"A/B {experiment['id']}: {share}{_estimate(experiment)}."
    if experiment.get("outlook"):
        yield str(experiment["outlook"])


def _estimate(experiment: JsonObject) -> str:
    estimate, interval = experiment.get("estimate"), experiment.get("interval")
    if not isinstance(estimate, int | float) or not isinstance(interval, dict):
        return ""
    metric = experiment.get("metric") or "the metric"
    return f", {metric} {estimate:+.3f} ({interval['low']:+.3f} to {interval['high']:+.3f})"


def _next_run(told: Json) -> Iterator[str]:
    if isinstance(told, dict) and told.get("says"):
        yield f"Next run: {str(told['says']).rstrip('.')}."


def _condition(told: Json) -> Iterator[str]:
    """The two states apart: whether people ask other things, and whether the answers got worse."""
    if not isinstance(told, dict):
        return
    for name in ("traffic", "answers"):
        state = told.get(name)
        if isinstance(state, dict):
            says = f": {state['says']}" if state.get("says") else ""
            yield f"{name.capitalize()} {state['state']}{says}".rstrip(".") + "."
    if told.get("action") not in (None, "none"):
        yield f"To do: {told['action']}: {told.get('reason') or 'see hone checks list'}".rstrip(".") + "."


def _checks(checks: Json) -> Iterator[str]:
    if not isinstance(checks, list) or not checks:
        return
    by_verdict: dict[str, list[str]] = {}
    for check in checks:
        if isinstance(check, Mapping):
            by_verdict.setdefault(str(check["verdict"]), []).append(f"{check['kind']} of {check['stream']}")
    order = sorted(by_verdict, key=("alarm", "warming", "ok").index)
    yield "Last checks: " + "; ".join(f"{verdict}: {', '.join(by_verdict[verdict])}" for verdict in order) + "."
