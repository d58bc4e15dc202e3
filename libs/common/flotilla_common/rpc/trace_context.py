"""W3C trace context in gRPC metadata; a span object is made only where it will be recorded."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags, TraceState

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"


def extract(metadata: Mapping[str, str | bytes]) -> SpanContext | None:
    """Returns the caller's span, or None if the metadata names none that is valid."""
    header = metadata.get(TRACEPARENT)
    if not isinstance(header, str):
        return None
    parts = header.split("-")
    if len(parts) < 4 or [len(part) for part in parts[:4]] != [2, 32, 16, 2] or parts[0] == "ff":
        return None
    try:
        trace_id, span_id, flags = int(parts[1], 16), int(parts[2], 16), int(parts[3], 16)
    except ValueError:
        return None
    state = metadata.get(TRACESTATE)
    trace_state = TraceState.from_header([state]) if isinstance(state, str) else None
    span = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags & 1), trace_state=trace_state)
    return span if span.is_valid else None


def inject(span: SpanContext) -> tuple[tuple[str, str], ...]:
    """Returns the metadata that names a span; nothing for an invalid one."""
    if not span.is_valid:
        return ()
    header = (TRACEPARENT, f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}")
    return (header, (TRACESTATE, span.trace_state.to_header())) if span.trace_state else (header,)


def enter_server_span(metadata: Mapping[str, str | bytes], method: str) -> Span:
    """Makes the caller's trace current for the rest of this task, with a span of ours if it is sampled."""
    caller = extract(metadata)
    if caller is not None and not caller.trace_flags.sampled:
        return enter_trace(caller)
    parent = trace.set_span_in_context(NonRecordingSpan(caller)) if caller is not None else None
    span = _tracer().start_span(method.lstrip("/"), parent, SpanKind.SERVER, {"rpc.system": "grpc"})
    otel_context.attach(trace.set_span_in_context(span))
    return span


def enter_trace(caller: SpanContext) -> Span:
    """Makes a trace that is not recorded current for the rest of this task: its ids alone cost a tenth of a span."""
    span = NonRecordingSpan(caller)
    # Never detached: the task serves this call only and ends with it.
    otel_context.attach(trace.set_span_in_context(span))
    return span


def start_client_span(method: str) -> Span | None:
    """Returns a span for an outgoing call, or None when the current trace is not recorded."""
    if not trace.get_current_span().is_recording():
        return None
    return _tracer().start_span(method.lstrip("/"), kind=SpanKind.CLIENT, attributes={"rpc.system": "grpc"})


def _tracer() -> trace.Tracer:
    return trace.get_tracer("flotilla.rpc")
