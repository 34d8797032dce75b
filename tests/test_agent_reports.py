"""/api/reports and `hone reports`: what monitoring published, as it published it."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from fixtures_command import hone as command
from fixtures_gateway import CHALLENGER, CHAMPION, Gateway, gateway
from fixtures_loop import ask, chat
from sqlalchemy import insert

from agent.cli.reports import bar
from core import reports, states
from core.reports import ReportKind
from core.schema import scores
from core.types import JsonObject, Role, Score

CALIBRATION: JsonObject = {"says": "confidence agrees with 240 ratings", "n": 240, "label": "P(thumbs up | rated)"}
CONDITION: JsonObject = {
    "traffic": {"state": "changed", "since": 5, "streams": ["distance"], "says": "distance: higher"},
    "answers": {"state": "ok", "since": None, "streams": [], "says": ""},
    "action": "ask for labels",
    "reason": "ratings have not fallen",
}


@pytest.fixture(scope="module")
def hone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("reports")) as running:
        with running.parts.store.write() as conn:
            reports.put(conn, ReportKind.CALIBRATION, CHAMPION, CALIBRATION, 7)
            reports.put(conn, ReportKind.TRAFFIC, CHAMPION, {"says": "nothing moved"}, 9)
            reports.put(conn, ReportKind.QUALITY, CHALLENGER, {"says": "12 asked"}, 8)
            states.put(conn, reports.CONDITION, CONDITION, 9)
        yield running


def listed(hone: Gateway, query: str = "") -> list[dict[str, Any]]:
    return list(ask(hone, "GET", f"/api/reports{query}").json()["data"])


def test_reports_come_newest_first(hone: Gateway) -> None:
    assert [(r["kind"], r["version"], r["at"]) for r in listed(hone)] == [
        ("traffic", CHAMPION, 9),
        ("quality", CHALLENGER, 8),
        ("calibration", CHAMPION, 7),
    ]


def test_reports_are_found_by_kind_and_by_version(hone: Gateway) -> None:
    assert [r["kind"] for r in listed(hone, f"?version={CHAMPION}")] == ["traffic", "calibration"]
    assert [r["version"] for r in listed(hone, "?kind=quality")] == [CHALLENGER]


def test_a_report_is_shown_as_it_was_published(hone: Gateway) -> None:
    found = ask(hone, "GET", f"/api/reports/calibration/{CHAMPION}").json()
    assert found == {"kind": "calibration", "version": CHAMPION, "at": 7, "body": CALIBRATION}


def test_what_nobody_has_looked_at_is_no_empty_report(hone: Gateway) -> None:
    answer = ask(hone, "GET", f"/api/reports/traffic/{CHALLENGER}")
    assert answer.status_code == 404
    assert "Nobody has looked" in answer.json()["error"]["message"]


def test_a_kind_that_does_not_exist_is_refused(hone: Gateway) -> None:
    assert ask(hone, "GET", "/api/reports?kind=weather").json()["error"]["param"] == "kind"


def test_reports_are_for_operators(hone: Gateway) -> None:
    assert [ask(hone, "GET", "/api/reports", role=role).status_code for role in Role] == [403, 403, 200]


def test_the_status_tells_changed_traffic_and_worse_answers_apart(hone: Gateway) -> None:
    assert ask(hone, "GET", "/api/status").json()["condition"] == CONDITION


def test_an_interaction_shows_what_was_measured_of_it(hone: Gateway) -> None:
    answered = chat(hone)
    score = Score("s1", 5, answered.id, CHAMPION, "likelihood", "logprob", -0.25)
    with hone.parts.store.write() as conn:
        conn.execute(insert(scores).values(**asdict(score)))
    shown = ask(hone, "GET", f"/api/interactions/{answered.id}").json()["scores"]
    assert shown == [{"name": "logprob", "value": -0.25, "source": "likelihood", "version": CHAMPION, "created_at": 5}]


@pytest.mark.parametrize("value", [-0.5, 0.0, 0.5, 1.0, 1.5])
def test_a_bar_holds_its_width_whatever_the_value(value: float) -> None:
    drawn = bar(value, 0.2, 0.4)
    assert (len(drawn), drawn.count("o")) == (32, 1)
    assert set(drawn) <= set("|-=o")


def test_the_command_shows_a_report_with_its_picture(hone: Gateway) -> None:
    body: JsonObject = {
        "says": "confidence is off",
        "n": 200,
        "bins": [
            {"low": 0.5, "high": 0.75, "n": 100, "confidence": 0.6, "liked": 0.2, "band_low": 0.5, "band_high": 0.7},
            {"low": 0.75, "high": 1.0, "n": 100, "confidence": 0.9, "liked": 0.9, "band_low": 0.8, "band_high": 1.0},
        ],
    }
    with hone.parts.store.write() as conn:
        reports.put(conn, ReportKind.CALIBRATION, CHALLENGER, body, 11)
    environ = {"HONE_URL": hone.url, "HONE_KEY": hone.keys[Role.OPS]}
    shown = command("reports", "show", "calibration", "--version", CHALLENGER, **environ)
    assert shown.returncode == 0, shown.stderr
    off, right = (line for line in shown.stdout.splitlines() if "100" in line)
    assert off.endswith("outside")
    assert not right.endswith("outside")
    table = command("reports", "list", **environ).stdout.splitlines()
    assert table[0].split() == ["KIND", "WHEN", "VERSION", "SAYS"]
    assert any("confidence is off" in line for line in table)


def test_calibration_is_drawn_into_a_file_and_nothing_else_is(hone: Gateway, tmp_path: Path) -> None:
    line = [0.1, 0.5, 0.9]
    bins = [{"low": low, "high": low + 0.5, "n": 60, "confidence": low + 0.2, "liked": 0.5} for low in (0.0, 0.5)]
    curve = {"x": line, "y": line, "low": [0.0, 0.4, 0.8], "high": [0.2, 0.6, 1.0]}
    with hone.parts.store.write() as conn:
        reports.put(conn, ReportKind.CALIBRATION, CHALLENGER, {"says": "", "bins": bins, "curve": curve}, 12)
    environ = {"HONE_URL": hone.url, "HONE_KEY": hone.keys[Role.OPS]}
    file = tmp_path / "diagram.svg"
    show = ("reports", "show", "calibration", "--version", CHALLENGER)
    assert command(*show, "--plot", str(file), **environ).returncode == 0
    assert ElementTree.parse(file).getroot().tag.endswith("svg")
    assert "what was liked" in file.read_text()
    for wrong, says in ((tmp_path / "no.txt", "has neither"), (tmp_path / "no" / "x.svg", "cannot be written")):
        refused = command(*show, "--plot", str(wrong), **environ)
        assert (refused.returncode, says in refused.stderr) == (2, True)
    other = command("reports", "show", "quality", "--plot", str(file), **environ)
    assert "in the terminal only" in other.stderr


def test_the_command_says_where_nobody_has_looked(hone: Gateway) -> None:
    environ = {"HONE_URL": hone.url, "HONE_KEY": hone.keys[Role.OPS]}
    shown = command("reports", "show", "traffic", "--version", CHALLENGER, **environ)
    assert shown.returncode == 1
    assert "Nobody has looked" in shown.stderr
