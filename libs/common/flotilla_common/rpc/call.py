"""One call being served, as the steps around a method see it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from grpc import StatusCode
from grpc.aio import ServicerContext
from opentelemetry.trace import INVALID_SPAN, Span

from flotilla_common.errors import FlotillaError
from flotilla_common.identity import Identity

Context: TypeAlias = ServicerContext[Any, Any]


@dataclass(slots=True)
class ServedCall:
    """What is known about a call while it is served."""

    context: Context
    metadata: dict[str, str | bytes]
    timeout_s: float | None
    """Seconds until the caller's deadline when the call arrived; None without one."""
    started: float = field(default_factory=time.perf_counter)
    span: Span = INVALID_SPAN
    vouch: Callable[[], Identity] | None = None
    """Proves for whom a call on a stream with a session is; raises UnauthenticatedError and UnavailableError."""
    code: StatusCode = StatusCode.OK
    error: FlotillaError | None = None
    """Why it failed, if it failed in a way that we know."""

    def text(self, key: str) -> str | None:
        """Returns a metadata value, if it is there and text."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) and value else None

    def elapsed_s(self) -> float:
        """Returns the seconds since the call arrived."""
        return time.perf_counter() - self.started


def receive(context: Context) -> ServedCall:
    """Returns a call as it arrives."""
    metadata = dict(context.invocation_metadata() or ())
    return ServedCall(context, metadata, context.time_remaining(), vouch=getattr(context, "vouch", None))


def abandoned_code(call: ServedCall) -> StatusCode:
    """Returns why a call was cancelled under us: its deadline passed, or its caller went."""
    is_late = call.timeout_s is not None and call.elapsed_s() >= call.timeout_s
    return StatusCode.DEADLINE_EXCEEDED if is_late else StatusCode.CANCELLED
