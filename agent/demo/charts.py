"""Charts as SVG text: pure functions of values. Widths are in percent, so that letters keep their size on a phone.

Every text is escaped; every chart has a title and a description for those who do not see it. Colours are classes that
the page's style sheet gives meaning to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from agent.demo.axes import Axis, around, duration, seconds

TOP, PLOT, BOTTOM = 8, 190, 26
"""Heights of a chart's parts in pixels: air, curve, labels."""
LANE, LANES, NEAR = 23, 4, 0.075
"""Marks nearer to each other than this part of the width stand under one another, in so many lanes of this height."""
ROW = 44
WIDE = 1000
"""The units in which a curve is drawn across the width; the browser stretches them."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A share with its interval; `kind` is a class of the style sheet."""

    label: str
    share: float
    low: float
    high: float
    kind: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """A difference with its interval."""

    label: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in seconds, and what is said of it."""

    label: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Point:
    """A value at a place, with the interval around it if there is one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A place that is told by the number in it; `kind` is a class of the style sheet."""

    x: float
    number: int
    kind: str = ""


def element(name: str, *inside: str, **attributes: str | float) -> str:
    """An element of XML. Attributes are escaped, what is inside is not; `class_` is class, other underscores dashes."""
    words = "".join(f' {_name(key)}="{escape(_text(value))}"' for key, value in attributes.items())
    return f"<{name}{words}>{''.join(inside)}</{name}>"


def bars(title: str, description: str, rows: Sequence[Bar]) -> str:
    """Horizontal bars from 0 to 1 under their labels, each with the whisker of its interval."""
    parts = [part for place, bar in enumerate(rows) for part in _bar(bar, place * ROW)]
    return _svg(title, description, ROW * len(rows), parts)


def _bar(bar: Bar, y: float) -> Sequence[str]:
    middle = y + 30
    return (
        element("text", escape(bar.label), x=0, y=y + 15),
        element("text", f"{bar.share:.1%}", x="100%", y=y + 15, class_="end strong"),
        element("rect", x=0, y=y + 22, width="100%", height=16, rx=3, class_="rail"),
        element("rect", x=0, y=y + 22, width=_percent(bar.share), height=16, rx=3, class_=bar.kind),
        element("line", x1=_percent(bar.low), x2=_percent(bar.high), y1=middle, y2=middle, class_="whisker"),
        *(
            element("line", x1=_percent(end), x2=_percent(end), y1=middle - 4, y2=middle + 4, class_="whisker")
            for end in (bar.low, bar.high)
        ),
    )


def estimates(title: str, description: str, rows: Sequence[Estimate]) -> str:
    """Differences with their intervals on one axis around zero, each under its label."""
    axis = around([value for row in rows for value in (row.low, row.high)])
    height = ROW * len(rows)
    zero = _percent(axis.place(0.0))
    return _svg(
        title,
        description,
        height + BOTTOM,
        [
            _grid(axis, height),
            element("line", x1=zero, x2=zero, y1=0, y2=height, class_="zero"),
            *(_estimate(row, axis, place * ROW) for place, row in enumerate(rows)),
            _labels(axis, height),
        ],
    )


def _estimate(row: Estimate, axis: Axis, y: float) -> str:
    middle, low, high = y + 29, _percent(axis.place(row.low)), _percent(axis.place(row.high))
    return (
        element("text", escape(row.label), x=0, y=y + 15)
        + element("text", f"{row.value:+.3f}", x="100%", y=y + 15, class_="end strong")
        + element("line", x1=low, x2=high, y1=middle, y2=middle, class_="interval")
        + element("circle", cx=_percent(axis.place(row.value)), cy=middle, r=6, class_="after")
    )


def spans(title: str, description: str, rows: Sequence[Span]) -> str:
    """Stretches of time under one another, each with its label above."""
    end = max((span.end for span in rows), default=0.0)
    axis = seconds(0.0, end)
    height = 36 * len(rows)
    parts = [_grid(axis, height), *(_span(span, axis, place * 36) for place, span in enumerate(rows))]
    return _svg(title, description, height + BOTTOM, [*parts, _labels(axis, height)])


def _span(span: Span, axis: Axis, y: float) -> str:
    start, width = axis.place(span.start), axis.place(span.end) - axis.place(span.start)
    return (
        element("text", escape(span.label), x=0, y=y + 14)
        + element("text", duration(span.end - span.start), x="100%", y=y + 14, class_="end dim")
        + element(
            "rect", x=_percent(start), y=y + 20, width=_percent(max(width, 0.004)), height=8, rx=3, class_="after"
        )
    )


def curve(title: str, description: str, x: Axis, y: Axis, points: Sequence[Point], marks: Sequence[Mark] = ()) -> str:
    """A line over an axis, with the band of its intervals and numbered marks above."""
    above = lanes([x.place(mark.x) for mark in marks])
    top = TOP + LANE * (max(above, default=-1) + 1)
    bottom = top + PLOT
    drawing = element(
        "svg",
        *_band(points, x, y),
        element("polyline", points=_polyline([(p.x, p.y) for p in points], x, y), class_="line"),
        x=0, y=top, width="100%", height=PLOT, viewBox=f"0 0 {WIDE} {PLOT}", preserveAspectRatio="none",
    )  # fmt: skip
    parts = [
        *(_level(value, label, y, top) for value, label in y.ticks),
        drawing,
        *(_mark(mark, x, lane * LANE, bottom) for mark, lane in zip(marks, above, strict=True)),
        _labels(x, bottom),
    ]
    return _svg(title, description, bottom + BOTTOM, parts)


def lanes(places: Sequence[float]) -> list[int]:
    """In which lane each mark stands so that neighbours do not cover each other; `places` ascend from 0 to 1."""
    ends = [-NEAR] * LANES
    chosen: list[int] = []
    for place in places:
        free = [lane for lane in range(LANES) if place - ends[lane] >= NEAR]
        lane = free[0] if free else min(range(LANES), key=lambda each: ends[each])
        ends[lane] = place
        chosen.append(lane)
    return chosen


def _band(points: Sequence[Point], x: Axis, y: Axis) -> Sequence[str]:
    around = [(p.x, p.low, p.high) for p in points if p.low is not None and p.high is not None]
    if not around:
        return ()
    edge = [(at, high) for at, _, high in around] + [(at, low) for at, low, _ in reversed(around)]
    return (element("polygon", points=_polyline(edge, x, y), class_="band"),)


def _polyline(points: Sequence[tuple[float, float]], x: Axis, y: Axis) -> str:
    return " ".join(f"{x.place(a) * WIDE:.1f},{(1 - y.place(b)) * PLOT:.1f}" for a, b in points)


def _level(value: float, label: str, y: Axis, top: float) -> str:
    height = top + (1 - y.place(value)) * PLOT
    kind = "zero" if value == 0 and y.low < 0 else "grid"
    return element("line", x1=0, x2="100%", y1=height, y2=height, class_=kind) + element(
        "text", escape(label), x=0, y=height - 4, class_="dim small"
    )


def _mark(mark: Mark, x: Axis, top: float, bottom: float) -> str:
    at = _percent(x.place(mark.x))
    line = element("line", x1=at, x2=at, y1=top + 20, y2=bottom, class_="mark")
    circle = element("circle", cx=at, cy=top + 11, r=10, class_=f"dot {mark.kind}".strip())
    return line + circle + element("text", str(mark.number), x=at, y=top + 15, class_="number")


def _grid(x: Axis, height: float) -> str:
    return "".join(
        element("line", x1=_percent(x.place(value)), x2=_percent(x.place(value)), y1=0, y2=height, class_="grid")
        for value, _ in x.ticks
    )


def _labels(x: Axis, top: float) -> str:
    return "".join(
        element("text", escape(label), x=_percent(x.place(value)), y=top + 18, class_=f"dim small {_side(x, value)}")
        for value, label in x.ticks
    )


def _side(x: Axis, value: float) -> str:
    place = x.place(value)
    return "end" if place > 0.95 else "" if place < 0.05 else "middle"


def _svg(title: str, description: str, height: float, parts: Sequence[str]) -> str:
    name = "chart-" + "".join(char if char.isalnum() else "-" for char in title.lower())
    return element(
        "svg",
        element("title", escape(title), id=f"{name}-title"),
        element("desc", escape(description), id=f"{name}-desc"),
        *parts,
        xmlns="http://www.w3.org/2000/svg", role="img", width="100%", height=height,
        aria_labelledby=f"{name}-title {name}-desc",
    )  # fmt: skip


def _percent(share: float) -> str:
    return f"{100 * min(1.0, max(0.0, share)):.2f}%"


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _name(key: str) -> str:
    return "class" if key == "class_" else key.replace("_", "-")
