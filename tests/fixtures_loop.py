"""Short ways to the situations of the loop on a running gateway, through the doors that its other processes use."""

from dataclasses import replace
from typing import Any

import httpx
from fixtures_gateway import CHALLENGER, CHAMPION, HELLO, Gateway, model

from core.experiments import Experiments
from core.ids import new_id
from core.keys import LOCAL
from core.lifecycle import Mover, Stage
from core.runs import Runs
from core.types import Arm, Experiment, Finish, Interaction, JsonObject, Model, Role, Run, Version

EVIDENCE: JsonObject = {
    "counts": {"champion": 210, "challenger": 190},
    "reasons": [{"control": "thumbs", "ruling": "advance", "says": "better by +0.210 (+0.080 to +0.340)"}],
}
MINUTE = 60_000_000


def trained(hone: Gateway, version: Version = CHALLENGER, requester: str = "system:worse") -> Model:
    """A candidate that a run gave, loaded in the engine."""
    run = finished(hone, version, requester)
    made = replace(model(version, version[-12:] * 4), parent=CHAMPION, run=run.id)
    hone.engine.loaded[version] = ""
    return hone.parts.registry.register(made, "system:training")


def finished(hone: Gateway, version: Version, requester: str) -> Run:
    runs = Runs(hone.parts.store)
    run = runs.request(method="sft", recipe={}, reason="answers got worse", requester=requester, trigger="worse")
    claim = runs.claim("worker", MINUTE)
    assert claim is not None
    runs.finish(claim, version, {"stage": "done"})
    return runs.find(run.id)


def advanced(hone: Gateway, version: Version, *stages: Stage) -> None:
    for stage in stages:
        evidence = EVIDENCE if stage is Stage.AWAITING_APPROVAL else None
        act = {"mover": Mover.MONITORING, "actor": "system:gate", "reason": "it is time"}
        hone.parts.registry.advance(version, stage, **act, evidence=evidence)  # type: ignore[arg-type]


def awaiting(hone: Gateway, version: Version = CHALLENGER, requester: str = "system:worse") -> str:
    """A version that awaits approval; the digest of its evidence."""
    trained(hone, version, requester)
    advanced(hone, version, Stage.SHADOW, Stage.AWAITING_APPROVAL)
    evidence = hone.parts.registry.evidence(version)
    assert evidence is not None
    return evidence.digest


def compared(hone: Gateway, version: Version = CHALLENGER, share: float = 0.1) -> Experiment:
    """A version in a running A/B."""
    trained(hone, version)
    advanced(hone, version, Stage.SHADOW)
    return Experiments(hone.parts.store).begin(version, share, actor="system:gate", reason="it is time")


def promoted(hone: Gateway, version: Version = CHALLENGER) -> dict[str, Any]:
    """A version that was approved."""
    digest = awaiting(hone, version)
    answer = ask(hone, "POST", f"/api/models/{version}/approve", {"reason": "better", "evidence_digest": digest})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def ask(
    hone: Gateway, method: str, path: str, body: object = None, *, role: Role = Role.OPS, key: str | None = None
) -> httpx.Response:
    """One request with the key of a role, or with this key."""
    with hone.http(role) as http:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return http.request(method, path, headers=headers, json=body)


def holder(hone: Gateway, role: Role = Role.OPS) -> str:
    """Whom the key of a role counts as."""
    principal = hone.parts.keys.authenticate(hone.keys[role])
    assert principal is not None
    return principal.root


def newcomer(hone: Gateway, role: Role = Role.OPS, by: str = LOCAL) -> str:
    """Another key of a role."""
    return hone.parts.keys.create("another", role, by)[1]


def audited(hone: Gateway, action: str) -> list[dict[str, Any]]:
    rows = ask(hone, "GET", "/api/audit").json()["data"]
    return [row for row in rows if row["action"] == action]


def chat(hone: Gateway, question: str = "Hello", **body: Any) -> Interaction:
    """A finished call's row."""
    messages = [{"role": "user", "content": question}] if question != "Hello" else HELLO
    with hone.http() as http:
        answer = http.post("/v1/chat/completions", json={"model": "hone", "messages": messages, **body})
    assert answer.status_code == 200, answer.text
    return hone.row(answer.json()["id"])


def twin(hone: Gateway, served: Interaction, text: str, version: Version = CHALLENGER) -> Interaction:
    """What a candidate answered to the same messages."""
    row = replace(
        served,
        id=new_id(),
        arm=Arm.SHADOW,
        assigned=version,
        served=version,
        parent=served.id,
        finish=Finish.STOP,
        reply={"role": "assistant", "content": text},
    )
    hone.parts.ledger.record(row).result(5)
    return row
