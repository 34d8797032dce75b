"""Triggers: what may arm, what a trigger waits for, how it ends, and what status says meanwhile."""

import json
from dataclasses import replace

import pytest

from core.clock import HOUR
from core.types import Version
from monitoring.policy import TriggerPolicy
from monitoring.triggers.trigger import (
    Cause,
    Ended,
    Facts,
    Failed,
    Sign,
    Step,
    Triggers,
    Waiting,
    in_window,
    step,
    to_json,
    triggers_of,
)

NOW = 1_800_000_000_000_000 // HOUR * HOUR
POLICY = TriggerPolicy()
NOTHING = Facts(champion_since=NOW - 1000 * HOUR)
ENOUGH = replace(NOTHING, rows=200, topics=5)
WORSE = (Sign("c1", "thumbs fell"),)
CHANGED = (Sign("c2", "prompts moved"),)


def look(facts: Facts, state: Triggers = Triggers(), at: int = NOW, policy: TriggerPolicy = POLICY) -> Step:  # noqa: B008
    return step(state, facts, policy, at)


@pytest.mark.parametrize(
    ("facts", "cause"),
    [
        (NOTHING, None),
        (replace(NOTHING, changed=CHANGED), None),
        (replace(NOTHING, breached="right answers below 80 %"), None),
        (replace(NOTHING, feedback=499), None),
        (replace(NOTHING, worse=WORSE), Cause.WORSE),
        (replace(NOTHING, changed=CHANGED, breached="right answers below 80 %"), Cause.CHANGED),
        (replace(NOTHING, feedback=500), Cause.FEEDBACK),
    ],
)
def test_only_harm_breach_or_feedback_arms(facts: Facts, cause: Cause | None) -> None:
    assert [armed.cause for armed in look(facts).state.armed] == ([cause] if cause else [])
    started = look(replace(facts, rows=200, topics=5)).start
    assert (started and started.cause) == cause


def test_the_calendar_arms_when_it_is_set_and_due() -> None:
    weekly = TriggerPolicy(every=168 * HOUR)
    assert look(ENOUGH, policy=weekly).start is not None
    assert look(replace(ENOUGH, ended=Ended(NOW - 168 * HOUR, NOW - 167 * HOUR)), policy=weekly).start is None


def test_changed_traffic_without_harm_says_so() -> None:
    assert look(replace(ENOUGH, changed=CHANGED)).says == "traffic changed, answers no worse: nothing to train"


def test_an_armed_trigger_waits_for_data_and_says_how_much_is_missing() -> None:
    facts = replace(NOTHING, changed=CHANGED, breached="right answers below 80 %", rows=37, topics=3)
    waiting = look(facts)
    assert (waiting.start, waiting.says) == (None, "drift seen, waiting for data: 37 of 120")
    # The alarm itself need not last; the trigger stays armed until the data are there.
    later = look(replace(NOTHING, rows=120, topics=2), waiting.state, NOW + HOUR)
    assert (later.start, later.says) == (None, "drift seen, waiting for data: 2 of 3 topics")
    started = look(ENOUGH, later.state, NOW + 2 * HOUR)
    assert started.start is not None
    assert (started.start.requester, started.start.reason) == (
        "system:changed",
        "prompts moved, and right answers below 80 %",
    )


def test_an_armed_trigger_expires_with_its_reason_and_its_alarm_arms_no_second_time() -> None:
    facts = replace(NOTHING, worse=WORSE, rows=37)
    armed = look(facts)
    assert not look(facts, armed.state, NOW + 72 * HOUR - 1).dropped
    expired = look(facts, armed.state, NOW + 72 * HOUR)
    assert [d.reason for d in expired.dropped] == ["expired after 72 h: 37 of 120"]
    assert not look(facts, expired.state, NOW + 73 * HOUR).state.armed
    assert look(replace(facts, worse=(Sign("c9", "thumbs fell again"),)), expired.state).state.armed


def test_more_feedback_arms_again_after_an_expiry() -> None:
    facts = replace(NOTHING, feedback=600)
    expired = look(facts, look(facts).state, NOW + 72 * HOUR)
    assert not look(replace(facts, feedback=990), expired.state).state.armed
    assert look(replace(facts, feedback=1000), expired.state).state.armed


def test_one_run_at_a_time() -> None:
    found = look(replace(ENOUGH, worse=WORSE, training="run7"))
    assert (found.start, found.says) == (None, "answers got worse, run run7 is open")


