"""Deciding about a trace before it costs a span."""

from __future__ import annotations

import contextvars

import pytest
from flotilla_common import telemetry
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanContext


@pytest.fixture
def tracer(monkeypatch: pytest.MonkeyPatch) -> trace.Tracer:
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(0.5)), id_generator=telemetry.TraceIds(), shutdown_on_exit=False
    )
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return provider.get_tracer("test")


def begun(tracer: trace.Tracer) -> tuple[SpanContext, SpanContext]:
    """Returns a trace that was begun, and the next span, as one task has them."""

    def begin() -> tuple[SpanContext, SpanContext]:
        return telemetry.begin_trace(), tracer.start_span("request").get_span_context()

    return contextvars.copy_context().run(begin)


def test_span_of_a_sampled_trace_is_its_root_and_recorded(tracer: trace.Tracer) -> None:
    pairs = [begun(tracer) for _ in range(200)]

    sampled = [pair for pair in pairs if pair[0].trace_flags.sampled]
    assert 50 < len(sampled) < 150
    assert all(span.trace_id == chosen.trace_id and span.trace_flags.sampled for chosen, span in sampled)


def test_begun_traces_are_valid_and_each_another(tracer: trace.Tracer) -> None:
    traces = [begun(tracer)[0] for _ in range(50)]

    assert all(one.is_valid for one in traces)
    assert len({one.trace_id for one in traces}) == 50


def test_nothing_is_sampled_without_a_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)

    assert not telemetry.begin_trace().trace_flags.sampled
