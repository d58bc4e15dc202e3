"""Whole replies on raw ASGI: errors in the shape of the wire that was asked, and JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from flotilla_common.errors import FlotillaError, InvalidArgumentError, NotFoundError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope, Send

from flotilla_gateway.wires.openai import errors as openai
from flotilla_gateway.wires.openai.parse import invalid_field

Header = tuple[bytes, bytes]
_JSON: Header = (b"content-type", b"application/json")
_RETRY_AFTER_S = 1.0
"""What a 503 says that knows no better."""


async def send_json(send: Send, body: bytes, *, status: int = 200, headers: Iterable[Header] = ()) -> None:
    """Sends a whole JSON reply."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [_JSON, length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def send_nothing(send: Send) -> None:
    """Sends 204, a reply without a body."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def send_error(scope: Scope, send: Send, error: FlotillaError) -> None:
    """Sends an error in the shape of the wire that owns the path."""
    await send_json(
        send, error_body(scope["path"], error), status=openai.status_of(error), headers=error_headers(error)
    )


def error_body(path: str, error: FlotillaError) -> bytes:
    """Returns an error as the wire that owns the path shows it; whatever has no wire gets LangGraph's shape."""
    if path == "/v1" or path.startswith("/v1/"):
        return openai.error_body(error)
    detail: dict[str, Any] = {"detail": error.message}
    return orjson.dumps(detail)


def error_headers(error: FlotillaError) -> list[Header]:
    """Returns what tells a client whether and when to try again."""
    headers: list[Header] = []
    may_retry, retry_after_s = openai.may_retry(error), error.retry_after_s
    if retry_after_s is None and may_retry and openai.status_of(error) == HTTPStatus.SERVICE_UNAVAILABLE:
        retry_after_s = _RETRY_AFTER_S
    if retry_after_s is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(retry_after_s))).encode()))
        headers.append((b"retry-after-ms", str(max(1, math.ceil(retry_after_s * 1000))).encode()))
    if not may_retry:
        headers.append((b"x-should-retry", b"false"))
    return headers


async def raise_http_error(request: Request, error: Exception) -> Response:
    """Raises what the router refuses as an error of ours, so that it gets the shape of its wire."""
    assert isinstance(error, HTTPException)  # noqa: S101  # the one class that it is registered for
    if error.status_code == 404:
        raise NotFoundError(f"Nothing is at {request.url.path}.", reason="unknown_path")
    if error.status_code == 405:
        request.state.reply_headers += [(b"allow", (error.headers or {}).get("Allow", "").encode())]
        raise InvalidArgumentError(f"{request.method} is not supported here.", reason="method_not_allowed")
    raise InvalidArgumentError(str(error.detail), reason="invalid_request")


async def raise_validation_error(_: Request, error: Exception) -> Response:
    """Raises the first field that FastAPI refuses as an error of ours."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  # the one class that it is registered for
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        raise InvalidArgumentError("The body is not valid JSON.", reason="invalid_json")
    # The first step of the place says where it was: body, query or path.
    raise invalid_field(first["loc"][1:], first["type"], first["msg"])
