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
    """Gives a request its id and a reply its headers.

    `scope["state"]["request_id"]` is the id; `scope["state"]["reply_headers"]` is a list that inner layers add to.
    """

    def __init__(self, app: ASGIApp, *, work: Work) -> None:
        self._app = app
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = _request_id(scope)
        extra: list[tuple[bytes, bytes]] = []
        scope.setdefault("state", {}).update(request_id=request_id.decode(), reply_headers=extra)
        status = 0
        policy = _DOCS_POLICY if scope["path"].startswith("/docs") else _STRICT_POLICY

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                spent = f"{time.perf_counter() - began:.6f}".encode()
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id),
                    (b"x-process-time", spent),
                    policy,
                    *_SECURITY,
                    *extra,
                ]
            await send(message)

        self._work.begin()
        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            self._work.end()
            _log(scope, status, time.perf_counter() - began)


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            given: bytes = value
            return given
    return str(new_id()).encode()


def _log(scope: Scope, status: int, duration_s: float) -> None:
    if scope["path"] in _UNREPORTED:
        return
    fields = {
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "duration_ms": round(duration_s * 1000, 1),
        "request_id": scope["state"]["request_id"],
        "run_id": scope["state"].get("run_id", ""),
    }
    logger.info("Request served", extra=fields)
