"""Counts, times and logs the calls of one method."""

from __future__ import annotations

import logging

from grpc import StatusCode
from opentelemetry.trace import StatusCode as SpanStatus
from prometheus_client import Counter, Gauge, Histogram

from flotilla_common.rpc.call import ServedCall
from flotilla_common.status import OUR_FAULT

_HANDLED = Counter("flotilla_rpc_handled", "Calls that were answered.", ["service", "method", "code"])
_DURATION = Histogram(
    "flotilla_rpc_duration_seconds",
    "Time from a call's arrival to its status.",
    ["service", "method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
_IN_FLIGHT = Gauge("flotilla_rpc_in_flight", "Calls being served.", ["service", "method"])
_access_log = logging.getLogger("flotilla.access")


class MethodObserver:
    """Holds the metrics of one method, looked up once: a lookup by labels costs as much as the rest."""

    def __init__(self, path: str) -> None:
        self._service, _, self._method = path.lstrip("/").rpartition("/")
        self._duration = _DURATION.labels(self._service, self._method)
        self._in_flight = _IN_FLIGHT.labels(self._service, self._method)
        self._handled: dict[StatusCode, Counter] = {}

    def begin(self) -> None:
        """Counts a call in."""
        self._in_flight.inc()

    def end(self, call: ServedCall, elapsed_s: float, ended_ns: int | None) -> None:
        """Counts a call out, logs it and ends its span.

        ended_ns: when the call ended, on the clock of spans; None when its span is not recorded.
        """
        span = call.span.get_span_context()
        self._in_flight.dec()
        self._count(call.code)
        self._duration.observe(elapsed_s, None if ended_ns is None else {"trace_id": f"{span.trace_id:032x}"})
        self._write_log(call, elapsed_s)
        if ended_ns is not None:
            _end_span(call, ended_ns)

    def _count(self, code: StatusCode) -> None:
        handled = self._handled.get(code)
        if handled is None:
            handled = self._handled[code] = _HANDLED.labels(self._service, self._method, code.name)
        handled.inc()

    def _write_log(self, call: ServedCall, elapsed_s: float) -> None:
        if not _access_log.isEnabledFor(logging.INFO):
            return
        fields: dict[str, object] = {
            "rpc_service": self._service,
            "rpc_method": self._method,
            "code": call.code.name,
            "duration_ms": round(elapsed_s * 1000, 2),
        }
        if call.error is not None:
            fields |= {"reason": call.error.reason, "field": call.error.field}
        _access_log.info("rpc finished", extra=fields)


def _end_span(call: ServedCall, ended_ns: int) -> None:
    number: int = call.code.value[0]
    call.span.set_attribute("rpc.grpc.status_code", number)
    if call.code in OUR_FAULT:
        call.span.set_status(SpanStatus.ERROR)
    call.span.end(end_time=ended_ns)
