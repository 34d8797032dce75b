"""Scores: the sample that everybody would draw, each answer once, later when the engine is away, none where none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from conftest import StoppedClock
from sqlalchemy import select
from traffic import V0, Traffic
from traffic import traffic as traffic

from core import states
from core.errors import EngineFailed, EngineUnavailable
from core.rules import Monitoring
from core.schema import scores
from core.store import Store
from core.types import Arm, Finish, Interaction, JsonObject, Version
from monitoring.drift.arrivals import FAR_EVERY, LOOK_BACK
from monitoring.drift.replies import Replies
from monitoring.scoring.scores import Scores, sampled
from monitoring.scoring.sources import Likelihood, Source
from serving.client import EngineClient
from serving.scoring import Scored, Scorer


@dataclass
class Engine(Scorer):
    """Says the same of every answer, or what it is told to do."""

    trouble: dict[str, Exception | None] = field(default_factory=dict)
    """By the answer's text; None refuses."""
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(EngineClient("http://127.0.0.1:1", ""))

    async def score(
        self, version: Version, messages: Sequence[JsonObject], answer: str, tools: Any = None
    ) -> Scored | None:
        self.asked.append((version, answer))
        if answer in self.trouble:
            if error := self.trouble[answer]:
                raise error
            return None
        return Scored(-0.25, -2.0, 3)


@dataclass
class Opinion:
    """A source of its own, which says what it is told to by the answer's text."""

    values: dict[str, Mapping[str, float] | Exception]
    name: str = "opinion"
    asked: list[str] = field(default_factory=list)

    async def of(self, answer: Interaction) -> Mapping[str, float]:
        text = str((answer.reply or {})["content"])
        self.asked.append(text)
        found = self.values[text]
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def engine() -> Engine:
    return Engine()


def job(
    traffic: Traffic, engine: Engine, share: float = 1.0, limit: int = 1000, others: Sequence[Source] = ()
) -> Scores:
    settings = Monitoring(score_share=share, scores_per_tick=limit)
    return Scores(traffic.store, [Likelihood(engine), *others], settings, traffic.clock)


def counts(store: Store) -> dict[str, tuple[int, int]]:
    with store.read() as conn:
        state = states.read(conn, "scores")
    assert state is not None
    found: Mapping[str, Mapping[str, int]] = state.body["counts"]  # type: ignore[assignment]
    return {name: (count["scored"], count["refused"]) for name, count in found.items()}


def rows(store: Store, name: str = "logprob") -> list[str]:
    with store.read() as conn:
        return list(conn.scalars(select(scores.c.interaction).where(scores.c.name == name).order_by(scores.c.id)))


async def test_an_answer_gets_its_scores_once_with_source_and_version(traffic: Traffic, engine: Engine) -> None:
    asked = traffic.ask()
    traffic.settle()
    scoring = job(traffic, engine)
    for _ in range(3):
        await scoring.tick()
    await job(traffic, engine).tick()  # a new leader
    with traffic.store.read() as conn:
        found = conn.execute(select(scores).order_by(scores.c.name)).all()
    assert [(row.interaction, row.version, row.source, row.name, row.value) for row in found] == [
        (asked.id, V0, "likelihood", "logprob", -0.25),
        (asked.id, V0, "likelihood", "prompt", -2.0),
    ]
    assert len(engine.asked) == 1


async def test_only_finished_stored_answers_that_somebody_saw_are_scored(traffic: Traffic, engine: Engine) -> None:
    good = [traffic.ask(), traffic.ask(finish=Finish.LENGTH), traffic.ask(arm=Arm.CHALLENGER, served=Version("v1"))]
    for changes in (
        {"finish": Finish.CANCELLED},
        {"finish": Finish.ERROR, "reply": None},
        {"stored": False, "messages": (), "reply": None},
        {"arm": Arm.SHADOW, "parent": good[0].id},
        {"served": None, "arm": Arm.EXTERNAL},
        {"kind": "completion"},
        {"tags": {"purpose": "measurement"}},
        {"reply": {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}},
    ):
        traffic.ask(**changes)  # type: ignore[arg-type]
    traffic.ask(tags={"note": 'not "purpose":"measurement"'})
    traffic.settle()
    await job(traffic, engine).tick()
    assert rows(traffic.store)[:3] == [row.id for row in good]
    assert len(rows(traffic.store)) == 4
    assert [version for version, _ in engine.asked] == ["v0", "v0", "v1", "v0"]


async def test_an_answer_that_calls_tools_is_measured_by_what_understands_it(traffic: Traffic, engine: Engine) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "no_such_tool", "arguments": "{}"}}
    reply: JsonObject = {"role": "assistant", "content": None, "tool_calls": [call]}
    asked = traffic.ask(reply=reply, finish=Finish.TOOL_CALLS)
    traffic.settle()
    await job(traffic, engine, others=[Replies([])]).tick()
    assert (rows(traffic.store, "tool_error"), rows(traffic.store), engine.asked) == ([asked.id], [], [])


