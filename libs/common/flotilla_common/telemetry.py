"""OpenTelemetry: trace ids always, spans exported when there is somewhere to send them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import SpanContext, TraceFlags

from flotilla_common.settings import ProcessSettings

_begun: ContextVar[int | None] = ContextVar("flotilla_begun_trace", default=None)


class TraceIds(RandomIdGenerator):
    """Gives a task's next trace the id under which it was begun, if it was."""

    def generate_trace_id(self) -> int:
        """Returns the id of a new trace."""
        return _begun.get() or super().generate_trace_id()


_ids = TraceIds()


def begin_trace() -> SpanContext:
    """Begins a trace for this task, with the sampler's decision taken before any span costs something.

    If it is sampled, the task's next span is its root; if not, its ids may be passed on without one.
    """
    provider = trace.get_tracer_provider()
    trace_id = _ids.generate_trace_id()
    is_sampled = isinstance(provider, TracerProvider) and (
        provider.sampler.should_sample(None, trace_id, "").decision is Decision.RECORD_AND_SAMPLE
    )
    if is_sampled:
        _begun.set(trace_id)
    flags = TraceFlags(TraceFlags.SAMPLED if is_sampled else TraceFlags.DEFAULT)
    return SpanContext(trace_id, _ids.generate_span_id(), is_remote=False, trace_flags=flags)


@contextmanager
def telemetry(settings: ProcessSettings, service_name: str) -> Iterator[None]:
    """Sets tracing up for the life of the process and sends what is left at its end.

    The exporter reads the usual OTEL_EXPORTER_OTLP_* variables itself.
    """
    provider = TracerProvider(sampler=_sampler(settings), resource=_resource(settings, service_name), id_generator=_ids)
    if settings.otlp_endpoint is not None:
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()


def _sampler(settings: ProcessSettings) -> Sampler:
    # Without an exporter a span object is cost without use; ids are made and passed on all the same.
    return ALWAYS_OFF if settings.otlp_endpoint is None else ParentBased(TraceIdRatioBased(settings.trace_ratio))


def _resource(settings: ProcessSettings, service_name: str) -> Resource:
    return Resource.create(
        {
            "service.namespace": "flotilla",
            "service.name": service_name,
            "service.instance.id": settings.replica,
            "deployment.environment.name": settings.app_env,
        }
    )
