"""Bounds of what a request may send: size, time, encoding and depth, checked before anything parses it."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from itertools import accumulate

from flotilla_common.errors import FlotillaError, InvalidArgumentError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flotilla_gateway.wires.reply import send_error

_DISCARD_S = 1.0
_MOST_DISCARDED_BYTES = 20_000_000
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
# A string that nothing closes goes to the end: were it no match, each of its quotes would be tried to the end anew.
_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_TO_PARENTHESES = bytes.maketrans(b"{}[]", b"()()")
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))
_STEPS = {ord("("): 1, ord(")"): -1}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a request may weigh."""

    max_body_bytes: int = 1_000_000
    max_json_depth: int = 64
    body_timeout_s: float = 15.0


class BodyMiddleware:
    """Reads the whole body, within bounds, and hands it on as one piece."""

    def __init__(self, app: ASGIApp, bounds: Bounds) -> None:
        self._app = app
        self._max_bytes = bounds.max_body_bytes
        self._max_depth = bounds.max_json_depth
        self._timeout_s = bounds.body_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request whose body is within bounds."""
        if scope["type"] != "http" or scope["method"] in _WITHOUT_BODY:
            await self._app(scope, receive, send)
            return
        try:
            self._check_headers(scope)
            async with asyncio.timeout(self._timeout_s):
                body = await self._read(receive)
        except TimeoutError:
            await _refuse(scope, send, _error("The body came too slowly.", "body_too_slow"))
            return
        except FlotillaError as error:
            await _discard(receive)
            await _refuse(scope, send, error)
            return
        if body is None:
            return
        if is_deeper(body, self._max_depth):
            await send_error(scope, send, _error(f"JSON is nested deeper than {self._max_depth}.", "json_too_deep"))
            return
        await self._app(scope, _replay(body, receive), send)

    def _check_headers(self, scope: Scope) -> None:
        for name, value in scope["headers"]:
            if name == b"content-length" and int(value) > self._max_bytes:
                raise self._too_large()
            if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
                raise _error("Send the body without a content encoding.", "unsupported_encoding")

    async def _read(self, receive: Receive) -> bytes | None:
        """Returns the body, or None when the client went away."""
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_large()
            chunks.append(chunk)
            if not message.get("more_body", False):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _too_large(self) -> FlotillaError:
        return _error(f"The body is larger than {self._max_bytes} bytes.", "body_too_large")


def is_deeper(body: bytes, depth: int) -> bool:
    """Whether JSON text is nested deeper than `depth`; text that is no JSON may count either way."""
    if body.count(b"{") + body.count(b"[") <= depth:
        return False
    brackets = _STRINGS.sub(b"", body).translate(_TO_PARENTHESES, _NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > depth


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _refuse(scope: Scope, send: Send, error: FlotillaError) -> None:
    # What is left of the body would be taken for the next request.
    scope["state"]["reply_headers"].append((b"connection", b"close"))
    await send_error(scope, send, error)


async def _discard(receive: Receive) -> None:
    """Reads on for a moment: a connection that is closed with unread bytes is reset, and the reply lost with it."""
    left = _MOST_DISCARDED_BYTES
    try:
        async with asyncio.timeout(_DISCARD_S):
            while left > 0:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))
    except TimeoutError:
        return


def _error(message: str, reason: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, reason=reason)
