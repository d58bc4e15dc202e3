"""What is known about the request being served: a context variable, so that no signature carries it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from flotilla_common.errors import UnauthenticatedError
from flotilla_common.identity import Identity
from flotilla_common.ids import new_id


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One request: for whom, under which ids, until when."""

    identity: Identity
    request_id: str
    idempotency_key: str | None = None
    deadline: float | None = None
    """In seconds of time.monotonic(); None means that the caller set no limit."""

    def remaining_s(self) -> float | None:
        """Returns the seconds left, never below zero, or None without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


_current: ContextVar[RequestContext | None] = ContextVar("flotilla_request", default=None)


def current_request() -> RequestContext:
    """Returns the request being served; raises UnauthenticatedError outside of one."""
    request = _current.get()
    if request is None:
        raise UnauthenticatedError("no request is being served", reason="identity_missing")
    return request


def current_request_or_none() -> RequestContext | None:
    """Returns the request being served, if there is one."""
    return _current.get()


def current_identity() -> Identity:
    """Returns whom the request is for; raises UnauthenticatedError outside of a request."""
    return current_request().identity


def enter_request(request: RequestContext) -> None:
    """Makes the request current for the rest of this task: for edges, where a task serves one request and then ends.

    Nothing is reset, because an async generator may be closed in another context than the one it was started in.
    """
    _current.set(request)


@contextmanager
def acting_as(
    identity: Identity,
    *,
    request_id: str | None = None,
    idempotency_key: str | None = None,
    deadline: float | None = None,
) -> Iterator[RequestContext]:
    """Acts for somebody without a request of theirs, such as for a run: no deadline or key is inherited."""
    outer = _current.get()
    known_id = request_id or (outer.request_id if outer is not None else str(new_id()))
    request = RequestContext(identity, known_id, idempotency_key, deadline)
    _current.set(request)
    try:
        yield request
    finally:
        # Not Token.reset: it refuses when a generator is closed in another context.
        _current.set(outer)
