"""/openapi.json: what FastAPI says of its routes, and what it cannot know: the hot path, the keys, the error shape."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from agent.ask import CHAT, COMPLETION, Surface
from agent.invitation import HEADER
from agent.roles import Policy
from agent.routes import errors

Document = dict[str, Any]
SCHEMAS = "#/components/schemas/"
DESCRIPTION = "A chat service whose model gets better by being used: OpenAI's chat API, feedback, and its operation."
ASKING = "On some answers: a rating under this name is asked for, to be given by POST /v1/feedback."
SUMMARIES = {CHAT.path: "Answer a chat", COMPLETION.path: "Continue a text"}


def describe(app: FastAPI, policy: Policy, surfaces: Sequence[Surface] = (CHAT, COMPLETION)) -> Document:
    """The document of all routes."""
    document = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
    schemas = document["components"]["schemas"]
    for surface in surfaces:
        body = surface.request.model_json_schema(ref_template=SCHEMAS + "{model}")
        schemas.update(body.pop("$defs", {}))
        schemas[surface.request.__name__] = body
        document["paths"][surface.path] = {"post": _operation(surface)}
    # A request that does not fit is a 400 here, never FastAPI's 422.
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            operation["responses"].pop("422", None)
            role = policy[method.upper(), path]
            operation["security"] = [{"key": []}] if role else []
    return document


def _operation(surface: Surface) -> Document:
    schema = {"$ref": SCHEMAS + surface.request.__name__}
    error = {"application/json": {"schema": {"$ref": SCHEMAS + "ErrorDocument"}}}
    answers: Document = {
        "200": {
            "description": "The answer as OpenAI gives it: one object, or with `stream` server-sent events.",
            "content": {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {}},
            "headers": {HEADER: {"description": ASKING, "schema": {"type": "string"}}},
        }
    }
    answers |= {str(status): {"description": "Error", "content": error} for status in errors(404, 413, 502, 504)}
    return {
        "tags": ["chat"],
        "summary": SUMMARIES[surface.path],
        "operationId": f"create_{surface.kind}",
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": answers,
    }