def test_a_second_trigger_while_a_candidate_waits_stays_armed_and_does_not_expire() -> None:
    waiting = replace(ENOUGH, worse=WORSE, candidate=Waiting(Version("tiny-ab12"), "awaiting_approval"))
    state = Triggers()
    for day in range(8):
        found = look(waiting, state, NOW + day * 24 * HOUR)
        assert found.says == "answers got worse, waiting for candidate tiny-ab12 at stage awaiting_approval"
        assert found.start is None and not found.dropped
        state = found.state
    rejected = look(replace(waiting, candidate=None), state, NOW + 8 * 24 * HOUR)
    assert rejected.start is not None


def test_a_candidate_held_for_long_may_be_superseded() -> None:
    held = replace(ENOUGH, worse=WORSE, candidate=Waiting(Version("old"), "shadow", held_since=NOW))
    assert look(held, at=NOW + 24 * HOUR - 1).start is None
    assert look(held, at=NOW + 24 * HOUR).start is not None


def test_a_promotion_disarms_what_was_said_of_the_old_champion() -> None:
    armed = look(replace(NOTHING, worse=WORSE)).state
    after = look(replace(ENOUGH, champion_since=NOW + 1), armed, NOW + 2)
    assert [(d.armed.cause, d.reason) for d in after.dropped] == [(Cause.WORSE, "the champion has changed since")]
    assert after.start is None and not after.state.armed


def test_a_run_that_ended_settles_its_triggers_and_later_ones_cool_down() -> None:
    armed = look(replace(ENOUGH, worse=WORSE)).state
    during = look(replace(ENOUGH, worse=(*WORSE, Sign("c5", "again")), training="run1"), armed, NOW + HOUR).state
    ended = replace(ENOUGH, ended=Ended(NOW + 1, NOW + 2 * HOUR))
    after = look(ended, during, NOW + 2 * HOUR)
    assert [(d.armed.source, d.reason) for d in after.dropped] == [("c1", "its run has ended")]
    assert after.start is None and "cooling down until" in after.says
    assert look(ended, after.state, NOW + 26 * HOUR).start is not None


def test_a_failed_run_has_no_cool_down_but_is_not_tried_for_ever() -> None:
    armed = look(replace(ENOUGH, worse=WORSE)).state
    once = replace(ENOUGH, failed=Failed(1, NOW + HOUR, "out of memory"))
    assert look(once, armed, NOW + HOUR).start is None
    assert look(once, armed, NOW + HOUR + POLICY.retry_after).start is not None
    thrice = look(replace(ENOUGH, failed=Failed(3, NOW + HOUR, "out of memory")), armed, NOW + 9 * HOUR)
    assert thrice.start is None
    assert thrice.says.endswith("3 runs failed in a row (out of memory); mend the cause and start one by hand")


def test_triggers_wait_for_the_off_peak_hours() -> None:
    hour = NOW // HOUR % 24
    night = TriggerPolicy(off_peak=((hour + 2) % 24, (hour + 4) % 24))
    waiting = look(replace(ENOUGH, worse=WORSE), policy=night)
    assert waiting.start is None and "off-peak hours" in waiting.says
    assert look(ENOUGH, waiting.state, NOW + 2 * HOUR, night).start is not None
    assert look(ENOUGH, waiting.state, NOW + 4 * HOUR, night).start is None


@pytest.mark.parametrize(("hour", "inside"), [(21, False), (22, True), (0, True), (5, True), (6, False)])
def test_a_window_may_span_midnight(hour: int, inside: bool) -> None:
    assert in_window(hour * HOUR + HOUR // 2, (22, 6)) is inside


def test_alarms_go_before_counts() -> None:
    facts = replace(NOTHING, worse=WORSE, changed=CHANGED, breached="b", feedback=900)
    assert [armed.cause for armed in look(facts).state.armed] == [Cause.WORSE, Cause.CHANGED, Cause.FEEDBACK]


def test_looking_twice_changes_nothing() -> None:
    facts = replace(NOTHING, worse=WORSE, feedback=900, rows=7)
    once = look(facts)
    assert look(facts, once.state) == once


def test_the_state_survives_json() -> None:
    state = look(replace(NOTHING, worse=WORSE, feedback=900)).state
    assert triggers_of(json.loads(json.dumps(to_json(state)))) == state


def test_hours_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 23"):
        TriggerPolicy(off_peak=(22, 24))
