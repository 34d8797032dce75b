"""The messages of a chat as a client may send them, and the one spelling in which they are kept.

Text only. Fields that our own answers carry (`refusal`, `annotations`, ...) are accepted back, since clients return
whole messages as history.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from core.errors import BadRequest
from core.types import JsonObject

MAX_NAME = 256


class Wire(BaseModel):
    """What comes in by HTTP: nothing undeclared, nothing converted, no infinities, and no echo of it in errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class Part(Wire):
    """A piece of text, or of a refusal, inside a message."""

    type: Literal["text", "refusal"]
    text: str | None = None
    refusal: str | None = None


class CalledFunction(Wire):
    name: str = Field(max_length=MAX_NAME)
    arguments: str


class ToolCall(Wire):
    """A call that the model made."""

    id: str = Field(max_length=MAX_NAME)
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(Wire):
    """One turn. Which fields a role needs is told by `check`."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[Part], Field(min_length=1, max_length=512)] | None = None
    name: str | None = Field(None, max_length=MAX_NAME)
    tool_call_id: str | None = Field(None, max_length=MAX_NAME)
    tool_calls: Annotated[list[ToolCall], Field(max_length=128)] | None = None
    refusal: str | None = None
    reasoning: str | None = None
    annotations: Annotated[list[JsonValue], Field(max_length=0)] | None = None
    audio: None = None
    function_call: None = None


def check(messages: Sequence[Message]) -> None:
    """Raise BadRequest for a message that lacks what its role needs."""
    for number, message in enumerate(messages):
        at = f"messages[{number}]"
        if message.content is None and not message.tool_calls and message.refusal is None:
            raise BadRequest(f"{at} says nothing: content is missing.", param=f"{at}.content", code="missing_field")
        if message.role == "tool" and message.tool_call_id is None:
            raise BadRequest(
                f"{at} answers a tool call but does not say which: tool_call_id is missing.",
                param=f"{at}.tool_call_id",
                code="missing_field",
            )
        if message.tool_calls and message.role != "assistant":
            raise BadRequest(f"{at}: only the assistant calls tools.", param=f"{at}.tool_calls", code="invalid_value")


def canonical(message: Mapping[str, Any]) -> JsonObject:
    """The message without what says nothing, so that an answer and its return as history are the same message."""
    return {name: value for name, value in message.items() if value is not None and value != []}
