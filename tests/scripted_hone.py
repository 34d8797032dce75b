"""A Hone by script, for stories: what its operations API says, call by call, beside a stand-in that answers chats."""

from dataclasses import dataclass, field
from typing import Any

from fixtures_service import FakeService

from agent.loop_documents import ExperimentDetails, ModelDetails, PromotionDocument, RunDetails, SuccessionDocument
from agent.status_documents import StatusDocument
from core.errors import Conflict

OLD, NEW = "tiny-v0", "tiny-v1"
DIGEST = "d1"
COUNTS = "queued committed spooled replayed rejected refused unlogged held spool_bytes"
TIMES = ("commit_seconds_sum", "commit_seconds_count")
QUEUES = dict.fromkeys((*COUNTS.split(), *TIMES), 0)
NEXT_RUN = {"says": "answers got worse, waiting for data: 3 of 9", "waits": {}, "looked_at": 1, "dropped": []}
GATES = [
    {"stage": "candidate", "reasons": [{"control": "held-out rows", "ruling": "advance", "says": "better"}]},
    {"stage": "shadow", "reasons": [{"control": "old skills", "ruling": "advance", "says": "kept"}]},
    {"stage": "ab", "reasons": [{"control": "thumbs", "ruling": "advance", "says": "better by +0.3"}]},
]
EVIDENCE = {
    "gates": GATES,
    "offline": {"held_out": None},
    "shadow": {"references": {"units": 80, "mean": 0.3, "interval": {"low": 0.1, "high": 0.5}}},
    "experiment": {
        "primary": {
            "comparison": {
                **{"estimate": 0.4, "interval": {"low": 0.2, "high": 0.6}},
                **{arm: {"measured": 45} for arm in ("champion", "challenger")},
            }
        }
    },
}


@dataclass
class ScriptedHone:
    """Speaks as `Operations` does. `stages` are those of the candidate, each left after a few looks."""

    service: FakeService
    stages: tuple[str, ...] = ("candidate", "shadow", "ab", "awaiting_approval")
    run_state: str = "done"
    starts: bool = True
    stale: bool = False
    revision: int = 1
    looks: int = 0
    asked: list[str] = field(default_factory=list)

    async def status(self) -> StatusDocument:
        self.looks += 1
        return StatusDocument.model_validate(
            {
                "champion": self.service.version,
                "previous": None,
                "challenger": NEW,
                "shadow": None,
                "stage": None,
                "plan_revision": self.revision,
                "queues": {**QUEUES, "degraded": False, "trouble": None},
                "workers": [worker(self.revision)],
                "audit": {"seq": 1, "head": "h"},
                "ready": True,
                "degraded": False,
                "model": {"base": "hone-tiny", "built_in": True},
                "checks": [check("alarm" if self.looks > 4 else "ok")],
                "next_run": NEXT_RUN,
                "experiment": trial(self.looks),
            }
        )

    async def newest_run(self) -> str | None:
        return "r1" if self.starts and self.looks > 6 else None

    async def run(self, run_id: str) -> RunDetails:
        self.asked.append(f"run {run_id}")
        step = 10 * self.asked.count(f"run {run_id}")
        values = {"id": run_id, "created_at": 1, "method": "sft", "recipe": {}, "reason": "thumbs fell"}
        ended = step > 30
        return RunDetails.model_validate(
            {
                **values,
                "state": self.run_state if ended else "running",
                "requester": "system:worse",
                "trigger": "worse",
                "progress": {"stage": "training", "step": step, "steps": 30, "loss": 3.0 / step, "eta_seconds": 1.0},
                "attempts": 1,
                "dataset": None,
                "model": NEW if ended and self.run_state == "done" else None,
                "error": "out of memory" if self.run_state == "failed" else None,
                "started_at": 1,
                "ended_at": None,
                "log": [],
            }
        )

    async def model(self, version: str) -> ModelDetails:
        self.asked.append(f"model {version}")
        place = min(self.asked.count(f"model {version}") // 3, len(self.stages) - 1)
        stage = self.stages[place]
        waits = stage == "awaiting_approval"
        return ModelDetails.model_validate(
            {
                **{"id": version, "created_at": 1, "stage": stage, "revision": 1, "base": "hone-tiny"},
                **{"base_digest": "b", "digest": "a", "parent": OLD, "run": "r1", "manifest": {}},
                "requester": "system:worse",
                "gate": {**GATES[min(place, 2)], "says": f"what the gate says at {stage}", "earlier": []},
                "evidence": EVIDENCE if waits else None,
                "evidence_digest": DIGEST if waits else None,
            }
        )

    async def trial(self, version: str) -> ExperimentDetails | None:
        if not any(word == "champion tiny-v1" for word in self.asked):
            return None
        looks = [look(self.looks - n) for n in range(4)]
        return ExperimentDetails.model_validate({**trial(self.looks), "looks": looks})

    async def approve(self, version: str, digest: str, reason: str) -> PromotionDocument:
        if self.stale:
            raise Conflict("The evidence is void: the config changed.")
        return PromotionDocument(**self._change(version, OLD), evidence_digest=digest, self_approved=False)

    async def rollback(self, reason: str) -> SuccessionDocument:
        back = OLD if self.service.version == NEW else NEW
        return SuccessionDocument(**self._change(back, str(self.service.version)))

    def _change(self, champion: str, previous: str) -> dict[str, Any]:
        self.service.version = champion
        self.revision += 1
        self.asked.append(f"champion {champion}")
        done = {"revision": self.revision, "acknowledged": False, "seconds": 0.1}
        return {"champion": champion, "previous": previous, **done}


def worker(revision: int) -> dict[str, Any]:
    times = {"started_at": 1, "seen_at": 1}
    return {"id": "w", "kind": "gateway", "host": "h", "pid": 1, **times, "revision": revision, "loaded": []}


def check(verdict: str, stream: str = "thumbs") -> dict[str, Any]:
    figures = {"statistic": 1.0, "threshold": 2.0, "count": 120}
    named = {"id": "c", "created_at": 1, "kind": "drift", "stream": stream, "version": None}
    return {**named, **figures, "verdict": verdict, "details": {"says": "lower for about 7 observations"}}


def trial(looks: int) -> dict[str, Any]:
    sides = {"subjects": looks, "measured": looks, "mean": 0.5}
    arms = {"champion": {"version": OLD, **sides}, "challenger": {"version": NEW, **sides}}
    ended = {"ended_at": None, "reason": None, "steps": []}
    return {
        **{"id": "e1", "created_at": 1, "kind": "ab", "champion": OLD, "challenger": NEW, "share": 0.5},
        **{"state": "running", **ended, "metric": "thumbs", "arms": arms},
        **{"estimate": 0.3, "interval": {"low": 0.3 - 1 / looks, "high": 0.3 + 1 / looks}},
    }


def look(subjects: int) -> dict[str, Any]:
    sides = {name: {"measured": subjects} for name in ("champion", "challenger")}
    comparison = {**sides, "estimate": 0.3, "interval": {"low": 0.3 - 1 / subjects, "high": 0.3 + 1 / subjects}}
    return {"id": "l", "created_at": 1, "findings": {"primary": {"comparison": comparison}}}
