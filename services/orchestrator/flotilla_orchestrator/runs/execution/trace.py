"""The trace of the request that began a run; what is done for the run later, or elsewhere, belongs to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import context
from opentelemetry.propagate import extract
from opentelemetry.trace import TraceFlags


def trace_of(traceparent: str | None) -> context.Context | None:
    """Returns the trace context of a stored W3C traceparent, or None when the run has none."""
    return extract({"traceparent": traceparent}) if traceparent else None


def is_recorded(traceparent: str | None) -> bool:
    """Whether a stored trace is being recorded, as its last field, the flags, says."""
    return traceparent is not None and bool(int(traceparent.rpartition("-")[2], 16) & TraceFlags.SAMPLED)


@contextmanager
def in_trace_of(traceparent: str | None) -> Iterator[None]:
    """Makes a stored trace the current one."""
    token = context.attach(trace_of(traceparent) or context.get_current())
    try:
        yield
    finally:
        context.detach(token)
