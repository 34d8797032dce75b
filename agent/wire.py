"""The bodies of chat and completion requests: an allowlist of OpenAI's fields with their limits.

What is not declared here is refused by name, so nothing else reaches the engine. Knows the format, not what a model or
a key may do.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import from_json

from agent import failures
from agent.messages import MAX_NAME, Message, Wire
from core.errors import BadRequest

MAX_DEPTH = 32
MAX_VALUES = 20_000
MAX_FAULTS = 1000
INT64 = 2**63

T = TypeVar("T", bound=Wire)


def _bounded(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse free-form JSON that another parser could stumble over, in breadth-first order so that no stack grows."""
    level: list[Any] = [value]
    seen = 0
    for _ in range(MAX_DEPTH):
        seen += len(level)
        if seen > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES} values")
        if not all(map(_carried, level)):
            raise ValueError("a number is too large")
        level = [item for outer in level for item in _inside(outer)]
        if not level:
            return value
    raise ValueError(f"nested more than {MAX_DEPTH} levels deep")


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _carried(value: Any) -> bool:
    """Whether every JSON parser gets the same number."""
    return not isinstance(value, int | float) or (math.isfinite(value) and -INT64 <= value < 2 * INT64)


FreeJson = Annotated[dict[str, Any], AfterValidator(_bounded)]
Stop = (
    Annotated[str, Field(max_length=1000)]
    | Annotated[list[Annotated[str, Field(max_length=1000)]], Field(max_length=16)]
)
Penalty = Annotated[float, Field(ge=-2, le=2)]
Bias = Annotated[
    dict[Annotated[str, Field(pattern=r"^\d{1,9}$")], Annotated[float, Field(ge=-100, le=100)]], Field(max_length=1024)
]
Tokens = Annotated[int, Field(ge=1, le=INT64 - 1)]
Metadata = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
]
UserName = Annotated[str, Field(max_length=512)]


class StreamOptions(Wire):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class JsonSchema(Wire):
    name: str = Field(max_length=MAX_NAME)
    description: str | None = None
    schema_: FreeJson | None = Field(None, alias="schema")
    strict: bool | None = None


class ResponseFormat(Wire):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class Function(Wire):
    name: str = Field(min_length=1, max_length=MAX_NAME)
    description: str | None = None
    parameters: FreeJson | None = None
    strict: bool | None = None


class Tool(Wire):
    type: Literal["function"]
    function: Function


class NamedFunction(Wire):
    name: str = Field(max_length=MAX_NAME)


class NamedTool(Wire):
    type: Literal["function"]
    function: NamedFunction


class Request(Wire):
    """What chats and completions share."""

    model: str = Field(max_length=MAX_NAME)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    n: int | None = Field(None, ge=1, le=8)
    stop: Stop | None = None
    seed: int | None = Field(None, ge=-INT64, lt=INT64)
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: Bias | None = None
    user: UserName | None = None
    safety_identifier: UserName | None = None
    metadata: Metadata | None = None
    store: bool | None = None


class ChatRequest(Request):
    """The body of POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1, max_length=512)
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None


TokenIds = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1, fail_fast=True)]


class CompletionRequest(Request):
    """The body of POST /v1/completions."""

    prompt: (
        str
        | TokenIds
        | Annotated[list[str], Field(min_length=1, max_length=128)]
        | Annotated[list[TokenIds], Field(min_length=1, max_length=128)]
    )
    max_tokens: int | None = Field(None, ge=0, lt=INT64)
    logprobs: int | None = Field(None, ge=0, le=20)
    echo: bool | None = None


def read(kind: type[T], body: bytes) -> tuple[T, Mapping[str, Any]]:
    """The body as a checked request, and as the plain JSON object that it was made from. Raises BadRequest.

    The checks convert nothing, so that both say the same.
    """
    # pydantic's parser has a limit of depth; orjson's has none and overflows the stack.
    try:
        data = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise BadRequest(f"The body is not valid JSON: {error}.") from None
    if not isinstance(data, dict):
        raise BadRequest("The body must be a JSON object.")
    try:
        return kind.model_validate(data), data
    except ValidationError as error:
        if error.error_count() > MAX_FAULTS:
            raise BadRequest(f"The body has more than {MAX_FAULTS} faults, too many to name one.") from None
        raise failures.of_validation(error.errors(include_url=False, include_input=False), data) from None
