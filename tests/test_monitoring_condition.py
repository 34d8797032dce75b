"""The two states: neither is made from the other, neither is ok by silence, and one thing is to be done."""

from dataclasses import replace
from typing import Any

import pytest

from core.clock import SECOND
from core.types import Verdict
from monitoring.drift.condition import PACE, Action, Reading, Side, condition, is_news

CALM = Reading("length", Side.TRAFFIC, True, Verdict.OK, None, "like the reference", Action.IGNORE, "no harm")
LIKED = Reading("thumbs", Side.ANSWERS, True, Verdict.OK, None, "like the reference", Action.RETRAIN, "a run starts")
WARMING = replace(CALM, stream="distance", verdict=Verdict.WARMING, says="warming: 3 of 500 observations")
FAULT = Reading("refusal", Side.ANSWERS, False, Verdict.OK, None, "like the reference", Action.RETRAIN, "a run starts")


def alarmed(reading: Reading, since: int) -> Reading:
    return replace(reading, verdict=Verdict.ALARM, since=since, says="lower for about 9 observations")


def told(*readings: Reading, at: int = 100) -> Any:
    return condition(readings, 5000.0, at)


def test_without_values_both_states_warm() -> None:
    found = told()
    assert found["traffic"]["state"] == found["answers"]["state"] == "warming"
    assert (found["action"], found["reason"]) == ("none", "")


def test_a_state_is_ok_only_when_all_its_vital_streams_have_a_reference() -> None:
    assert told(CALM, LIKED)["traffic"]["state"] == "ok"
    found = told(CALM, WARMING, LIKED)
    assert found["traffic"] == {
        "state": "warming",
        "since": None,
        "streams": [],
        "says": "distance 3 of 500 observations",
    }
    assert found["answers"]["state"] == "ok"


def test_that_no_answer_is_at_fault_does_not_make_answers_good() -> None:
    assert told(FAULT)["answers"]["state"] == "warming"
    assert told(FAULT, LIKED)["answers"]["state"] == "ok"
    assert told(replace(FAULT, verdict=Verdict.WARMING), LIKED)["answers"]["state"] == "ok"
    assert told(alarmed(FAULT, 7), LIKED)["answers"]["state"] == "worse"


def test_changed_traffic_is_no_worse_answers_and_the_other_way_round() -> None:
    changed, worse = told(alarmed(CALM, 7), LIKED), told(CALM, alarmed(LIKED, 7))
    assert (changed["traffic"]["state"], changed["answers"]["state"]) == ("changed", "ok")
    assert (worse["traffic"]["state"], worse["answers"]["state"]) == ("ok", "worse")


def test_a_state_lasts_since_its_first_alarm_and_names_all() -> None:
    found = told(alarmed(CALM, 9), alarmed(WARMING, 7), LIKED)["traffic"]
    assert (found["since"], found["streams"]) == (7, ["distance", "length"])
    assert found["says"].startswith("distance lower for about 9 observations; length ")


@pytest.mark.parametrize(
    ("actions", "pressing"),
    [
        ((Action.IGNORE, Action.LABELS), Action.LABELS),
        ((Action.LABELS, Action.RECALIBRATE), Action.RECALIBRATE),
        ((Action.RECALIBRATE, Action.RETRAIN, Action.IGNORE), Action.RETRAIN),
    ],
)
def test_of_several_alarms_the_most_pressing_says_what_to_do(actions: tuple[Action, ...], pressing: Action) -> None:
    readings = [alarmed(replace(CALM, stream=action, action=action), 7) for action in actions]
    found = told(*readings)
    assert (found["action"], found["reason"]) == (pressing, f"{pressing}: no harm")


def test_what_speaks_about_neither_state_may_ask_for_something() -> None:
    found = told(CALM, LIKED, alarmed(replace(CALM, stream="confidence", side=None, action=Action.RECALIBRATE), 7))
    assert (found["traffic"]["state"], found["answers"]["state"], found["action"]) == ("ok", "ok", "recalibrate")


def test_another_state_is_news_at_once_other_words_now_and_then() -> None:
    before = told(CALM, WARMING)
    further = replace(WARMING, says="warming: 4 of 500 observations")
    assert is_news(None, before)
    assert not is_news(before, told(CALM, WARMING, at=100 + 2 * PACE)), "the same words again are no news"
    assert not is_news(before, told(CALM, further, at=100 + SECOND))
    assert is_news(before, told(CALM, further, at=100 + PACE))
    assert is_news(before, told(CALM, replace(WARMING, verdict=Verdict.OK), at=101))
