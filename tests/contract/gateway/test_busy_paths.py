"""The busy paths' short way and the way through all layers: what a client, a metric and a trace see is the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fakes.gateway import RunningGateway, running_gateway
from fakes.orchestrator import FakeOrchestrator
from flotilla_common.errors import InternalError, NotFoundError
from flotilla_common.rpc.trace_context import extract
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from prometheus_client import REGISTRY

PATH = "/v1/chat/completions"
ASK: Any = {"model": "assistant", "messages": [{"role": "user", "content": "Hello?"}]}
TRACE = "0af7651916cd43dd8448eb211c80319c"
PAGE = {"origin": "https://app.example"}
CORS = {"access-control-allow-origin", "access-control-expose-headers"}
WAYS = [{}, PAGE]


@pytest.fixture
async def http(gateway: RunningGateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway.url, headers={"x-api-key": await gateway.key()}) as made:
        yield made


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Records the spans of gateways that are started after it."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(sampler=ParentBased(ALWAYS_ON), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return kept


@pytest.fixture
async def traced(
    exporter: InMemorySpanExporter, orchestrator_at: tuple[FakeOrchestrator, str], tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    async with running_gateway(orchestrator_at[1], tmp_path) as gateway:
        key = await gateway.key()
        async with httpx.AsyncClient(base_url=gateway.url, headers={"x-api-key": key}) as made:
            yield made


def requests_total(status: str) -> float:
    labels = {"handler": PATH, "method": "POST", "status": status}
    return REGISTRY.get_sample_value("flotilla_gateway_http_requests_total", labels) or 0


def size_sums() -> list[float]:
    names = ("flotilla_gateway_http_request_size_bytes_sum", "flotilla_gateway_http_response_size_bytes_sum")
    return [REGISTRY.get_sample_value(name, {"handler": PATH}) or 0 for name in names]


@pytest.mark.parametrize("streams", [False, True])
async def test_reply_has_the_same_headers_on_both_ways(http: httpx.AsyncClient, streams: bool) -> None:
    short, whole = [await http.post(PATH, json={**ASK, "stream": streams}, headers=way) for way in WAYS]

    assert short.status_code == whole.status_code == 200
    assert set(short.headers) == set(whole.headers) - CORS
    assert short.headers["vary"] == whole.headers["vary"] == "Origin"
    assert short.headers["content-type"] == whole.headers["content-type"]


@pytest.mark.parametrize(
    ("refusal", "status"), [(NotFoundError("Gone.", reason="thread_not_found"), 404), (InternalError("secret"), 500)]
)
async def test_error_looks_the_same_on_both_ways(
    http: httpx.AsyncClient, orchestrator: FakeOrchestrator, refusal: Any, status: int
) -> None:
    orchestrator.refusal = refusal

    short, whole = [await http.post(PATH, json=ASK, headers=way) for way in WAYS]

    assert short.status_code == whole.status_code == status
    assert set(short.headers) == set(whole.headers) - CORS
    assert short.json()["error"].keys() == whole.json()["error"].keys()
    assert "secret" not in short.text


@pytest.mark.parametrize("way", WAYS)
async def test_request_is_counted_and_measured_on_both_ways(http: httpx.AsyncClient, way: dict[str, str]) -> None:
    counted, sizes = [requests_total("2xx"), requests_total("4xx")], size_sums()

    served = await http.post(PATH, json=ASK, headers=way)
    refused = await http.post(PATH, json={}, headers=way)

    assert [requests_total("2xx"), requests_total("4xx")] == [counted[0] + 1, counted[1] + 1]
    asked, answered = (sum(len(part) for part in parts) for parts in _bodies(served, refused))
    assert size_sums() == [sizes[0] + asked, sizes[1] + answered]


@pytest.mark.parametrize("traceparent", [None, f"00-{TRACE}-b7ad6b7169203331-01"], ids=["own", "the caller's"])
async def test_recorded_trace_has_the_span_of_the_request(
    traced: httpx.AsyncClient,
    exporter: InMemorySpanExporter,
    orchestrator: FakeOrchestrator,
    traceparent: str | None,
) -> None:
    await traced.post(PATH, json=ASK, headers={"traceparent": traceparent} if traceparent else {})

    (span,) = [span for span in exporter.get_finished_spans() if span.kind is trace.SpanKind.SERVER]
    assert span.name == f"POST {PATH}"
    assert span.context is not None
    assert (span.parent is not None) == (traceparent is not None)
    passed_on = extract(orchestrator.metadata[0])
    assert passed_on is not None
    assert (passed_on.trace_id, passed_on.trace_flags.sampled) == (span.context.trace_id, True)
    assert traceparent is None or passed_on.trace_id == int(TRACE, 16)


async def test_trace_that_is_not_recorded_goes_on_without_a_span(
    traced: httpx.AsyncClient, exporter: InMemorySpanExporter, orchestrator: FakeOrchestrator
) -> None:
    await traced.post(PATH, json=ASK, headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-00"})

    assert orchestrator.metadata[0]["traceparent"] == f"00-{TRACE}-b7ad6b7169203331-00"
    assert exporter.get_finished_spans() == ()


async def test_only_post_goes_the_short_way(http: httpx.AsyncClient) -> None:
    reply = await http.get(PATH)

    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")


def _bodies(*replies: httpx.Response) -> tuple[list[bytes], list[bytes]]:
    return [reply.request.content for reply in replies], [reply.content for reply in replies]
