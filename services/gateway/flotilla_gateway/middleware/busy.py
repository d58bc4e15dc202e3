"""The short way for the busiest paths: one layer in place of all the others, for requests that need no more than it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flotilla_common.lifecycle import Work
from flotilla_common.rpc.trace_context import enter_trace, extract
from flotilla_common.telemetry import begin_trace
from opentelemetry.trace import SpanContext
from prometheus_fastapi_instrumentator.metrics import Info
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from flotilla_gateway.middleware.edge import Exchange
from flotilla_gateway.middleware.errors import ErrorMiddleware

Observe = Callable[[Info], None]
"""A function of prometheus-fastapi-instrumentator, which counts and times a request."""


class BusyPaths:
    """Serves POST to some paths within this one layer, and hands everything else to the application with its layers.

    A page's request is among the latter, because CORS has to answer it, and so is one whose trace is recorded, which
    is OpenTelemetry's own work. An endpoint here is on the application's routes as well.
    """

    def __init__(self, app: ASGIApp, endpoints: Mapping[str, ASGIApp], *, work: Work, observe: Observe) -> None:
        self._app = app
        self._endpoints = {path: ErrorMiddleware(endpoint) for path, endpoint in endpoints.items()}
        self._work = work
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request."""
        endpoint = self._endpoints.get(scope["path"]) if scope.get("method") == "POST" else None
        trace = _unrecorded_trace(dict(scope["headers"])) if endpoint is not None else None
        if endpoint is None or trace is None:
            await self._app(scope, receive, send)
            return
        enter_trace(trace)
        exchange = Exchange(scope, send)
        # What CORS says about a reply that no page has asked for.
        exchange.reply_headers.append((b"vary", b"Origin"))
        self._work.begin()
        try:
            await endpoint(scope, receive, exchange.send)
        finally:
            self._work.end()
            exchange.log()
            self._observe(_info(scope, exchange))


def _unrecorded_trace(headers: Mapping[bytes, bytes]) -> SpanContext | None:
    """Returns the trace of a request that can go the short way, or None."""
    if b"origin" in headers:
        return None
    metadata = {
        name: headers[name.encode()].decode("latin-1")
        for name in ("traceparent", "tracestate")
        if name.encode() in headers
    }
    trace = extract(metadata) or begin_trace()
    return None if trace.trace_flags.sampled else trace


def _info(scope: Scope, exchange: Exchange) -> Info:
    """Returns what the instrumentator's own middleware would say about the request."""
    return Info(
        request=Request(scope),
        response=Response(headers={"content-length": exchange.content_length()}),
        method=scope["method"],
        modified_handler=scope["path"],
        modified_status=f"{(exchange.status or 500) // 100}xx",
        modified_duration=exchange.elapsed_s(),
    )
