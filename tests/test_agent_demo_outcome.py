"""What a demo came to: the JSON that programs rely on, and a summary for people."""

from pathlib import Path

from demo_record import record

from agent.demo import outcome
from agent.demo.record import Measured, Record, Share

REPORT = Path("/tmp/demo/data/demo.html")


def test_the_json_has_the_promised_fields() -> None:
    result = outcome.to_json(record(), REPORT)
    assert result["phases"] == {
        "ordinary": {"before": 230 / 231, "after": 229 / 231, "n": 231},
        "shifted": {"before": 0.0, "after": 144 / 149, "n": 149},
    }
    promised = {"failed_requests": 0, "promoted": True, "promotion_seconds": 0.62, "rollback_seconds": 0.58}
    promised |= {"seconds": 314.0, "report": str(REPORT), "data": "/tmp/demo/data"}
    assert {name: result[name] for name in promised} == promised


def test_what_was_not_measured_is_null_and_never_a_number() -> None:
    made = Record("/tmp/demo/data", "rows.jsonl", ending="the gate said no")
    made.measured = [Measured("known", Share(0, 0)), Measured("new", Share(4, 1))]
    result = outcome.to_json(made, REPORT)
    assert result["phases"] == {
        "known": {"before": None, "after": None, "n": 0},
        "new": {"before": 0.25, "after": None, "n": 4},
    }
    assert (result["promoted"], result["promotion_seconds"], result["ending"]) == (False, None, "the gate said no")


def test_people_are_told_what_changed_and_how_to_go_on() -> None:
    text = "\n".join(outcome.lines(record(), REPORT))
    for words in ("0.0% -> 96.6% right of 149", "promoted     hone-tiny-7f31c2a9 in 0.62 s", "0 failed", str(REPORT)):
        assert words in text
    assert "HONE_DATA=/tmp/demo/data hone up" in text
    assert "not promoted the A/B test" in "\n".join(outcome.lines(record(promoted=False), REPORT))
