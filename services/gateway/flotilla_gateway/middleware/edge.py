"""The outermost layer of ours: request id, time and security headers on every reply."""

from __future__ import annotations

import logging
import re
import time

from flotilla_common.ids import new_id
from flotilla_common.lifecycle import Work
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_SECURITY = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"strict-transport-security", b"max-age=31536000; includeSubDomains"),
    (b"cross-origin-resource-policy", b"cross-origin"),
]
_UNREPORTED = frozenset({"/ok", "/health", "/ready"})
_STRICT_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
# The one page with scripts is FastAPI's own, which loads Swagger UI from its CDN.
_DOCS_POLICY = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'unsafe-inline' https://cdn.jsdelivr.net; style-src 'unsafe-inline' "
    b"https://cdn.jsdelivr.net; img-src data: https://fastapi.tiangolo.com; connect-src 'self'; frame-ancestors 'none'",
)


class EdgeMiddleware:
    """Gives a request its id and a reply its headers."""

    def __init__(self, app: ASGIApp, *, work: Work) -> None:
        self._app = app
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, send)
        self._work.begin()
        try:
            await self._app(scope, receive, exchange.send)
        finally:
            self._work.end()
            exchange.log()


class Exchange:
    """One request and its reply.

    Inner layers find it as `scope["state"]["exchange"]`, the request's id as `scope["state"]["request_id"]`, and as
    `scope["state"]["reply_headers"]` a list that they add to.
    """

    __slots__ = ("_began", "_headers", "_request_id", "_scope", "_send", "reply_headers", "status")

    def __init__(self, scope: Scope, send: Send) -> None:
        self._began = time.perf_counter()
        self._scope = scope
        self._send = send
        self._request_id = _request_id(scope)
        self._headers: list[tuple[bytes, bytes]] = []
        self.reply_headers: list[tuple[bytes, bytes]] = []
        self.status = 0
        scope.setdefault("state", {}).update(
            exchange=self, request_id=self._request_id.decode(), reply_headers=self.reply_headers
        )

    @property
    def is_answered(self) -> bool:
        """Whether the reply has begun."""
        return self.status != 0

    def elapsed_s(self) -> float:
        """Returns the seconds since the request arrived."""
        return time.perf_counter() - self._began

    def content_length(self) -> str:
        """Returns how long the reply said to be, "0" when it did not say."""
        return next((value.decode() for name, value in self._headers if name == b"content-length"), "0")

    async def send(self, message: Message) -> None:
        """Sends a part of the reply; its first one with our headers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            policy = _DOCS_POLICY if self._scope["path"].startswith("/docs") else _STRICT_POLICY
            self._headers = message["headers"] = [
                *message["headers"],
                (b"x-request-id", self._request_id),
                (b"x-process-time", b"%.6f" % self.elapsed_s()),
                policy,
                *_SECURITY,
                *self.reply_headers,
            ]
        await self._send(message)

    def log(self) -> None:
        """Writes the line about a request that was served."""
        scope = self._scope
        if scope["path"] in _UNREPORTED:
            return
        fields = {
            "method": scope["method"],
            "path": scope["path"],
            "status": self.status,
            "duration_ms": round(self.elapsed_s() * 1000, 1),
            "request_id": scope["state"]["request_id"],
            "run_id": scope["state"].get("run_id", ""),
        }
        logger.info("Request served", extra=fields)


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            given: bytes = value
            return given
    return str(new_id()).encode()
