"""The published description of the API: FastAPI's, with the paths that are served on raw ASGI."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from flotilla_gateway.wires.openai.schema import ChatCompletionRequest, EmbeddingsRequest

_REFERENCE = "#/components/schemas/{model}"
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_HEADERS = [
    {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "minLength": 1, "maxLength": 255}},
    {"name": "X-Thread-Id", "in": "header", "schema": {"type": "string", "minLength": 1, "maxLength": 256}},
]


def describe(app: FastAPI) -> dict[str, Any]:
    """Returns the OpenAPI document, made once."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        _add_raw_paths(document)
        components = document.setdefault("components", {})
        components["securitySchemes"] = {"api_key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"api_key": []}]
        app.openapi_schema = document
    return app.openapi_schema


def _add_raw_paths(document: dict[str, Any]) -> None:
    _, definitions = models_json_schema(
        [(ChatCompletionRequest, "validation"), (EmbeddingsRequest, "validation")], ref_template=_REFERENCE
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(definitions["$defs"], Error=_ERROR)
    chat = _operation("Answers a conversation by an agent.", ["application/json", "text/event-stream"], tag="OpenAI")
    embeddings = _operation("Embeds texts.", ["application/json"], tag="OpenAI")
    events = _operation("Streams a run's event log.", ["text/event-stream"], tag="Operations")
    events["responses"]["204"] = {"description": "The run is over and nothing comes after that event."}
    events["parameters"] = [
        {"name": "run_id", "in": "path", "required": True, "schema": {"type": "string"}},
        {"name": "after", "in": "query", "schema": {"type": "integer", "minimum": 0}},
        {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}},
    ]
    document["paths"] |= {
        "/v1/chat/completions": {
            "post": {**chat, "parameters": _HEADERS, "requestBody": _body("ChatCompletionRequest")}
        },
        "/v1/embeddings": {"post": {**embeddings, "requestBody": _body("EmbeddingsRequest")}},
        "/v1/runs/{run_id}/events": {"get": events},
    }


def _operation(summary: str, media: list[str], *, tag: str) -> dict[str, Any]:
    error = {"application/json": {"schema": {"$ref": _REFERENCE.format(model="Error")}}}
    return {
        "summary": summary,
        "tags": [tag],
        "responses": {
            "200": {"description": "The answer.", "content": {kind: {} for kind in media}},
            "4XX": {"description": "The request is refused.", "content": error},
            "5XX": {"description": "It failed.", "content": error},
        },
    }


def _body(model: str) -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(model=model)}
    return {"required": True, "content": {"application/json": {"schema": schema}}}
