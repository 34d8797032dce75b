"""What Prometheus reads from one gateway process; every label comes from a closed set.

Counters and histograms are fed by requests; the state of plan, ledger and engine is looked at when somebody reads.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from core.types import Arm
from core.writer import WriterStats
from serving.shadow import Result

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
NO_ARM = "none"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


@dataclass(frozen=True, slots=True)
class Condition:
    """How the gateway is at one moment."""

    ready: bool
    running: int
    revision: int
    ledger: WriterStats


class Metrics:
    """The metrics of one process; `look` tells its condition whenever it is asked."""

    def __init__(self, look: Callable[[], Condition]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_State(look))
        requests = self._counter("hone_requests", "Answered requests.", "route", "status", "arm")
        seconds = self._histogram("hone_request_seconds", "From a request to the end of its answer.", "route")
        first = self._histogram("hone_first_token_seconds", "From a request to the first token.", "arm")
        tokens = self._counter("hone_tokens", "Tokens of prompts and answers.", "kind")
        feedback = self._counter("hone_feedback", "Ratings that were stored.", "name", "value")
        # Finding a child by its labels costs more than counting.
        self._request = lru_cache(1024)(requests.labels)
        self._duration = lru_cache(128)(seconds.labels)
        self._opening = lru_cache(32)(first.labels)
        shadow = self._counter("hone_shadow", "Calls that a version in shadow was to answer too, by outcome.", "result")
        self._shadow = {result: shadow.labels(result) for result in Result}
        self._prompt, self._completion = tokens.labels("prompt"), tokens.labels("completion")
        self._feedback = feedback

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=SECONDS, registry=self._registry)

    def answered(self, route: str, status: int, arm: Arm | None, seconds: float) -> None:
        """A request was answered, by its route's path template."""
        self._request(route, status, arm or NO_ARM).inc()
        self._duration(route).observe(seconds)

    def began(self, arm: Arm, seconds: float) -> None:
        """The first token of a stream went out."""
        self._opening(arm).observe(seconds)

    def counted(self, prompt: int | None, completion: int | None) -> None:
        """Tokens of one answer."""
        self._prompt.inc(prompt or 0)
        self._completion.inc(completion or 0)

    def rated(self, name: str, value: str) -> None:
        """A rating was stored; `value` is its class, not its number."""
        self._feedback.labels(name, value).inc()

    def mirrored(self, result: Result) -> None:
        """A call that was to be mirrored was, or why not."""
        self._shadow[result].inc()

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self._registry)


class _State(Collector):
    """Turns the condition at the time of reading into metrics."""

    def __init__(self, look: Callable[[], Condition]) -> None:
        self._look = look

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        now = self._look()
        yield from _gauges(now)
        yield from _counters(now.ledger)


def _gauges(now: Condition) -> Iterator[Metric]:
    rows = (
        ("hone_ready", "1 when a chat is answered.", now.ready),
        ("hone_upstream_running", "Calls that wait for the engine or for the ledger.", now.running),
        ("hone_plan_revision", "Revision of the plan that this gateway assigns by.", now.revision),
        ("hone_ledger_queue", "Rows that wait for a commit.", now.ledger.queued),
        ("hone_ledger_held", "Rows that wait in memory because nothing else takes them.", now.ledger.held),
        ("hone_ledger_degraded", "1 while the database does not take rows.", now.ledger.degraded),
        ("hone_spool_bytes", "Bytes that wait in the local spool.", now.ledger.spool_bytes),
    )
    return (GaugeMetricFamily(name, text, value=float(value)) for name, text, value in rows)


def _counters(ledger: WriterStats) -> Iterator[Metric]:
    rows = CounterMetricFamily("hone_ledger_rows", "Rows by what became of them.", labels=["kept"])
    for kept in ("committed", "spooled", "replayed", "rejected", "refused"):
        rows.add_metric([kept], getattr(ledger, kept))
    yield rows
    yield CounterMetricFamily("hone_unlogged", "Rows that were at some time in memory alone.", value=ledger.unlogged)
    seconds = ledger.commit_seconds_sum
    text = "Duration of the ledger's commits."
    yield SummaryMetricFamily("hone_commit_seconds", text, count_value=ledger.commit_seconds_count, sum_value=seconds)
