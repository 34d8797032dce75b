"""List and show reports on traffic, calibration and quality."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.api_client import connect, segment
from agent.cli.terminal import AsJson, minute, note, say, say_json, say_record, say_table
from core import config
from core.errors import BadRequest, NotFound
from core.reports import ReportKind
from core.types import Json, JsonObject, Role

app = typer.Typer(help=__doc__)
COLUMNS = ("kind", "when", "version", "says")
BAR = 30
"""Letters of a bar from 0 to 1."""


@app.callback()
def _options() -> None:
    """List and show reports on traffic, calibration and quality."""


@app.command("list")
def list_(
    version: Annotated[str | None, typer.Option("--version", help="Only those on this version.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the newest report of each kind on each version."""
    found = connect(config.caller(), Role.OPS).get("/api/reports", version=version)
    if as_json:
        say_json(found)
    else:
        say_table(COLUMNS, [_row(report) for report in _objects(found["data"])], whole=3)


@app.command()
def show(
    kind: Annotated[ReportKind, typer.Argument(help="traffic, calibration or quality.")],
    version: Annotated[str | None, typer.Option("--version", help="Of this version; otherwise the champion.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw calibration into this .svg or .png.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show one report, with a picture where people would rather look than read."""
    if plot and kind is not ReportKind.CALIBRATION:
        raise BadRequest(f"--plot draws a report on calibration; one on {kind} is shown in the terminal only.")
    api = connect(config.caller(), Role.OPS)
    chosen = version or api.get("/api/status").get("champion")
    if not isinstance(chosen, str):
        raise NotFound("There is no champion yet; name a version with --version.")
    report = api.get(f"/api/reports/{kind}/{segment(chosen)}")
    body = report["body"]
    if plot and isinstance(body, dict):
        from agent.cli import diagram

        diagram.write(body, f"Calibration of {chosen}", plot)
        note(f"hone: drawn into {plot}")
    if as_json:
        say_json(report)
    elif isinstance(body, dict):
        _say(f"{kind} of {chosen}, {minute(report['at'])}: {body.get('says', '')}", kind, body)


def _say(headline: str, kind: ReportKind, body: JsonObject) -> None:
    say(headline)
    say()
    for line in PICTURES[kind](body):
        say(line)
    say_record({name: value for name, value in body.items() if name not in DRAWN})


def _calibration(body: JsonObject) -> Iterator[str]:
    """Each bin of confidence with the share that was liked, and the band that chance allows."""
    bins = _objects(body.get("bins"))
    if not bins:
        return
    yield f"{'confidence':>12}  {'rated':>6}  {'liked':>6}   band: where it would be by chance, were it calibrated"
    for each in bins:
        liked, low, high = (_number(each.get(name)) for name in ("liked", "band_low", "band_high"))
        off = "" if low <= liked <= high else "  outside"
        yield (
            f"{_number(each['low']):>5.0%} -{_number(each['high']):>5.0%}  {each['n']!s:>6}  {liked:>6.1%}   "
            f"{bar(liked, low, high)}{off}"
        )
    yield ""


def _traffic(body: JsonObject) -> Iterator[str]:
    """The words that moved, before and now."""
    for term in _objects(body.get("terms")):
        before, now = _number(term.get("share_before")), _number(term.get("share_now"))
        yield f"{term['term']!s:<24} {before:>6.1%} -> {now:>6.1%}  {bar(now, before, before)}"
    if body.get("terms"):
        yield ""


def _quality(body: JsonObject) -> Iterator[str]:
    """Shares with their intervals, and what nobody can know beyond."""
    for name, words in (("up_per_ask", "up an ask"), ("down_per_ask", "down an ask"), ("ipw", "weighted")):
        found = body.get(name)
        if isinstance(found, Mapping) and found.get("value") is not None:
            value, low, high = (_number(found.get(key)) for key in ("value", "low", "high"))
            yield f"{words:<12} {value:>6.1%} ({low:.1%} to {high:.1%})  {bar(value, low, high)}"
    bounds = body.get("manski")
    if isinstance(bounds, Mapping):
        low, high = _number(bounds.get("low")), _number(bounds.get("high"))
        yield f"{'possible':<12} {low:.1%} to {high:.1%}, whatever those think who did not answer"
    yield ""


PICTURES: Mapping[ReportKind, Callable[[JsonObject], Iterator[str]]] = {
    ReportKind.CALIBRATION: _calibration,
    ReportKind.TRAFFIC: _traffic,
    ReportKind.QUALITY: _quality,
}
DRAWN = frozenset({"says", "bins", "curve", "terms", "up_per_ask", "down_per_ask", "ipw", "manski"})
"""What the picture tells."""


def bar(value: float, low: float, high: float) -> str:
    """A line from 0 to 1 in plain letters: the value as `o`, what lies between the bounds as `=`."""
    place, first, last = (min(BAR - 1, max(0, int(share * BAR))) for share in (value, low, high))
    letters = ["=" if first <= each <= last else "-" for each in range(BAR)]
    letters[place] = "o"
    return "|" + "".join(letters) + "|"


def _row(report: JsonObject) -> Sequence[str]:
    body = report["body"]
    says = str(body.get("says", "-")) if isinstance(body, dict) else "-"
    return str(report["kind"]), minute(report["at"]), str(report["version"]), says


def _objects(value: Json) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _number(value: Json) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
