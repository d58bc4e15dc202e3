"""OpenTelemetry: trace ids always, spans exported when there is somewhere to send them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler, TraceIdRatioBased

from flotilla_common.settings import ProcessSettings


@contextmanager
def telemetry(settings: ProcessSettings, service_name: str) -> Iterator[None]:
    """Sets tracing up for the life of the process and sends what is left at its end.

    The exporter reads the usual OTEL_EXPORTER_OTLP_* variables itself.
    """
    provider = TracerProvider(sampler=_sampler(settings), resource=_resource(settings, service_name))
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
