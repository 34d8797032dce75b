"""How an error looks on the wire, wherever it came from: OpenAI's `{"error": {message, type, param, code}}`.

Pure. Knows the error tree, Starlette's and pydantic's errors, and what the engine says when it refuses.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from agent.visit import Header
from core.errors import (
    BadRequest,
    ContextTooLong,
    EngineFailed,
    HoneError,
    Unavailable,
    of_status,
)
from core.types import Version

SENTENCES: Mapping[int, str] = {
    400: "The body cannot be read as JSON.",
    404: "There is nothing at this address; the paths are listed in /openapi.json.",
    405: "This address does not answer to this method.",
    413: "The request body is too large.",
}
TOO_LONG = ("maximum context length", "cannot be greater than max_model_len", "maximum model length")
APPENDIX = re.compile(r" \(parameter=.*\)$", re.DOTALL)
MAX_NAME = 100


def body(error: HoneError) -> bytes:
    """The error as a JSON document."""
    fields = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    return orjson.dumps({"error": fields})


def headers(error: HoneError, document: bytes) -> list[Header]:
    """What goes above the document: a 429 or 503 says when to come back, a 401 how to authenticate."""
    lines = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(document))]
    if error.retry_after is not None or error.status in (429, 503):
        lines.append((b"retry-after", b"%d" % max(1, round(error.retry_after or 1))))
    if error.status == 401:
        lines.append((b"www-authenticate", b"Bearer"))
    return lines


def event(error: HoneError) -> bytes:
    """The error as the last event of a stream."""
    return b"data: " + body(error) + b"\n\n"


def of_http(error: HTTPException) -> HoneError:
    """A refusal by the router or by the reading of the body."""
    kind = of_status(error.status_code)
    return kind(SENTENCES.get(error.status_code, str(error.detail)))


def of_request(error: RequestValidationError) -> BadRequest:
    """A request to the operations API that does not fit its model."""
    deepest = max(error.errors(), key=lambda error: len(error["loc"]))
    where, *rest = deepest["loc"]
    return _violation(deepest, rest, error.body if where == "body" else None)


def of_validation(errors: Sequence[Mapping[str, Any]], data: object) -> BadRequest:
    """What pydantic found wrong with `data`: the error that lies deepest, since it tells most."""
    deepest = max(errors, key=lambda error: len(error["loc"]))
    return _violation(deepest, deepest["loc"], data)


def _violation(error: Mapping[str, Any], loc: Sequence[int | str], data: object) -> BadRequest:
    param = path(loc, data, missing=error["type"] == "missing") or None
    match error["type"]:
        case "json_invalid":
            return BadRequest("The body is not valid JSON.")
        case "extra_forbidden":
            return BadRequest(f"Unknown field {param}; remove it.", param=param, code="unknown_field")
        case "missing" if param:
            return BadRequest(f"The field {param} is missing.", param=param, code="missing_field")
        case "missing":
            return BadRequest("The body is empty; send a JSON object.")
    reason = str(error["msg"]).removeprefix("Value error, ")
    return BadRequest(f"{param or 'The body'}: {reason}", param=param, code="invalid_value")


def path(loc: Sequence[int | str], data: object, *, missing: bool = False) -> str:
    """`messages[0].content` for a pydantic location; branches of unions, which are no places in `data`, left out.

    Without `data` every step counts. `missing`: the last step is a name that `data` lacks.
    """
    text = ""
    known = data is not None
    for number, step in enumerate(loc, start=1):
        if isinstance(step, int):
            text += f"[{step}]"
            data = data[step] if isinstance(data, list) and step < len(data) else None
        elif not known or (isinstance(data, Mapping) and (step in data or (missing and number == len(loc)))):
            text += f".{step[:MAX_NAME]}" if text else step[:MAX_NAME]
            data = data.get(step) if isinstance(data, Mapping) else None
    return text


def of_engine(status: int, document: bytes, version: Version, shown: str) -> HoneError:
    """What the engine's refusal means for the client; the version's name is blotted out."""
    told = _told(document)
    # What vLLM appends may repeat what the client sent.
    words = APPENDIX.sub("", str(told.get("message") or "The engine gave no reason."))
    message, param = words.replace(version, shown), told.get("param")
    if status == 404:
        return Unavailable(
            "The model is not loaded in the engine yet; try again.", code="model_not_loaded", retry_after=1
        )
    if status == 429 or status == 503:
        return Unavailable("The engine cannot take the call now; try again.", code="engine_unavailable", retry_after=1)
    if status in (400, 413, 422):
        kind = ContextTooLong if any(mark in message for mark in TOO_LONG) else BadRequest
        return kind(message, param=param if isinstance(param, str) and not param.startswith("input_") else None)
    if status in (401, 403):
        return EngineFailed("The engine refuses Hone's key; gateway and engine must share one data folder's secret.")
    return EngineFailed("The engine could not answer this call; try again.")


def _told(document: bytes) -> Mapping[str, Any]:
    try:
        told = orjson.loads(document)
    except orjson.JSONDecodeError:
        return {}
    error = told.get("error") if isinstance(told, dict) else None
    return error if isinstance(error, dict) else {}
