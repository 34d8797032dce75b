"""What may be said of an answer: the request to POST /v1/feedback, held against the names that the settings declare.

Pure. Knows the settings, not who speaks nor of what.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from agent.messages import Wire
from core import config
from core.errors import BadRequest
from core.types import Feedback

Word = Annotated[str, Field(min_length=1, max_length=200)]
UP, DOWN, BETWEEN = "up", "down", "between"


class FeedbackRequest(Wire):
    """One judgement of one answer."""

    response_id: str = Field(min_length=1, max_length=64)
    name: str = Field(max_length=64)
    value: bool | float | str
    comment: str | None = None
    reasons: Annotated[list[Word], Field(max_length=16)] | None = None
    correction: str | None = None
    tags: Annotated[dict[Word, str | float | bool], Field(max_length=16)] | None = None

    def texts(self) -> Mapping[str, object]:
        """What it says beyond its value, by field."""
        fields = ("comment", "reasons", "correction", "tags")
        return {name: value for name in fields if (value := getattr(self, name))}


def check(request: FeedbackRequest, settings: config.FeedbackNames) -> None:
    """Raise BadRequest for a name that is not declared, a value that its name does not take, or too long a text."""
    metric = settings.names.get(request.name)
    if metric is None:
        raise BadRequest(
            f"Feedback is not known under the name {request.name!r}; declared are: {', '.join(settings.names)}.",
            param="name",
            code="unknown_name",
        )
    if not _takes(metric, request.value):
        raise BadRequest(f"{request.name} takes {_wanted(metric)}.", param="value", code="invalid_value")
    for name in ("comment", "correction"):
        text = getattr(request, name)
        if text is not None and not 1 <= len(text) <= settings.max_text:
            raise BadRequest(f"{name} is 1 to {settings.max_text} characters.", param=name, code="invalid_value")


def number(value: bool | float | str) -> float | None:
    """The value as it is kept; None for a label."""
    return None if isinstance(value, str) else float(value)


def shown(metric: config.Metric | None, feedback: Feedback) -> bool | float | str | None:
    """The value as a client gave it: a boolean where its name is one and the number is 0 or 1."""
    if feedback.label is not None:
        return feedback.label
    if metric and metric.type == "boolean" and feedback.value in (0.0, 1.0):
        return feedback.value == 1.0
    return feedback.value


def kind(metric: config.Metric, value: bool | float | str) -> str:
    """The class of a value for counting: its label, or on which side of the middle of its range it lies."""
    if isinstance(value, str):
        return value
    middle = (metric.low + metric.high) / 2
    return UP if value > middle else DOWN if value < middle else BETWEEN


def _takes(metric: config.Metric, value: bool | float | str) -> bool:
    match metric.type, value:
        case "label", str():
            return value in metric.labels
        case "boolean", bool():
            return True
        case "boolean" | "number", float() | int() if not isinstance(value, bool):
            low, high = (0.0, 1.0) if metric.type == "boolean" else (metric.low, metric.high)
            return low <= value <= high
    return False


def _wanted(metric: config.Metric) -> str:
    match metric.type:
        case "label":
            return f"one of the labels {', '.join(metric.labels)}"
        case "boolean":
            return "true, false, or a number from 0 to 1"
    return f"a number from {metric.low:g} to {metric.high:g}"