async def test_the_sample_is_a_share_and_the_same_whoever_looks(traffic: Traffic, engine: Engine) -> None:
    asked = [traffic.ask() for _ in range(300)]
    traffic.settle()
    await job(traffic, engine, share=0.2).tick()
    chosen = [row.id for row in asked if sampled(row.id, 0.2)]
    assert rows(traffic.store) == chosen
    assert 35 < len(chosen) < 90
    assert set(chosen) <= {row.id for row in asked if sampled(row.id, 0.3)}


async def test_a_share_of_nothing_scores_nothing(traffic: Traffic, engine: Engine) -> None:
    traffic.ask()
    traffic.settle()
    await job(traffic, engine, share=0).tick()
    assert not engine.asked


async def test_a_tick_has_a_limit_and_the_next_one_goes_on(traffic: Traffic, engine: Engine) -> None:
    asked = [traffic.ask() for _ in range(7)]
    traffic.settle()
    scoring = job(traffic, engine, limit=3)
    counts = []
    for _ in range(4):
        await scoring.tick()
        counts.append(len(rows(traffic.store)))
    assert counts == [3, 6, 7, 7]
    assert rows(traffic.store) == [row.id for row in asked]


async def test_while_the_engine_is_away_answers_wait_however_long(traffic: Traffic, engine: Engine) -> None:
    first = traffic.ask(reply={"role": "assistant", "content": "ok"})
    second = traffic.ask(reply={"role": "assistant", "content": "down"})
    engine.trouble = {"down": EngineUnavailable("away")}
    traffic.settle()
    scoring = job(traffic, engine)
    with pytest.raises(EngineUnavailable):
        await scoring.tick()
    assert rows(traffic.store) == [first.id]
    traffic.clock.advance(10 * LOOK_BACK / 1e6)
    third = traffic.ask()
    traffic.settle()
    with pytest.raises(EngineUnavailable):
        await scoring.tick()
    assert len(engine.asked) == 3, "the first trouble ends the tick"
    engine.trouble = {}
    await job(traffic, engine).tick()
    assert rows(traffic.store) == [first.id, second.id, third.id]


async def test_an_answer_that_cannot_be_scored_keeps_no_other_back(traffic: Traffic, engine: Engine) -> None:
    engine.trouble = {"refused": None, "breaks": EngineFailed("500")}
    for text in ("refused", "breaks", "fine"):
        last = traffic.ask(reply={"role": "assistant", "content": text})
    traffic.settle()
    scoring = job(traffic, engine)
    await scoring.tick()
    await scoring.tick()
    assert rows(traffic.store) == [last.id]
    assert len(engine.asked) == 3, "what has no score is not asked for again"
    assert counts(traffic.store) == {"likelihood": (1, 2)}


async def test_each_source_is_asked_once_and_its_rows_bear_its_name(traffic: Traffic, engine: Engine) -> None:
    opinion = Opinion({"good": {"taste": 0.9, "tone": 0.1}, "silent": {}, "broken": EngineFailed("500")})
    engine.trouble = {"good": None}
    asked = [traffic.ask(reply={"role": "assistant", "content": text}) for text in ("good", "silent", "broken")]
    traffic.settle()
    scoring = job(traffic, engine, others=[opinion])
    for _ in range(2):
        await scoring.tick()
    with traffic.store.read() as conn:
        found = {(row.interaction, row.name): (row.source, row.value) for row in conn.execute(select(scores))}
    assert found == {
        (asked[0].id, "taste"): ("opinion", 0.9),
        (asked[0].id, "tone"): ("opinion", 0.1),
        **{(row.id, "logprob"): ("likelihood", -0.25) for row in asked[1:]},
        **{(row.id, "prompt"): ("likelihood", -2.0) for row in asked[1:]},
    }
    assert opinion.asked == ["good", "silent", "broken"]
    await job(traffic, engine, others=[opinion]).tick()  # a new leader goes on counting
    assert counts(traffic.store) == {"likelihood": (2, 1), "opinion": (1, 2)}


async def test_an_answer_waits_whole_for_the_source_that_is_away(traffic: Traffic, engine: Engine) -> None:
    opinion = Opinion({"ok": EngineUnavailable("away")})
    asked = traffic.ask(reply={"role": "assistant", "content": "ok"})
    traffic.settle()
    scoring = job(traffic, engine, others=[opinion])
    with pytest.raises(EngineUnavailable):
        await scoring.tick()
    assert rows(traffic.store) == []
    opinion.values = {"ok": {"taste": 1.0}}
    await scoring.tick()
    assert rows(traffic.store) == rows(traffic.store, "taste") == [asked.id]


async def test_a_row_that_comes_late_is_scored_and_one_that_comes_too_late_is_not(
    traffic: Traffic, engine: Engine, clock: StoppedClock
) -> None:
    began = clock()
    scoring = job(traffic, engine)
    clock.advance(300)
    traffic.ask()
    traffic.settle()
    await scoring.tick()
    now, clock.at = clock(), began
    late = traffic.ask()
    clock.at = began - LOOK_BACK - 1_000_000
    too_late = traffic.ask()
    clock.at = now
    traffic.settle()
    for _ in range(FAR_EVERY):
        await scoring.tick()
    assert late.id in rows(traffic.store)
    assert too_late.id not in rows(traffic.store)
