"""The loop in sentences, from what the status says: each part when it is there, none when it is not."""

from typing import Any

import pytest

from agent.cli.story import sentences

CANDIDATE = {"id": "v1", "stage": "shadow", "waits_for": "12 of 50 pairs.", "evidence_void": None}
EXPERIMENT = {
    "id": "e1", "challenger": "v1", "share": 0.5, "metric": "thumbs", "estimate": 0.21,
    "interval": {"low": 0.08, "high": 0.34}, "outlook": "Decided with 351 subjects.",
}  # fmt: skip
RUN = {"id": "r1", "state": "running", "progress": {"stage": "training", "step": 3, "steps": 9}}
CHECKS = [
    {"kind": "drift", "stream": "confidence", "verdict": "ok"},
    {"kind": "drift", "stream": "length", "verdict": "alarm"},
    {"kind": "calibration", "stream": "thumbs", "verdict": "warming"},
]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, ["No version is installed yet."]),
        ({"champion": "v1", "previous": "v0"}, ["v1 is the champion; v0 before it stays loaded."]),
        (
            {"champion": "v1", "holdback": {"version": "v0", "share": 0.05}},
            ["v1 is the champion.", "5% of the subjects stay on v0, to compare."],
        ),
        ({"candidate": CANDIDATE}, ["Candidate v1 is at shadow and waits for 12 of 50 pairs."]),
        (
            {"experiment": EXPERIMENT},
            [
                "A/B e1: 50% of the subjects meet v1, thumbs +0.210 (+0.080 to +0.340).",
                "Decided with 351 subjects.",
            ],
        ),
        ({"experiment": {**EXPERIMENT, "estimate": None, "outlook": None}}, ["A/B e1: 50% of the subjects meet v1."]),
        ({"run": RUN}, ["Run r1 is running: training, step 3 of 9."]),
        ({"next_run": {"says": "drift seen: 37 of 120"}}, ["Next run: drift seen: 37 of 120."]),
        (
            {"checks": CHECKS},
            ["Last checks: alarm: drift of length; warming: calibration of thumbs; ok: drift of confidence."],
        ),
    ],
)  # fmt: skip
def test_each_part_is_told_in_a_sentence(status: dict[str, Any], expected: list[str]) -> None:
    told = list(sentences({"champion": None, **status}))
    assert [line for line in told if line in expected] == expected
    assert len(told) == len(set(told))


def test_what_is_not_there_is_not_told() -> None:
    status = {name: None for name in ("run", "next_run", "experiment", "holdback", "candidate")}
    assert list(sentences({**status, "champion": "v0", "triggers": [], "checks": []})) == [
        "v0 is the champion.",
        "No candidate is on its way.",
    ]
