"""A reliability diagram as a file: what was liked over what confidence said, with the band that chance allows.

matplotlib is loaded by `write` alone and draws without a display, dark ink on white, so that it reads on any page.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import BadRequest
from core.types import Json, JsonObject

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".svg", ".png")
INK, BAND, LINE, EVEN = "#1f2933", "#7fb2e5", "#0b5cad", "#52606d"
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "hone", "font.size": 9.5, "axes.spines.top": False,
         "axes.spines.right": False, "text.color": INK, "axes.labelcolor": INK}  # fmt: skip


def write(report: JsonObject, title: str, file: Path) -> None:
    """The picture of a calibration report. Raises BadRequest where there is none yet, and for a file that cannot be."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    curve = report.get("curve")
    if not isinstance(curve, dict) or not curve.get("x"):
        raise BadRequest("This report has no curve yet: too few answers with a confidence were rated.")
    if file.suffix not in FORMATS:
        raise BadRequest(f"--plot writes {' or '.join(FORMATS)}, by the file's ending; {file.name} has neither.")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 5.2), layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        _draw(curve, report.get("bins"), axes)
        axes.set_title(title, loc="left", fontsize=10)
        try:
            figure.savefig(file, dpi=140, metadata={"Date": None} if file.suffix == ".svg" else None)
        except OSError as error:
            raise BadRequest(f"The plot {file} cannot be written: {error.strerror}.") from None


def _draw(curve: JsonObject, bins: Json, axes: "Axes") -> None:
    x, y, low, high = (_numbers(curve.get(name)) for name in ("x", "y", "low", "high"))
    axes.plot([0, 1], [0, 1], color=EVEN, linestyle="--", linewidth=1, label="means what it says")
    axes.fill_between(x, low, high, color=BAND, alpha=0.4, linewidth=0, label="by chance, were it so")
    axes.plot(x, y, color=LINE, linewidth=2, label="what was liked")
    groups = [each for each in bins if isinstance(each, dict)] if isinstance(bins, list) else []
    stated, liked = (_numbers([each.get(name) for each in groups]) for name in ("confidence", "liked"))
    axes.scatter(stated, liked, color=LINE, s=14, label="groups of as many rated answers each")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share of rated answers that are liked")
    axes.legend(frameon=False, loc="upper left")


def _numbers(values: Json) -> Sequence[float]:
    return [float(each) for each in values if isinstance(each, int | float)] if isinstance(values, list) else []
