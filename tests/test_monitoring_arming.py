"""Arming over real rows: from yield, alarms, runs and candidates to one run, what it waits for, what was dropped."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from conftest import StoppedClock
from registry_story import MONITORING, Story
from sqlalchemy import select

from core import states
from core.clock import HOUR
from core.lifecycle import Stage
from core.rules import Notify
from core.runs import Runs
from core.schema import notices
from core.store import Store
from core.types import Json, Run, RunState
from monitoring.notices import Outbox
from monitoring.policy import TriggerPolicy
from monitoring.triggers.arming import Arming

POLICY = TriggerPolicy(min_rows=120, min_topics=3, cool_down=0)


class Place:
    """A first champion v0, a stopped clock, and short ways to each kind of fact."""

    def __init__(self, store: Store, clock: StoppedClock) -> None:
        self.store, self.clock = store, clock
        self.story = Story(store)
        self.runs = Runs(store, clock)
        clock.at = self.story.time + 1

    def arming(self, policy: TriggerPolicy = POLICY, method: str = "auto") -> Arming:
        return Arming(self.store, policy, method, Outbox(Notify(command=("cat",))), self.clock)

    def yields(self, rows: int, topics: int = 5, feedback: int = 0, method: str = "sft") -> None:
        body = {"rows": rows, "topics": topics, "feedback": feedback, "method": method}
        self.put(states.YIELD, body)

    def alarms(self, stream: str, number: int = 1, breached: str | None = None) -> None:
        alarm = {"id": f"{stream}:v0:{number}", "says": f"{stream}: lower"}
        self.put(f"drift/{stream}/v0", {"alarm": alarm, "breached": breached})

    def put(self, name: str, body: Mapping[str, Json]) -> None:
        with self.store.write() as conn:
            states.put(conn, name, body, self.clock())

    def says(self) -> str:
        return str(self.state()["says"])

    def state(self) -> Mapping[str, Any]:
        with self.store.read() as conn:
            state = states.read(conn, states.TRIGGERS)
        assert state is not None
        return state.body

    def begin(self, run: Run) -> None:
        assert self.runs.claim("worker", HOUR)

    def fail(self, error: str) -> None:
        claim = self.runs.claim("worker", 1)
        assert claim is not None
        self.runs.fail(claim, error)


@pytest.fixture
def place(store: Store, clock: StoppedClock) -> Place:
    return Place(store, clock)


async def test_without_any_fact_nothing_is_armed(place: Place) -> None:
    await place.arming().tick()
    assert place.says() == "nothing armed"
    assert place.runs.open() is None


async def test_an_alarm_waits_for_data_says_how_much_is_missing_and_then_starts_one_run(place: Place) -> None:
    arming = place.arming()
    place.alarms("thumbs")
    place.yields(37)
    await arming.tick()
    assert place.says() == "answers got worse, waiting for data: 37 of 120"
    assert place.state()["waits"]["rows"] == 37
    assert place.runs.open() is None
    place.yields(140, method="kto")
    await arming.tick()
    run = place.runs.open()
    assert run is not None
    assert (run.requester, run.trigger, run.method, run.reason) == ("system:worse", "worse", "kto", "thumbs: lower")
    await place.arming().tick()  # the next leader
    assert [run.id for run in place.runs.page().items] == [run.id]
    assert place.says() == f"answers got worse, run {run.id} is open"


async def test_the_setting_goes_before_what_the_yield_suggests(place: Place) -> None:
    place.alarms("thumbs")
    place.yields(140, method="kto")
    await place.arming(method="dpo").tick()
    run = place.runs.open()
    assert run is not None and run.method == "dpo"


async def test_changed_traffic_trains_only_with_a_breach_of_quality(place: Place) -> None:
    place.yields(500)
    place.alarms("length")
    await place.arming().tick()
    assert place.says() == "traffic changed, answers no worse: nothing to train"
    place.put("drift/thumbs/v0", {"alarm": None, "breached": "9 of the last 60 rated subjects were content"})
    await place.arming().tick()
    run = place.runs.open()
    assert run is not None and run.trigger == "changed"


@pytest.mark.parametrize("stream", ["thumbs", "judge", "refusal", "tool_error"])
async def test_answers_that_got_worse_train_without_more_ado(place: Place, stream: str) -> None:
    place.yields(500)
    place.alarms(stream)
    await place.arming().tick()
    run = place.runs.open()
    assert run is not None and run.trigger == "worse"


@pytest.mark.parametrize("stream", ["distance", "prompt", "prompt_length", "logprob", "length", "latency"])
async def test_what_is_no_harm_by_itself_trains_nothing(place: Place, stream: str) -> None:
    place.yields(500)
    place.alarms(stream)
    place.put("drift/refusal/v0", {"alarm": None, "breached": "only what subjects said is a bound of quality"})
    await place.arming().tick()
    assert place.runs.open() is None
    assert place.says() == "traffic changed, answers no worse: nothing to train"


async def test_alarms_about_another_version_are_not_heard(place: Place) -> None:
    place.yields(500)
    place.put("drift/thumbs/v-old", {"alarm": {"id": "thumbs:v-old:1", "says": "lower"}, "breached": "b"})
    await place.arming().tick()
    assert place.says() == "nothing armed"


async def test_one_alarm_starts_one_run_and_another_one_may_start_the_next(place: Place) -> None:
    place.alarms("thumbs")
    place.yields(200)
    await place.arming().tick()
    run = place.runs.open()
    assert run is not None
    place.clock.advance(10)
    place.runs.cancel(run.id, "key_ops", "not now")
    place.clock.advance(1)
    await place.arming().tick()
    assert place.says() == "nothing armed"
    assert [dropped["says"] for dropped in place.state()["dropped"]] == ["thumbs: lower: its run has ended"]
    place.yields(200)
    place.alarms("thumbs", 2)
    await place.arming().tick()
    assert place.runs.open() is not None


async def test_a_count_from_before_the_last_run_ended_starts_nothing(place: Place) -> None:
    place.alarms("thumbs")
    place.yields(200)
    await place.arming().tick()
    run = place.runs.open()
    assert run is not None
    place.clock.advance(10)
    place.runs.cancel(run.id, "key_ops", "not now")
    place.clock.advance(10)
    place.alarms("thumbs", 2)
    await place.arming().tick()
    assert place.says() == "answers got worse, waiting for data: 0 of 120"


async def test_failed_runs_are_tried_again_up_to_a_limit(place: Place) -> None:
    arming = place.arming(replace(POLICY, retry_after=60_000_000, max_failures=2))
    place.alarms("thumbs")
    place.yields(200)
    for _ in range(2):
        await arming.tick()
        place.fail("out of memory")
        place.clock.advance(61)
    await arming.tick()
    assert place.runs.open() is None
    assert place.says().endswith("2 runs failed in a row (out of memory); mend the cause and start one by hand")


async def test_a_second_trigger_waits_behind_a_candidate_and_nobody_supersedes_a_persons_turn(place: Place) -> None:
    place.story.await_approval("v1")
    place.clock.advance(100 * 3600)
    place.alarms("thumbs")
    place.yields(200)
    await place.arming().tick()
    assert place.says() == "answers got worse, waiting for candidate v1 at stage awaiting_approval"
    assert place.runs.open() is None


async def test_a_candidate_that_is_held_for_long_may_be_followed_by_another(place: Place) -> None:
    place.story.enter("v1")
    place.story.advance("v1", Stage.SHADOW, MONITORING)
    place.alarms("thumbs")
    place.yields(200)
    place.clock.advance(23 * 3600)
    await place.arming().tick()
    assert place.says() == "answers got worse, waiting for candidate v1 at stage shadow"
    place.clock.advance(2 * 3600)
    await place.arming().tick()
    assert place.runs.open() is not None


async def test_an_operators_run_is_not_doubled(place: Place) -> None:
    mine = place.runs.request(method="sft", recipe={}, reason="r", requester="key_ops")
    place.alarms("thumbs")
    place.yields(200)
    await place.arming().tick()
    assert [run.id for run in place.runs.page().items] == [mine.id]
    assert place.says() == f"answers got worse, run {mine.id} is open"


async def test_an_expired_trigger_leaves_a_trace_and_a_notice(place: Place) -> None:
    place.alarms("thumbs")
    place.yields(5)
    await place.arming().tick()
    place.clock.advance(72 * 3600)
    await place.arming().tick()
    (dropped,) = place.state()["dropped"]
    assert dropped["says"] == "thumbs: lower: expired after 72 h: 5 of 120"
    assert place.state()["armed"] == []
    with place.store.read() as conn:
        (told,) = conn.execute(select(notices)).all()
    assert (told.kind, told.body["says"]) == ("trigger_dropped", dropped["says"])


async def test_a_promotion_drops_what_was_armed_against_the_old_champion(place: Place) -> None:
    place.alarms("thumbs")
    place.yields(5)
    await place.arming().tick()
    place.story.time = place.clock() + 1
    place.story.await_approval("v1")
    place.story.promote("v1")
    place.clock.advance(1)
    await place.arming().tick()
    assert place.says() == "nothing armed"
    assert place.state()["dropped"][0]["says"].endswith("the champion has changed since")
    with place.store.read() as conn:
        assert conn.execute(select(notices)).first() is None


async def test_looking_again_and_again_writes_only_what_is_new(place: Place) -> None:
    arming = place.arming()
    await arming.tick()

    def written() -> int:
        with place.store.read() as conn:
            state = states.read(conn, states.TRIGGERS)
        assert state is not None
        return state.updated_at

    first = written()
    place.clock.advance(30)
    await arming.tick()
    assert written() == first
    place.clock.advance(31)
    await arming.tick()
    assert written() == place.clock(), "status sees that somebody looks"


async def test_the_run_that_a_trigger_starts_is_the_workers_to_claim(place: Place) -> None:
    place.alarms("thumbs")
    place.yields(200)
    await place.arming().tick()
    claim = place.runs.claim("worker", HOUR)
    assert claim is not None and claim.run.state is RunState.RUNNING
