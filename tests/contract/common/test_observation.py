"""What a served call leaves behind: metrics, a log line, spans."""

from __future__ import annotations

import asyncio
import logging
import time
import urllib.request
from typing import Any

import pytest
from contract.common.peer import IDENTITY, SERVICE, Serve, Transport, all_of, metric, until
from flotilla_common.errors import InternalError, NotFoundError
from flotilla_common.request import acting_as
from flotilla_common.rpc import trace_context
from grpc.aio import AioRpcError
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased

TRACE = "0af7651916cd43dd8448eb211c80319c"


async def current_trace(request: bytes, context: Any) -> bytes:
    span = trace.get_current_span().get_span_context()
    return f"{span.trace_id:032x} {span.trace_flags.sampled}".encode()


async def stream_current_trace(request: bytes, context: Any) -> Any:
    yield await current_trace(request, context)


class Tracing:
    """Spans of our own provider, kept in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, on: bool) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=ParentBased(ALWAYS_ON if on else ALWAYS_OFF), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer("test")
        monkeypatch.setattr(trace_context, "_tracer", lambda: self.tracer)

    def names(self) -> list[tuple[str, str]]:
        return [(span.name, span.kind.name) for span in self.exporter.get_finished_spans()]

    async def spans_of_one_call(self) -> list[ReadableSpan]:
        """Returns the server's, the client's and the request's span, once all have ended: the answer comes first."""
        await until(lambda: len(self.exporter.get_finished_spans()) == 3)
        by_kind = {span.kind.name: span for span in self.exporter.get_finished_spans()}
        return [by_kind[kind] for kind in ("SERVER", "CLIENT", "INTERNAL")]


@pytest.fixture
def tracing(monkeypatch: pytest.MonkeyPatch) -> Tracing:
    return Tracing(monkeypatch, on=True)


@pytest.mark.parametrize("kind", ["Unary", "Stream"])
async def test_one_trace_goes_from_caller_to_method(serve: Serve, tracing: Tracing, kind: str) -> None:
    peer = await serve(Unary=current_trace, Stream=stream_current_trace)

    with acting_as(IDENTITY), tracing.tracer.start_as_current_span("request") as root:
        if kind == "Unary":
            seen = await peer.Unary(b"")
        else:
            (seen,) = await all_of(peer.Stream(b""))
        trace_id = root.get_span_context().trace_id

    assert seen == f"{trace_id:032x} True".encode()
    path = f"{SERVICE}/{kind}"
    server, client, request = await tracing.spans_of_one_call()
    assert [span.name for span in (server, client, request)] == [path, path, "request"]
    assert server.parent is not None
    assert client.parent is not None
    assert server.parent.span_id == client.context.span_id
    assert client.parent.span_id == request.context.span_id
    assert {span.attributes["rpc.grpc.status_code"] for span in (server, client) if span.attributes} == {0}


async def test_span_ends_with_its_call_and_not_when_it_is_noted(serve: Serve, tracing: Tracing) -> None:
    def hold_up() -> None:
        held_ns.append(time.time_ns())
        time.sleep(0.005)

    async def answer(request: bytes, context: Any) -> bytes:
        asyncio.get_running_loop().call_soon(hold_up)
        return b""

    held_ns: list[int] = []
    peer = await serve(Unary=answer)

    with acting_as(IDENTITY), tracing.tracer.start_as_current_span("request"):
        await peer.Unary(b"")

    server, _, _ = await tracing.spans_of_one_call()
    assert server.end_time is not None
    assert server.end_time <= held_ns[0]


