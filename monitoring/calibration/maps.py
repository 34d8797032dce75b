"""The map of each version as a document in the ledger, and the stream of confidences as it comes out of the map.

Reads and writes rows; how a map is made is not known here.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from core import states
from core.reports import MAP
from core.types import Version
from monitoring.calibration import recalibration
from monitoring.calibration.recalibration import Map
from monitoring.drift import streams
from monitoring.drift.arrivals import Arrivals
from monitoring.drift.streams import Observation


def read(conn: Connection, version: Version, source: str) -> Map | None:
    """The map of a version, None while there is none for confidences of this source."""
    state = states.read(conn, f"{MAP}/{version}")
    chart = recalibration.map_of(state.body) if state else None
    return chart if chart and chart.source == source else None


def put(conn: Connection, version: Version, chart: Map) -> None:
    """Keep a map in the place of the one before."""
    states.put(conn, f"{MAP}/{version}", recalibration.to_json(chart), chart.fitted_at)


def confidences(
    conn: Connection, champion: Version, arrivals: Arrivals, metric: str, name: str
) -> Sequence[Observation]:
    """`streams.confidences` of a source, each through the champion's map.

    Only ratings after the map was made can test it: the others, and all while there is no map, have no confidence.
    """
    chart = read(conn, champion, name)
    return [_mapped(each, chart) for each in streams.confidences(conn, champion, arrivals, metric, name)]


def _mapped(observation: Observation, chart: Map | None) -> Observation:
    stated = observation.confidence
    if chart is None or stated is None or observation.at <= chart.fitted_at:
        return replace(observation, confidence=None)
    return replace(observation, confidence=float(recalibration.apply(chart.form, stated)))
