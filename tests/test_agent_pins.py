"""Conversations that stay with the version that began them, and a new plan that every gateway works by."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from answers import ALICE, answer, says
from conftest import WriterFactory
from fixtures_gateway import CHALLENGER, CHAMPION, Gateway, eventually, gateway, model, over
from registry_story import await_approval
from sqlalchemy import text

from agent.pins import Pins
from agent.plans import BEAT, Plans
from core.approval import Consent
from core.errors import Unavailable
from core.ledger import Ledger
from core.registry import Registry
from core.secret import Secret
from core.store import Store
from core.types import Arm, Plan, Version
from core.workers import WorkerBeat
from serving.fake import FakeEngine

PIN = {"experiment": {"conversations": "pin"}}
SAID = {"role": "user", "content": "Hello?"}


@contextmanager
def replaced(folder: Path, **settings: Any) -> Iterator[tuple[Gateway, dict[str, Any]]]:
    """A gateway whose champion changed after a first answer, which is returned as a message."""
    with gateway(folder, engine=FakeEngine(answer=lambda version, _: version), settings=settings) as hone:
        hone.engine.loaded[CHALLENGER] = ""
        first = ask(hone, [SAID])
        promote(hone)
        yield hone, first


def promote(hone: Gateway) -> Plan:
    registry = hone.parts.registry
    registry.register(model(CHALLENGER, "1" * 64), "test")
    await_approval(registry, CHALLENGER)
    frozen = registry.evidence(CHALLENGER)
    assert frozen is not None
    plan = registry.promote(CHALLENGER, Consent("test", "a test", frozen.digest))
    assert eventually(lambda: hone.parts.plans.current().champion == CHALLENGER)
    return plan


def ask(hone: Gateway, messages: list[dict[str, Any]], **body: Any) -> dict[str, Any]:
    with hone.http() as http:
        answer = http.post("/v1/chat/completions", json={"model": "hone", "messages": messages, **body})
    assert answer.status_code == 200
    message: dict[str, Any] = answer.json()["choices"][0]["message"]
    return message


def last_arm(hone: Gateway) -> Arm:
    return hone.rows()[-1].arm


def test_a_conversation_stays_with_the_version_that_began_it_and_new_ones_do_not(tmp_path: Path) -> None:
    with replaced(tmp_path, **PIN) as (hone, first):
        assert first["content"] == CHAMPION
        past = [SAID, first]
        for turn in range(3):
            past.append({"role": "user", "content": f"And {turn}?"})
            reply = ask(hone, past)
            assert (reply["content"], last_arm(hone)) == (CHAMPION, Arm.PINNED)
            past.append(reply)
        assert ask(hone, [{"role": "user", "content": "Something else"}])["content"] == CHALLENGER
        row = hone.rows()[-2]
        assert (row.assigned, row.propensity, row.experiment) == (CHAMPION, 1.0, None)


def test_conversations_move_unless_the_settings_pin_them(tmp_path: Path) -> None:
    with replaced(tmp_path) as (hone, first):
        assert ask(hone, [SAID, first, SAID])["content"] == CHALLENGER
        assert last_arm(hone) is Arm.CHAMPION


def test_nobody_is_pinned_by_another_persons_answer_or_by_words_put_into_its_mouth(tmp_path: Path) -> None:
    with replaced(tmp_path, **PIN) as (hone, first):
        invented = {"role": "assistant", "content": "I never said that."}
        for messages, user in (([SAID, invented, SAID], None), ([SAID, first, SAID], "somebody else")):
            assert ask(hone, messages, user=user)["content"] == CHALLENGER
            assert last_arm(hone) is Arm.CHAMPION


def test_a_version_that_the_plan_let_go_of_holds_nobody(tmp_path: Path) -> None:
    with replaced(tmp_path, **PIN) as (hone, first):
        hone.parts.plans.adopt(Plan(99, CHALLENGER))
        assert ask(hone, [SAID, first, SAID])["content"] == CHALLENGER
        assert last_arm(hone) is Arm.CHAMPION


def test_a_mirrored_answer_pins_nobody(store: Store, start_writer: WriterFactory, secret: Secret) -> None:
    ledger = Ledger(store, start_writer(store), secret)
    shadow = answer("Hello?", arm=Arm.SHADOW, served=CHALLENGER)
    ledger.record(shadow).result(10)
    past = [*says("Hello?"), shadow.reply, *says("And?")]
    assert shadow.reply is not None
    pins = Pins(ledger, secret)
    assert asyncio.run(pins.find(ALICE, past)) is None
    ledger.record(answer("Hello?", served=CHAMPION)).result(10)
    assert asyncio.run(pins.find(ALICE, past)) == CHAMPION


def test_the_answer_is_found_by_an_index(sqlite_store: Store) -> None:
    query = "EXPLAIN QUERY PLAN SELECT served FROM interactions WHERE reply = 'r' AND arm != 'shadow' ORDER BY id DESC"
    with sqlite_store.read() as conn:
        steps = [str(row.detail) for row in conn.execute(text(f"{query} LIMIT 1"))]
    assert any("interactions_reply" in step for step in steps)
    assert not any(step.startswith("SCAN") for step in steps)


class Away(Ledger):
    """A ledger whose database cannot be read; counts the tries."""

    def __init__(self, wait: float = 0) -> None:
        self.tries = 0
        self.wait = wait

    def served(self, reply: str) -> Version | None:
        self.tries += 1
        time.sleep(self.wait)
        raise Unavailable("away")


async def test_a_database_that_cannot_be_read_pins_nobody_and_is_left_in_peace_for_a_while(secret: Secret) -> None:
    ledger = Away()
    pins = Pins(ledger, secret)
    for _ in range(5):
        assert await pins.find(ALICE, says("a", "b", "c")) is None
    assert ledger.tries == 1


async def test_a_database_that_is_slow_holds_a_call_up_for_half_a_second_at_most(secret: Secret) -> None:
    pins = Pins(Away(wait=1.5), secret)
    started = time.monotonic()
    assert await pins.find(ALICE, says("a", "b", "c")) is None
    assert time.monotonic() - started < 1


async def test_only_calls_with_an_earlier_answer_cost_a_look(secret: Secret) -> None:
    ledger = Away()
    assert await Pins(ledger, secret).find(ALICE, [{"role": "system", "content": "s"}, *says("a")]) is None
    assert ledger.tries == 0


# Every gateway works by the new plan.


async def acknowledged(hone: Gateway, revision: int, timeout: float) -> bool:
    parts = hone.parts
    return await Plans(parts.registry, parts.clock).acknowledged_by_all(revision, timeout)


def test_a_promotion_is_acknowledged_by_two_gateways_within_a_second(tmp_path: Path) -> None:
    with gateway(tmp_path) as first, over(first.parts.settings, first.engine) as second:
        assert eventually(second.ready, 10)
        revision = first.parts.plans.current().revision
        assert asyncio.run(acknowledged(first, revision, 3))
        assert not asyncio.run(acknowledged(first, revision + 1, 0.3))
        plan = promote(first)
        started = time.monotonic()
        assert asyncio.run(acknowledged(first, plan.revision, 3))
        assert time.monotonic() - started < 1.2
        assert second.parts.plans.current().champion == CHALLENGER


def test_the_gateway_that_made_the_plan_adopts_it_at_once(tmp_path: Path) -> None:
    with gateway(tmp_path) as hone:
        plans = hone.parts.plans
        new = Plan(plans.current().revision + 5, CHAMPION)
        plans.adopt(new)
        assert plans.current() == new
        plans.adopt(Plan(new.revision - 1, CHALLENGER))
        assert plans.current() == new
        time.sleep(0.7)
        assert plans.current() == new, "an older plan that was read meanwhile is not put back"


async def test_a_gateway_that_does_not_follow_is_waited_for_while_it_lives(sqlite_store: Store) -> None:
    clock = [0]
    registry = Registry(sqlite_store, lambda: clock[0])
    plans = Plans(registry, lambda: clock[0])
    assert not await plans.acknowledged_by_all(1, 0.2), "nobody has acknowledged anything"
    registry.beat(WorkerBeat("g1", "gateway", "host", 1, 0, revision=1, adopted=2))
    registry.beat(WorkerBeat("e1", "engine", "host", 2, 0, revision=1))
    assert await plans.acknowledged_by_all(2, 0.2)
    registry.beat(WorkerBeat("g2", "gateway", "host", 3, 0, revision=1, adopted=1))
    assert not await plans.acknowledged_by_all(2, 0.2)
    clock[0] = round(4 * BEAT * 1e6)
    registry.beat(WorkerBeat("g1", "gateway", "host", 1, 0, revision=1, adopted=2))
    assert await plans.acknowledged_by_all(2, 0.2), "a gateway that fell silent is gone"


async def test_an_answer_under_an_older_plan_does_not_keep_a_gateway_from_adopting_the_new_one(tmp_path: Path) -> None:
    with gateway(tmp_path) as hone:
        plans = hone.parts.plans
        plans.enter(plans.current().revision)
        plans.adopt(Plan(7, CHAMPION))
        assert await Plans(hone.parts.registry, hone.parts.clock).acknowledged_by_all(7, 2)
        (worker,) = hone.parts.registry.workers(0)
        assert (worker.revision, worker.adopted) == (1, 7)
