"""Books one attempt: its metrics, its span and what its end tells the breaker."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

from flotilla_common.errors import FlotillaError
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from flotilla_llm.breaker import CircuitBreaker
from flotilla_llm.failures import handling
from flotilla_llm.metrics import RouteMetrics
from flotilla_llm.model import Usage
from flotilla_llm.routes import Route

Operation = Literal["chat", "embeddings"]

_tracer = trace.get_tracer("flotilla_llm")


def span_attributes(name: str, route: Route, operation: Operation) -> dict[str, str | int]:
    """Returns what a span says from its start, by OpenTelemetry's conventions for generative AI; never content."""
    address = urlsplit(route.base_url)
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": route.provider,
        "gen_ai.request.model": route.model,
        "server.address": address.hostname or "",
        "server.port": address.port or (443 if address.scheme == "https" else 80),
        "flotilla.model.route": name,
    }


class Attempt:
    """One call of one route, from the moment the breaker let it in."""

    __slots__ = ("_breaker", "_metrics", "_operation", "_span", "_started_at", "has_begun")

    def __init__(
        self,
        operation: Operation,
        metrics: RouteMetrics,
        breaker: CircuitBreaker,
        attributes: dict[str, str | int],
    ) -> None:
        self.has_begun = False
        """Whether the route has answered anything."""
        self._operation = operation
        self._metrics = metrics
        self._breaker = breaker
        self._span = _open_span(operation, attributes)
        self._started_at = asyncio.get_running_loop().time()

    def __enter__(self) -> Self:
        self._metrics.in_flight.inc()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._metrics.in_flight.dec()
        self._metrics.duration[self._operation].observe(asyncio.get_running_loop().time() - self._started_at)
        self._tell_breaker(error)
        if isinstance(error, Exception):
            self._book_error(error)
        self._span.end()

    def begun(self) -> None:
        """Notes the first token."""
        self.has_begun = True
        self._metrics.first_token.observe(asyncio.get_running_loop().time() - self._started_at)

    def ended(self, usage: Usage, finish_reason: str | None = None) -> None:
        """Notes a whole reply."""
        self.has_begun = True
        self._metrics.input_tokens.inc(usage.input_tokens)
        self._metrics.output_tokens.inc(usage.output_tokens)
        self._metrics.cost.inc(usage.cost_micro_usd)
        if not self._span.is_recording():
            return
        self._span.set_attribute("gen_ai.response.model", usage.model)
        self._span.set_attribute("gen_ai.usage.input_tokens", usage.input_tokens)
        self._span.set_attribute("gen_ai.usage.output_tokens", usage.output_tokens)
        if finish_reason is not None:
            self._span.set_attribute("gen_ai.response.finish_reasons", [finish_reason])

    def _tell_breaker(self, error: BaseException | None) -> None:
        if isinstance(error, FlotillaError) and handling(error).trips:
            self._breaker.failed()
        elif error is None or self.has_begun:
            self._breaker.succeeded()
        else:
            self._breaker.abandoned()
        self._metrics.breaker.set(self._breaker.state)

    def _book_error(self, error: Exception) -> None:
        reason = error.reason if isinstance(error, FlotillaError) else None
        reason = reason if reason in self._metrics.errors else "other"
        self._metrics.errors[reason].inc()
        if self._span.is_recording():
            self._span.set_attribute("error.type", reason)
            self._span.set_status(Status(StatusCode.ERROR, reason))


def _open_span(operation: Operation, attributes: dict[str, str | int]) -> Span:
    current = trace.get_current_span()
    caller = current.get_span_context()
    if caller.is_valid and not caller.trace_flags.sampled and not current.is_recording():
        # Nobody records this trace.
        return current
    return _tracer.start_span(
        f"{operation} {attributes['gen_ai.request.model']}", kind=SpanKind.CLIENT, attributes=attributes
    )
