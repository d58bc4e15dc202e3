"""Writes requests in the OpenAI wire, as the route wants them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from flotilla_llm.model import ChatRequest
from flotilla_llm.routes import Route


def chat_body(route: Route, request: ChatRequest, *, stream: bool) -> bytes:
    """Returns the JSON of a chat completion request; what is None or empty is not sent."""
    body: dict[str, Any] = {"model": route.model, "messages": request.messages}
    if stream:
        body["stream"] = True
        if route.streams_usage:
            body["stream_options"] = {"include_usage": True}
    body.update(_options(route, request))
    body.update(route.extra_body)
    for field in route.omit:
        body.pop(field, None)
    return orjson.dumps(body, default=_as_json)


def embedding_body(route: Route, texts: Sequence[str]) -> bytes:
    """Returns the JSON of an embedding request."""
    body: dict[str, Any] = {"model": route.model, "input": list(texts)}
    if route.dimensions is not None:
        body["dimensions"] = route.dimensions
    return orjson.dumps(body)


def _options(route: Route, request: ChatRequest) -> dict[str, Any]:
    options: dict[str, Any] = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        route.output_limit_field: request.max_output_tokens,
        "stop": list(request.stop) or None,
        "seed": request.seed,
        "response_format": request.response_format,
    }
    if request.tools:
        options["tools"] = list(request.tools)
        options["tool_choice"] = request.tool_choice
        options["parallel_tool_calls"] = request.parallel_tool_calls
    if route.sends_metadata and request.metadata:
        options["metadata"] = request.metadata
    return {name: value for name, value in options.items() if value is not None}


def _as_json(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
