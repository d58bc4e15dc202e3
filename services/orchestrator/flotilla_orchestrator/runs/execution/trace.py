"""The trace of the request that began a run; what is done for the run later, or elsewhere, belongs to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from flotilla_common.rpc.trace_context import TRACEPARENT, enter_trace, extract
from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext

_tracer = trace.get_tracer("flotilla.orchestrator")


def trace_of(traceparent: str | None) -> context.Context | None:
    """Returns the trace context of a stored W3C traceparent, or None when the run has none."""
    caller = _caller(traceparent)
    return None if caller is None else trace.set_span_in_context(NonRecordingSpan(caller))


def is_recorded(traceparent: str | None) -> bool:
    """Whether a stored trace is being recorded."""
    caller = _caller(traceparent)
    return caller is not None and caller.trace_flags.sampled


@contextmanager
def run_span(name: str, traceparent: str | None, attributes: Mapping[str, str | int]) -> Iterator[None]:
    """Does a run's work in a span of its own, or where its trace is not recorded under the trace's ids alone.

    For a task that does nothing else and ends with it.
    """
    caller = _caller(traceparent)
    if caller is not None and not caller.trace_flags.sampled:
        enter_trace(caller)
        yield
        return
    with _tracer.start_as_current_span(name, context=trace_of(traceparent), attributes=attributes):
        yield


@contextmanager
def in_trace_of(traceparent: str | None) -> Iterator[None]:
    """Makes a stored trace the current one."""
    token = context.attach(trace_of(traceparent) or context.get_current())
    try:
        yield
    finally:
        context.detach(token)


def _caller(traceparent: str | None) -> SpanContext | None:
    return extract({TRACEPARENT: traceparent}) if traceparent else None
