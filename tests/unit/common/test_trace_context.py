import pytest
from flotilla_common.rpc.trace_context import extract, inject
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


def test_extract_reads_what_inject_writes() -> None:
    span = SpanContext(int(TRACE, 16), int(SPAN, 16), is_remote=True, trace_flags=TraceFlags(1))

    metadata = dict(inject(span))

    assert metadata == {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    assert extract(metadata) == span


def test_trace_state_goes_on() -> None:
    span = extract({"traceparent": f"00-{TRACE}-{SPAN}-00", "tracestate": "a=1,b=2"})

    assert span is not None
    assert dict(inject(span))["tracestate"] == "a=1,b=2"


def test_extract_agrees_with_the_reference() -> None:
    from opentelemetry import trace

    header = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    reference = trace.get_current_span(TraceContextTextMapPropagator().extract(header)).get_span_context()

    assert extract(header) == reference


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{'g' * 32}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
        b"00",
    ],
)
def test_extract_of_a_bad_header_is_nothing(header: str | bytes) -> None:
    assert extract({"traceparent": header}) is None


def test_inject_of_no_span_is_nothing() -> None:
    assert inject(INVALID_SPAN_CONTEXT) == ()