@pytest.mark.parametrize("kind", ["Unary", "Stream"])
async def test_trace_that_is_not_sampled_makes_no_span_but_keeps_its_id(
    serve: Serve, transport: Transport, tracing: Tracing, signer: Any, kind: str
) -> None:
    peer = await serve(Unary=current_trace, Stream=stream_current_trace)
    metadata = (
        ("x-flotilla-identity", signer.sign(IDENTITY, audience="memory")),
        ("traceparent", f"00-{TRACE}-b7ad6b7169203331-00"),
    )

    async with transport.bare(peer.server.port) as channel:
        if kind == "Unary":
            seen = await channel.unary_unary(f"/{SERVICE}/Unary")(b"", metadata=metadata)
        else:
            (seen,) = await all_of(channel.unary_stream(f"/{SERVICE}/Stream")(b"", metadata=metadata))

    assert seen == f"{TRACE} False".encode()
    assert tracing.names() == []


async def test_call_without_a_trace_gets_one(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    tracing = Tracing(monkeypatch, on=False)
    peer = await serve(Unary=current_trace)

    with acting_as(IDENTITY):
        seen = (await peer.Unary(b"")).decode()

    assert seen.endswith(" False")
    assert int(seen.split()[0], 16) != 0
    assert tracing.names() == []


async def test_failed_call_marks_both_spans(serve: Serve, tracing: Tracing) -> None:
    async def fail(request: bytes, context: Any) -> bytes:
        raise InternalError("broken")

    peer = await serve(Unary=fail)

    with acting_as(IDENTITY), tracing.tracer.start_as_current_span("request"), pytest.raises(AioRpcError):
        await peer.Unary(b"")

    server, client, _ = await tracing.spans_of_one_call()
    assert [server.status.status_code.name, client.status.status_code.name] == ["ERROR", "ERROR"]
    assert [dict(span.attributes or {})["rpc.grpc.status_code"] for span in (server, client)] == [13, 13]


@pytest.mark.parametrize("kind", ["Unary", "Stream"])
async def test_calls_are_counted_timed_and_logged(serve: Serve, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    in_flight: list[float] = []

    async def unary(request: bytes, context: Any) -> bytes:
        in_flight.append(metric("flotilla_rpc_in_flight", service=SERVICE, method=kind))
        if request == b"bad":
            raise NotFoundError("no such thing")
        return b""

    async def stream(request: bytes, context: Any) -> Any:
        yield await unary(request, context)

    def counts() -> list[float]:
        labels = {"service": SERVICE, "method": kind}
        return [
            metric("flotilla_rpc_handled_total", code="OK", **labels),
            metric("flotilla_rpc_handled_total", code="NOT_FOUND", **labels),
            metric("flotilla_rpc_duration_seconds_count", **labels),
            metric("flotilla_rpc_in_flight", **labels),
        ]

    caplog.set_level(logging.INFO)
    peer = await serve(Unary=unary, Stream=stream)
    before = counts()
    with acting_as(IDENTITY):
        for request in (b"good", b"bad"):
            answering = peer.Unary(request) if kind == "Unary" else all_of(peer.Stream(request))
            try:
                await answering
            except AioRpcError:
                continue

    def changes() -> list[float]:
        return [after - was for after, was in zip(counts(), before, strict=True)]

    # A call is noted once its answer has left.
    await until(lambda: changes()[2] == 2)
    assert in_flight == [1, 1]
    assert changes() == [1, 1, 2, 0]
    lines = [record.__dict__ for record in caplog.records if record.name == "flotilla.access"]
    assert [(line["rpc_method"], line["code"]) for line in lines] == [(kind, "OK"), (kind, "NOT_FOUND")]
    assert all(line["duration_ms"] > 0 for line in lines)


async def test_metrics_are_served_on_their_own_port(serve: Serve) -> None:
    async def answer(request: bytes, context: Any) -> bytes:
        return b""

    peer = await serve(Unary=answer)
    with acting_as(IDENTITY):
        await peer.Unary(b"")

    page = await asyncio.to_thread(read, f"http://127.0.0.1:{peer.server.metrics_port}/metrics")

    assert f'flotilla_rpc_handled_total{{code="OK",method="Unary",service="{SERVICE}"}}' in page
    assert str(IDENTITY.user_id) not in page


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())
