"""What a demo came to: as the JSON that programs rely on, and as lines for people. Pure."""

from collections.abc import Iterator
from pathlib import Path

from agent.cli.terminal import span
from agent.demo.record import Measured, Record, Share
from core.types import JsonObject


def to_json(record: Record, report: Path) -> JsonObject:
    """The fields that are promised, and a few more."""
    return {
        "phases": {measured.phase: _phase(measured) for measured in record.measured},
        "failed_requests": record.failed,
        "promoted": record.promoted,
        "promotion_seconds": _rounded(record.promotion_seconds),
        "rollback_seconds": _rounded(record.rollback_seconds),
        "seconds": round(record.seconds, 1),
        "report": str(report),
        "data": record.data,
        "champion": record.champion or None,
        "asked": record.asked,
        "ending": record.ending or None,
    }


def lines(record: Record, report: Path) -> Iterator[str]:
    """A summary for people."""
    for measured in record.measured:
        before, after = measured.before, measured.after or Share(0, 0)
        yield f"{measured.phase:<12} {before} -> {after} right of {before.n} held-back questions"
    if record.promoted:
        yield f"promoted     {record.champion} in {_seconds(record.promotion_seconds)}"
        yield f"rolled back  in {_seconds(record.rollback_seconds)}, and forward again"
    else:
        yield f"not promoted {record.ending}"
    yield f"requests     {record.asked:,} from customers, {record.failed} failed"
    yield f"took         {span(record.seconds)}"
    yield f"report       {report}"
    yield f"go on with   HONE_DATA={record.data} hone up"


def _phase(measured: Measured) -> JsonObject:
    after = measured.after
    return {"before": measured.before.rate, "after": after.rate if after else None, "n": measured.before.n}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f} s"
