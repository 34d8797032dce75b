"""What monitoring last found out about a version, published as documents: its traffic, its calibration, its quality.

    report/KIND/VERSION, and `condition`: how traffic and answers are, over all streams

The one who looks writes them, others read them. What the figures mean is said in each document.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection

from core import states
from core.types import JsonObject, Version

CONDITION = "condition"
MAP = "map"
"""Prefix of a version's map from raw confidence to what it has proved to mean."""


class ReportKind(StrEnum):
    """What a report is about."""

    TRAFFIC = "traffic"
    CALIBRATION = "calibration"
    QUALITY = "quality"


@dataclass(frozen=True, slots=True)
class Report:
    """The newest report of a kind on a version; `at` in microseconds."""

    kind: ReportKind
    version: Version
    at: int
    body: JsonObject


def name(kind: ReportKind, version: Version) -> str:
    """Under which name a report is kept."""
    return f"report/{kind}/{version}"


def put(conn: Connection, kind: ReportKind, version: Version, body: JsonObject, at: int) -> None:
    """Publish a report in the place of the one before."""
    states.put(conn, name(kind, version), body, at)


def find(conn: Connection, kind: ReportKind, version: Version) -> Report | None:
    """None where nobody has looked yet."""
    found = states.read(conn, name(kind, version))
    return Report(kind, version, found.updated_at, found.body) if found else None


def newest(conn: Connection, version: Version | None = None) -> Sequence[Report]:
    """All reports, of one version or of all, the newest first."""
    found = [_report(key, state) for key, state in states.under(conn, "report/").items()]
    wanted = [report for report in found if version is None or report.version == version]
    return sorted(wanted, key=lambda report: (-report.at, report.kind, report.version))


def condition(conn: Connection) -> JsonObject | None:
    """How traffic and answers are; None before the first look."""
    found = states.read(conn, CONDITION)
    return found.body if found else None


def confidence_map(conn: Connection, version: Version) -> Mapping[str, object] | None:
    """What a version's raw confidence has proved to mean; None while there is too little to tell."""
    found = states.read(conn, f"{MAP}/{version}")
    return found.body if found else None


def _report(key: str, state: states.State) -> Report:
    _, kind, version = key.split("/", 2)
    return Report(ReportKind(kind), Version(version), state.updated_at, state.body)
