"""A report as a picture in a file: panels side by side, what Hone does in blue, rules of thumb in orange.

White ground and dark ink, so that it reads on a light page as on a dark one. matplotlib is loaded by `write` alone and
draws without a display.
"""

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import BadRequest
from monitoring.lab.figures import Curve, Figure, Judged, Panel, Report
from monitoring.lab.picture import written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".svg", ".png")
DASHES = (0, (4, 3))
FEW = 8
PAD = 0.1
"""Inches around each part."""
INK, GRID, STATED = "#1f2933", "#d5dbe1", "#52606d"
OURS = ("#0b5cad", "#2a9d8f", "#6a4c93", "#1d7f3f", "#7fb2e5")
THEIRS = ("#d9730d", "#b23a48", "#e0a458", "#8a5a44")
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "hone",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": STATED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


def check(file: Path) -> None:
    """Raises BadRequest for a file that could not be written, before anybody waits for its content."""
    if file.suffix not in FORMATS:
        raise BadRequest(f"--plot writes {' or '.join(FORMATS)}, by the file's ending; {file.name} has neither.")
    if not file.parent.is_dir():
        raise BadRequest(f"The folder {file.parent} for --plot does not exist; create it first.")


def write(report: Report, file: Path, panel: int = 0) -> None:
    """The report's panels (all, or only one, counted from 1) as SVG or PNG; the same report gives the same bytes.

    Raises BadRequest for a file that cannot be written and a panel that is not there.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    check(file)
    if panel > len(report.panels):
        raise BadRequest(f"--panel {panel}: the plot of {report.command} has {len(report.panels)} parts.")
    panels = report.panels[panel - 1 : panel] if panel else report.panels
    with matplotlib.rc_context(STYLE):
        widths = [_width(each) for each in panels]
        tallest = max(_height(report, each) for each in panels)
        canvas = Canvas(
            figsize=(sum(widths), tallest), layout=ConstrainedLayoutEngine(w_pad=PAD, h_pad=PAD), facecolor="white"
        )
        FigureCanvasAgg(canvas)
        axes = canvas.subplots(1, len(widths), squeeze=False, gridspec_kw={"width_ratios": widths})[0]
        for each, place in zip(panels, axes, strict=True):
            _draw(report, each, place)
        metadata = {"Date": None, "Creator": None} if file.suffix == ".svg" else {"Software": None}
        try:
            canvas.savefig(file, dpi=140, metadata=metadata)
        except OSError as error:
            raise BadRequest(f"The plot {file} cannot be written: {error.strerror}.") from None


def _width(panel: Panel) -> float:
    return 5.0 if panel.curves else 6.4


def _height(report: Report, panel: Panel) -> float:
    rows = sum(len(report.of(group)) + 1 for group in panel.groups)
    return max(3.8, 0.9 + 0.24 * rows)


def _draw(report: Report, panel: Panel, axes: "Axes") -> None:
    axes.set_title(panel.title)
    axes.grid(True, color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    dashes = f" (dashes: {panel.level_name})" if panel.groups and panel.level is not None else ""
    axes.set_xlabel(panel.x + dashes)
    if panel.curves:
        _curves(panel, axes)
    else:
        _dots(report, panel, axes)


def _curves(panel: Panel, axes: "Axes") -> None:
    axes.set_ylabel(panel.y)
    ours, theirs = iter(OURS * 3), iter(THEIRS * 3)
    for curve in panel.curves:
        colour = STATED if curve.stated else next(theirs) if curve.rule_of_thumb else next(ours)
        _curve(curve, colour, axes)
    if panel.level is not None:
        axes.axhline(panel.level, color=STATED, linestyle=DASHES, linewidth=1.2, label=panel.level_name)
    if panel.logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        _tick(panel, axes)
    if panel.shares:
        axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2 if len(panel.curves) > 2 else 1)


def _tick(panel: Panel, axes: "Axes") -> None:
    """Where a curve has few places, each is named; powers of ten say little of 100 to 5,000."""
    places = panel.curves[0].x
    if len(places) <= FEW:
        axes.set_xticks(places)
        axes.set_xticks([], minor=True)


def _curve(curve: Curve, colour: str, axes: "Axes") -> None:
    style = DASHES if curve.stated else "--" if curve.rule_of_thumb else "-"
    axes.plot(curve.x, curve.y, linestyle=style, color=colour, linewidth=1.2 if curve.stated else 1.8, label=curve.name)
    if len(curve.low):
        axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)


def _dots(report: Report, panel: Panel, axes: "Axes") -> None:
    """A row for each figure, groups apart from one another, the first on top."""
    place, places, names = 0.0, [], []
    for group in panel.groups:
        place -= 0.55
        heading = axes.text(0.015, place + 0.1, group, transform=axes.get_yaxis_transform(), weight="bold", size=8.5)
        heading.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1.5})
        for figure in report.of(group):
            place -= 1
            _dot(figure, place, axes)
            places.append(place)
            names.append(figure.name)
        place -= 0.5
    axes.set_yticks(places, names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(place - 0.1, 0.2)
    axes.grid(False, axis="y")
    if panel.level is not None:
        axes.axvline(panel.level, color=STATED, linestyle=DASHES, linewidth=1.2)
    if panel.logarithmic:
        axes.set_xscale("log")
    if panel.shares:
        axes.xaxis.set_major_formatter("{x:.0%}")
        axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))


def _dot(figure: Figure, place: float, axes: "Axes") -> None:
    colour = THEIRS[0] if figure.rule_of_thumb else THEIRS[1] if figure.judged is Judged.BROKEN else OURS[0]
    ends, value = figure.interval, figure.value
    if ends and isfinite(ends.high):
        axes.plot([ends.low, ends.high], [place, place], color=colour, linewidth=2.2, alpha=0.45)
    if value is None:
        return
    axes.plot([value], [place], "D" if figure.rule_of_thumb else "o", color=colour, markersize=5)
    right = max(value, ends.high) if ends and isfinite(ends.high) else value
    axes.annotate(written(value, figure.unit), (right, place), (7, 0), textcoords="offset points", va="center", size=8)
