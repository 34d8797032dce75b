"""The timeline of a demo: told once and in order in a pipe, all acts at a glance on a terminal."""

import re
from dataclasses import replace
from io import StringIO

import pytest
from demo_record import record
from rich.console import Console

from agent.demo.record import Act, Record, Scene
from agent.demo.telling import Telling
from agent.demo.timeline import PlainTimeline, drawing, lines


def seen(made: Record, width: int = 100) -> str:
    console = Console(width=width, record=True, file=StringIO())
    console.print(drawing(made))
    return console.export_text()


def in_training() -> Record:
    made = record()
    made.scenes = [*made.scenes[:4], Scene(Act.TRAINING, 79.0, None, "training, step 120 of 300, 31 s left")]
    made.seconds, made.done = 120.0, 0.4
    return made


def test_a_pipe_gets_each_line_once_in_the_order_of_time(capsys: pytest.CaptureFixture[str]) -> None:
    timeline, made = PlainTimeline(), record()
    whole = made.scenes[:]
    for count in range(1, len(whole) + 1):
        made.scenes = [*whole[: count - 1], replace(whole[count - 1], end=None)]
        timeline.show(made)
    made.scenes = whole
    timeline.show(made)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == len(set(told)) == 2 * len(Act) + len(made.moments)
    assert told[0] == "hone: Start ..."
    assert all(line.startswith("hone: ") and line.isascii() for line in told)


def test_the_lines_of_a_whole_demo_are_in_the_order_of_time() -> None:
    told = list(lines(record()))
    order = [told.index(f"{act} ...") for act in Act]
    assert order == sorted(order)
    assert told.index("The shift ...") < next(i for i, line in enumerate(told) if line.startswith("drift noticed"))


def test_a_terminal_shows_every_act_those_to_come_too() -> None:
    text = seen(in_training())
    assert [act for act in Act if not re.search(rf"^.  {re.escape(act)}", text, re.M)] == []
    assert "step 120 of 300" in text
    assert "4,400 served" in text
    assert "0 failed" in text


def test_an_act_that_goes_on_has_lasted_until_now() -> None:
    assert re.search(r"Training +41 s", seen(in_training()))


def test_what_is_said_stands_whole_on_a_narrow_terminal() -> None:
    text = re.sub(r"\s+", "", seen(in_training(), 50))
    assert "training,step120of300,31sleft" in text


def test_what_is_told_has_the_time_of_its_telling() -> None:
    times = iter([0.0, *(float(n) for n in range(1, 40))])
    made = Record("data", "rows.jsonl")
    telling = Telling(made, PlainTimeline(), lambda: next(times))
    telling.begin(Act.START)
    telling.say("loading", 0.5)
    assert made.done == 0.5
    telling.end("ready")
    assert (made.done, made.scenes[0].says) == (0.0, "ready")
    assert 0 < made.scenes[0].start < (made.scenes[0].end or 0) <= made.seconds
