"""Turns the failure of a call to a peer into an error of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from grpc import StatusCode
from grpc.aio import AioRpcError

from flotilla_common.errors import FlotillaError
from flotilla_common.rpc.details import details_in
from flotilla_common.status import error_for

_OWN_WORDS = {
    StatusCode.UNAVAILABLE: "{peer} is unavailable",
    StatusCode.DEADLINE_EXCEEDED: "{peer} did not answer in time",
    StatusCode.CANCELLED: "the call to {peer} was cancelled",
    StatusCode.RESOURCE_EXHAUSTED: "the message to or from {peer} is too large",
}


@contextmanager
def map_rpc_errors(peer: str) -> Iterator[None]:
    """Raises the FlotillaError that an AioRpcError from the peer stands for, with its reason, field and retry time."""
    try:
        yield
    except AioRpcError as exc:
        raise error_from(exc, peer) from exc


def error_from(exc: AioRpcError, peer: str) -> FlotillaError:
    """Returns the error; what gRPC itself says (addresses, sizes, causes) stays out of the message."""
    details = details_in(exc.trailing_metadata() or ())
    if details is not None:
        return error_for(
            exc.code(),
            exc.details() or "",
            reason=details.reason,
            field=details.field,
            retry_after_s=details.retry_after_s,
        )
    message = _OWN_WORDS.get(exc.code(), "the call to {peer} failed").format(peer=peer)
    return error_for(exc.code(), message, reason=f"{peer}_{exc.code().name.lower()}")
