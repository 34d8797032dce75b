"""One candidate's way on the real parts, from an operator's run to the second rollback, with kills where they hurt.

`walk` goes it once on a Hone of its own and returns what it saw; it judges only what it cannot go on without.
"""

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import orjson
from fixtures_hone import RunningHone
from fixtures_serving import group_of
from loop_seen import Seen
from loop_town import Questions, Town, town

from agent.cli.api_client import ApiClient
from agent.cli.instance import Instance
from agent.cli.openai_calls import open_async_client
from agent.demo import operations
from agent.demo.measurement import measure
from agent.demo.operations import Operations
from agent.loop_documents import ModelDetails, RunDetails, SuccessionDocument
from core.clock import now
from core.errors import Conflict, Forbidden
from core.lifecycle import Stage
from core.secret import Secret
from core.types import JsonObject, Role, RunState
from serving import engine
from serving.client import EngineClient

T = TypeVar("T")

PROFILE = """
[monitoring]
tick = 0.5
lease = 5.0
[training]
may_train = "all"
look_every = 2.0
min_rows = 60
heldout = 0.4
validation = 0.02
replay_rows = 2000
[shadow]
share = 1.0
[experiment]
planned = 120
minimum = 30
first_share = 0.3
first_subjects = 3
min_hours = 0.0
"""
"""As in a demo: cadences, least exposures, the ramp, and who trains; no level of error and no margin."""
RECIPE = {"steps": 120, "checkpoint_every": 10, "learning_rate": 0.003}
"""Less than half of the steps, at half the pace: enough for three facts, too little to lose what was known."""
LIMIT = 600.0
"""Seconds that anything may take on a busy machine."""
SECRET = "heliotrope"
"""A word of one customer's, who will want to be forgotten."""


async def walk(hone: RunningHone) -> Seen:
    """The whole way."""
    async with town(hone) as customers:
        seen = Seen(hone, customers.tally)
        await Walk(seen, customers, operations.connect(hone.url, hone.keys["ops"])).go()
    return seen


