"""Error details on the wire: google.rpc.Status in the trailing metadata `grpc-status-details-bin`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo  # type: ignore[import-untyped] # it has no stubs
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped] # it has no stubs
from grpc import StatusCode

from flotilla_common.errors import FlotillaError

DETAILS_KEY = "grpc-status-details-bin"
DOMAIN = "flotilla"
UNSPECIFIED = "unspecified"
"""The reason of an error without one; it still tells our errors from those that gRPC itself makes."""


@dataclass(frozen=True, slots=True)
class Details:
    """What an error says besides its code and message."""

    reason: str | None = None
    field: str | None = None
    retry_after_s: float | None = None


def pack(error: FlotillaError, code: StatusCode) -> bytes:
    """Returns the error as a serialised google.rpc.Status."""
    number: int = code.value[0]
    status = Status(code=number, message=error.message)
    status.details.add().Pack(ErrorInfo(reason=error.reason or UNSPECIFIED, domain=DOMAIN))
    if error.field is not None:
        violation = BadRequest.FieldViolation(field=error.field, description=error.message)
        status.details.add().Pack(BadRequest(field_violations=[violation]))
    if error.retry_after_s is not None:
        retry = RetryInfo()
        retry.retry_delay.FromNanoseconds(int(error.retry_after_s * 1e9))
        status.details.add().Pack(retry)
    packed: bytes = status.SerializeToString()
    return packed


def details_in(trailing: Iterable[tuple[str, str | bytes]]) -> Details | None:
    """Returns what a status says besides its code and message, or None if it is none of ours."""
    for key, value in trailing:
        if key == DETAILS_KEY and isinstance(value, bytes):
            return unpack(value)
    return None


def unpack(packed: bytes) -> Details | None:
    """Returns what `pack` was given, or None if the bytes are nobody's status of ours."""
    try:
        status = Status.FromString(packed)
    except DecodeError:
        return None
    info, request, retry = ErrorInfo(), BadRequest(), RetryInfo()
    for detail in status.details:
        _ = detail.Unpack(info) or detail.Unpack(request) or detail.Unpack(retry)
    if info.domain != DOMAIN:
        return None
    return Details(
        reason=info.reason if info.reason != UNSPECIFIED else None,
        field=request.field_violations[0].field if request.field_violations else None,
        retry_after_s=retry.retry_delay.ToNanoseconds() / 1e9 if retry.HasField("retry_delay") else None,
    )
