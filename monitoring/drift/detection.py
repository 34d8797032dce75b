"""What a watch for change says: warming, like the reference, or an alarm. Pure; knows no stream and no statistic."""

from dataclasses import dataclass

from core.types import Verdict


@dataclass(frozen=True, slots=True)
class Finding:
    """What a watch says now. `guaranteed` is the run length that theory gives for the threshold without simulation."""

    verdict: Verdict
    statistic: float
    threshold: float
    guaranteed: float
    count: int
    says: str


def verdict(lacks: str, alarm: int | None) -> Verdict:
    """The verdict of a watch whose reference `lacks` something, or nothing."""
    if lacks:
        return Verdict.WARMING
    return Verdict.OK if alarm is None else Verdict.ALARM


def sentence(lacks: str, alarm: int | None, change: str) -> str:
    if lacks:
        return f"warming: {lacks} for the reference"
    return "like the reference" if alarm is None else change
