"""Charts: what is drawn lies where the values say, every word is escaped, and those who do not see it are told."""

import re
from xml.etree import ElementTree

import pytest

from agent.demo import axes, charts
from agent.demo.axes import Axis
from agent.demo.charts import Bar, Estimate, Mark, Point, Span

SVG = "{http://www.w3.org/2000/svg}"
X, Y = Axis(0.0, 10.0, [(0.0, "0"), (10.0, "10")]), Axis(0.0, 1.0, [(0.0, "0%"), (1.0, "100%")])
NASTY = '<script>alert("1")</script> & co'


def drawn(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


def places(text: str) -> list[tuple[float, float]]:
    points = re.search(r'<polyline points="([^"]*)"', text)
    assert points
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in points[1].split())]


def test_a_bar_is_as_long_as_its_share_and_its_whisker_as_its_interval() -> None:
    svg = drawn(charts.bars("t", "d", [Bar("ordinary", 0.25, 0.2, 0.31, "after")]))
    widths = {rect.get("class"): rect.get("width") for rect in svg.iter(f"{SVG}rect")}
    assert widths == {"rail": "100%", "after": "25.00%"}
    ends = [(line.get("x1"), line.get("x2")) for line in svg.iter(f"{SVG}line")]
    assert ends == [("20.00%", "31.00%"), ("20.00%", "20.00%"), ("31.00%", "31.00%")]


def test_an_estimate_lies_on_its_interval_on_an_axis_with_zero() -> None:
    svg = drawn(charts.estimates("t", "d", [Estimate("A/B", 0.3, -0.1, 0.5), Estimate("shadow", 0.0, 0.0, 0.1)]))
    lines = [line for line in svg.iter(f"{SVG}line") if line.get("class") == "interval"]
    assert [(line.get("x1"), line.get("x2")) for line in lines] == [("0.00%", "100.00%"), ("16.67%", "33.33%")]
    assert [circle.get("cx") for circle in svg.iter(f"{SVG}circle")] == ["66.67%", "16.67%"]


def test_a_curve_goes_through_its_points() -> None:
    text = charts.curve("t", "d", X, Y, [Point(0, 0), Point(5, 0.5), Point(10, 1)])
    assert places(text) == [(0.0, charts.PLOT), (500.0, charts.PLOT / 2), (1000.0, 0.0)]


def test_a_band_goes_along_the_high_ends_and_back_along_the_low_ones() -> None:
    text = charts.curve("t", "d", X, Y, [Point(0, 0.5, 0.25, 0.75), Point(10, 0.5, 0.5, 1.0)])
    band = re.search(r'<polygon points="([^"]*)"', text)
    assert band
    assert band[1] == "0.0,47.5 1000.0,0.0 1000.0,95.0 0.0,142.5"


def test_what_lies_outside_of_an_axis_is_drawn_at_its_end() -> None:
    assert places(charts.curve("t", "d", X, Y, [Point(-4, -1), Point(40, 7)])) == [(0.0, charts.PLOT), (1000.0, 0.0)]


def test_every_chart_says_what_it_shows_and_is_well_formed() -> None:
    made = [
        charts.bars(NASTY, NASTY, [Bar(NASTY, 0.5, 0.4, 0.6, "before")]),
        charts.estimates(NASTY, NASTY, [Estimate(NASTY, 0.1, -0.2, 0.3)]),
        charts.spans(NASTY, NASTY, [Span(NASTY, 0, 5)]),
        charts.curve(NASTY, NASTY, X, Axis(0, 1, [(0.5, NASTY)]), [Point(1, 1), Point(2, 0)], [Mark(3, 1, NASTY)]),
    ]
    for text in made:
        svg = drawn(text)
        assert svg.get("role") == "img"
        assert (svg.findtext(f"{SVG}title"), svg.findtext(f"{SVG}desc")) == (NASTY, NASTY)
        assert svg.get("aria-labelledby") == " ".join(str(each.get("id")) for each in svg[:2])
        assert "<script" not in text


def test_marks_that_are_near_each_other_stand_in_different_lanes() -> None:
    assert charts.lanes([0.1, 0.5, 0.52, 0.54, 0.9]) == [0, 0, 1, 2, 0]
    crowded = charts.lanes([0.5 + n / 1000 for n in range(9)])
    assert set(crowded) == set(range(charts.LANES))


@pytest.mark.parametrize("end", [0.0, 3.0, 59.0, 314.0, 720.0, 90_000.0])
def test_an_axis_of_time_has_a_handful_of_labels_inside_of_it(end: float) -> None:
    axis = axes.seconds(0.0, end)
    assert 1 <= len(axis.ticks) <= 26
    assert all(0.0 <= value <= end for value, _ in axis.ticks)
    if 1 < end < 3600:
        assert 2 <= len(axis.ticks) <= 6


@pytest.mark.parametrize("values", [[0.33, -0.04, 0.9], [2.35, 0.02], [-0.3, -0.1], [0.0], [1234.0]])
def test_an_axis_around_values_holds_all_of_them_and_zero(values: list[float]) -> None:
    axis = axes.around(values)
    assert axis.low <= min(0.0, *values) <= max(0.0, *values) <= axis.high
    assert 2 <= len(axis.ticks) <= 9
    assert any(abs(value) < 1e-9 for value, _ in axis.ticks)


def test_the_same_value_everywhere_is_drawn_without_a_division_by_nothing() -> None:
    flat = Axis(1.0, 1.0, [])
    assert places(charts.curve("t", "d", flat, flat, [Point(1, 1), Point(1, 1)])) == [(0.0, charts.PLOT)] * 2


@pytest.mark.parametrize(
    ("length", "words"), [(0.58, "0.6 s"), (9, "9 s"), (59.6, "1 min"), (314, "5 min 14 s"), (120, "2 min")]
)
def test_a_stretch_of_time_is_told_in_few_letters(length: float, words: str) -> None:
    assert axes.duration(length) == words
