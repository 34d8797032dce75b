"""What the lab shows: figures with their verdicts, bars and curves for a person, plain lines elsewhere, progress."""

import io
import math

import pytest
from fixtures_command import at_terminal, environment
from rich.console import Console

from core.stats import Interval
from monitoring.lab import figures, picture
from monitoring.lab.figures import Curve, Figure, Judged, Panel, Report, Unit
from monitoring.lab.progress import Lines

RATES = (
    Figure("false alarms", "ours", 0.02, interval=Interval(0.01, 0.04), of=500, at_most=0.05),
    Figure("false alarms", "theirs", 0.42, interval=Interval(0.3, 0.5), of=500, at_most=0.05, rule_of_thumb=True),
)
LENGTH = Figure("length", "a stream", 12_345.6, Unit.COUNT, note="of two days")
REPORT = Report(
    "aa",
    "How often?",
    (*RATES, LENGTH),
    (Panel("Soon", "turns", curves=(Curve("rising", (1, 2, 3), (0.0, 0.5, 1.0)),)),),
    ("So it is.",),
    {},
    {},
)


def drawn(width: int, encoding: str = "utf-8") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    picture.draw(REPORT, Console(file=file, width=width, force_terminal=True, color_system=None, highlight=False))
    file.seek(0)
    return file.read()


def test_plain_lines_hold_every_figure_once_and_no_drawing() -> None:
    assert list(picture.lines(REPORT)) == [
        "How often?",
        "",
        "false alarms  value  interval        stated        verdict",
        "ours          2.0%   1.0% to 4.0%    at most 5.0%  kept",
        "theirs        42.0%  30.0% to 50.0%  at most 5.0%  NOT KEPT",
        "",
        "length    value",
        "a stream  12,346  of two days",
        "",
        picture.INTERVALS,
        "So it is.",
    ]


def test_a_person_sees_bars_and_a_curve() -> None:
    seen = drawn(120)
    assert picture.bar(0.42) in seen
    assert picture.bar(0.42).count(chr(0x2588)) == 8
    assert "".join(map(chr, (0x2581, 0x2585, 0x2588))) in seen
    assert "NOT KEPT" in seen


def test_a_narrow_terminal_gets_no_bar_that_would_be_cut_off() -> None:
    assert chr(0x2588) * 8 not in drawn(70)
    assert all(len(line) <= 70 for line in drawn(70).splitlines())


def test_a_terminal_without_such_characters_gets_others() -> None:
    seen = drawn(120, "ascii")
    assert seen.isascii()
    assert "########" in seen


@pytest.mark.parametrize(
    ("low", "high", "judged"),
    [(0.01, 0.05, Judged.KEPT), (0.01, 0.06, Judged.COMPATIBLE), (0.051, 0.06, Judged.BROKEN)],
)
def test_a_rate_is_judged_by_its_interval(low: float, high: float, judged: Judged) -> None:
    assert Figure("g", "n", 0.05, interval=Interval(low, high), at_most=0.05).judged is judged
    assert Figure("g", "n", -0.05, interval=Interval(-high, -low), at_least=-0.05).judged is judged
    assert Figure("g", "n", 0.05, interval=Interval(low, high)).judged is None


def test_a_run_length_without_an_alarm_is_at_least_what_its_interval_says() -> None:
    quiet = figures.run_length("g", "n", 0, 100_000, at_least=10_000)
    assert quiet.value is None
    assert quiet.interval and quiet.interval.high == math.inf
    # No alarm came though five were to be expected: chance does that in one case of e^-5.
    assert figures.run_length("g", "n", 0, 50_000, at_least=10_000).judged is Judged.COMPATIBLE
    assert quiet.judged is Judged.KEPT
    assert figures.run_length("g", "n", 40, 100_000, at_least=10_000).judged is Judged.BROKEN


def test_half_not_found_has_no_median() -> None:
    assert figures.median("g", "n", [5, 7, -1], 100).value == 7
    lost = figures.median("g", "n", [5, -1, -1], 100)
    assert lost.value is None
    assert picture.cells(lost)[1] == "33% found within 100"


def test_progress_is_silent_while_it_is_quick_and_then_says_so_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = iter([0.0, 1.0, 2.5, 2.5, 4.0, 8.0, 8.0])
    lines = Lines("aa", lambda: next(seconds))
    for part in (0.1, 0.3, 0.4, 0.8):
        lines.step("world", part)
    assert capsys.readouterr().err == "hone: lab aa: 30% done; world\nhone: lab aa: 80% done; world\n"


@pytest.mark.parametrize(("colour", "bars"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_at_a_terminal_there_is_a_picture_unless_colours_are_declined(colour: dict[str, str], bars: bool) -> None:
    environ = environment(TERM="xterm-256color", COLUMNS="120", **colour)
    arguments = ("lab", "calibration", "--replicates", "20", "--turns", "300")
    with at_terminal(*arguments, environ=environ) as terminal:
        terminal.expect("of the calibrated runs of 200", 30)
        assert terminal.status() == 0
        assert (chr(0x2588) in terminal.seen) == bars