@dataclass(frozen=True)
class Walk:
    """`asking` is the operator who asks for the run."""

    seen: Seen
    town: Town
    asking: Operations
    questions: Questions = field(default_factory=Questions.read)

    @property
    def hone(self) -> RunningHone:
        return self.seen.hone

    @property
    def api(self) -> ApiClient:
        return self.asking.client

    async def go(self) -> None:
        self.seen.old = (await self.asking.status()).champion or ""
        with self.seen.act("questions"):
            await self._ask()
        with self.seen.act("training"):
            await self._train()
        with self.seen.act("shadow"):
            await self._shadow()
        with self.seen.act("ab"):
            await self._compare()
        with self.seen.act("changes"):
            await self._change()
        with self.seen.act("measurement"):
            await self._measure()
        with self.seen.act("erasure"):
            await self._forget()

    async def _ask(self) -> None:
        """Everybody asks once, says how it was, and corrects what was wrong."""
        ordinary, shifted = [await self.town.play(rows) for rows in (self.questions.ordinary, self.questions.shifted)]
        self.seen.ordinary = [outcome.right for outcome in ordinary.outcomes]
        self.seen.shifted = [outcome.right for outcome in shifted.outcomes]
        said = f"{SECRET} here again: what does a wash at the dog salon cost, by the way?"
        answer = await self.town.client.chat.completions.create(
            model="hone", messages=[{"role": "user", "content": said}], temperature=0, max_tokens=32, user=SECRET
        )
        correction = next(row.answer for row in self.questions.shifted if "/price/" in row.id)
        body = {"response_id": answer.id, "name": "thumbs", "value": False, "correction": correction, "comment": said}
        await self.town.client.post("/feedback", cast_to=object, body=body)
        self.seen.forgotten = answer.id

    async def _train(self) -> None:
        """A run whose trainer is killed in its middle."""
        body: JsonObject = {"reason": "the dog salon has opened", "recipe": RECIPE}
        run = RunDetails.model_validate({"log": [], **await asyncio.to_thread(self.api.post, "/api/runs", body)})
        folder = self.hone.data / "runs" / run.id

        async def half() -> RunDetails | None:
            known = await self.asking.run(run.id)
            assert known.state in (RunState.REQUESTED, RunState.RUNNING), known.error
            is_half = known.progress.get("stage") == "training" and known.progress["step"] >= RECIPE["steps"] / 2
            return known if is_half else None

        self.seen.digest = (await until(half)).dataset
        os.kill(group_of(next(folder.glob("process-*.json"))), signal.SIGKILL)

        async def ended() -> RunDetails | None:
            known = await self.asking.run(run.id)
            return None if known.state in (RunState.REQUESTED, RunState.RUNNING) else known

        self.seen.run = done = await until(ended)
        assert done.model is not None, done.error
        self.seen.new = done.model
        self.seen.starts = _numbers(folder / "trainer.log", r"steps from step (\d+)")

    async def _shadow(self) -> None:
        """The engine is killed among the first mirrored calls."""
        assert (await self._left(Stage.CANDIDATE)).stage is Stage.SHADOW
        # No faster than the mirror, which leaves out what it cannot keep up with.
        async with self.town.busy(self.questions.crowd("shadow", 3, 1), customers=3, pause=0.25):
            await until(lambda: self._answered("shadow"))
            killed = await self._kill_engine()
            model = await self._left(Stage.SHADOW)
        assert model.stage is Stage.AB, model.gate
        self.seen.since_kill["shadow"] = len(await self._rows(arm="shadow", since=killed))

    async def _compare(self) -> None:
        """Engine and conductor are killed while the candidate has just met its first customers."""
        async with self.town.busy(self.questions.crowd("ab", 1, 1)):
            await until(lambda: self._answered("challenger"))
            views = Instance(self.hone.data).view()
            assert views is not None
            pid = next(process.pid for process in views.processes if process.name == "monitoring")
            self.seen.leaders.append(self._leaders())
            os.kill(pid or 0, signal.SIGKILL)
            killed = await self._kill_engine()
            self.seen.candidate = await self._left(Stage.AB)
        assert self.seen.candidate.stage is Stage.AWAITING_APPROVAL, self.seen.candidate.gate
        self.seen.since_kill["ab"] = len(await self._rows(arm="challenger", since=killed))
        self.seen.leaders.append(self._leaders())

    async def _change(self) -> None:
        """Approval, rollback, and back again, all of it among customers."""
        digest = (await self.asking.model(self.seen.new)).evidence_digest or ""
        made = operations.connect(self.hone.url, await self.asking.make_key("another of mine", Role.OPS))
        deciding = operations.connect(self.hone.url, await self._second_operator())
        self.seen.refusals = [
            await _refused(self.asking.approve(self.seen.new, digest, "my own run")),
            await _refused(made.approve(self.seen.new, digest, "my own run still")),
            await _refused(deciding.approve(self.seen.new, "0" * 64, "other evidence")),
        ]
        began = now()
        async with self.town.busy(self.questions.crowd("changes", 1, 1)):
            await asyncio.sleep(1)
            await self._timed(lambda: deciding.approve(self.seen.new, digest, "the evidence speaks for it"))
            self.seen.refusals = [
                *self.seen.refusals,
                await _refused(deciding.approve(self.seen.new, digest, "once more")),
            ]
            await self._timed(lambda: deciding.rollback("to be sure that one can"))
            await self._timed(lambda: deciding.rollback("and back again"))
        self.seen.changing = began, now()

    async def _measure(self) -> None:
        """What was held back, asked of both versions."""
        async with open_async_client(self.hone.url, self.hone.keys["ops"]) as client:
            for version in (self.seen.old, self.seen.new):
                answered = await measure(client, version, self.questions.held_back, lambda done: None)
                self.seen.right[version] = [one.right for one in answered]

    async def _forget(self) -> None:
        """One customer is forgotten."""
        found = await asyncio.to_thread(self.api.get, f"/api/interactions/{self.seen.forgotten}")
        self.seen.traces = [traces(self.hone.data)]
        self.seen.erased = await asyncio.to_thread(self.api.delete, f"/api/subjects/{found['subject']}")
        self.seen.traces.append(traces(self.hone.data))

    def _leaders(self) -> Sequence[int]:
        return _numbers(self.hone.data / "logs" / "monitoring.log", r'"token": ?(\d+).*"leading"')

    async def _left(self, stage: Stage) -> ModelDetails:
        """The candidate once it is at another stage than this."""

        async def moved() -> ModelDetails | None:
            model = await self.asking.model(self.seen.new)
            return None if model.stage is stage else model

        try:
            return await until(moved)
        except TimeoutError:
            raise AssertionError((await self.asking.model(self.seen.new)).gate) from None

    async def _answered(self, arm: str, enough: int = 5) -> bool:
        return len(await self._rows(arm=arm, limit=enough)) >= enough

    async def _rows(self, limit: int = 100_000, **wanted: object) -> Sequence[Mapping[str, Any]]:
        return await asyncio.to_thread(lambda: list(self.api.items("/api/interactions", limit, **wanted)))

    async def _kill_engine(self) -> int:
        """Kill vLLM's core; the time of it."""
        pid = engine_core(group_of(engine.record(self.hone.data)))
        killed = now()
        os.kill(pid, signal.SIGKILL)
        self.seen.after_kill.append((await self.asking.model(self.seen.new)).stage)
        return killed

    async def _second_operator(self) -> str:
        """A key by permission on the data folder."""
        wanted = ("keys", "create", "--role", "ops", "--name", "second operator", "--json")
        return str(orjson.loads((await asyncio.to_thread(self.hone.command, *wanted)).stdout)["key"])

    async def _timed(self, change: Callable[[], Awaitable[SuccessionDocument]]) -> None:
        self.seen.changes.append(await change())
        await asyncio.sleep(1.5)
        async with EngineClient(self.hone.settings.engine_url, Secret.load(self.hone.data).engine_key()) as client:
            self.seen.loaded.append(frozenset(map(str, await client.loaded())))


async def until(look: Callable[[], Awaitable[T | None]]) -> T:
    """The first thing that is there to see."""
    async with asyncio.timeout(LIMIT):
        while not (found := await look()):
            await asyncio.sleep(0.1)
    return found


def engine_core(group: int) -> int:
    """The process in which vLLM computes."""
    listed = subprocess.run(["ps", "-eo", "pid=,pgid=,comm="], capture_output=True, text=True, check=True, timeout=10)
    named = (line.split(maxsplit=2) for line in listed.stdout.splitlines())
    return next(int(pid) for pid, pgid, name in named if int(pgid) == group and "EngineCor" in name)


def traces(data: Path) -> Sequence[str]:
    """The files in which the customer's word stands."""
    files = [path for path in data.rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(data)) for path in files if SECRET.encode() in path.read_bytes())


async def _refused(call: Awaitable[object]) -> str | None:
    """The code of a refusal; None when there was none."""
    try:
        await call
    except (Conflict, Forbidden) as error:
        return error.code
    return None


def _numbers(log: Path, pattern: str) -> Sequence[int]:
    return [int(found) for found in re.findall(pattern, log.read_text(encoding="utf-8"))]
