"""The one table: error class ↔ gRPC status code ↔ HTTP status."""

from __future__ import annotations

from typing import NamedTuple

from grpc import StatusCode

from flotilla_common import errors
from flotilla_common.errors import FlotillaError


class _Row(NamedTuple):
    error: type[FlotillaError]
    code: StatusCode
    http: int


_TABLE = (
    _Row(errors.InvalidArgumentError, StatusCode.INVALID_ARGUMENT, 400),
    _Row(errors.UnauthenticatedError, StatusCode.UNAUTHENTICATED, 401),
    _Row(errors.PermissionDeniedError, StatusCode.PERMISSION_DENIED, 403),
    _Row(errors.NotFoundError, StatusCode.NOT_FOUND, 404),
    _Row(errors.AlreadyExistsError, StatusCode.ALREADY_EXISTS, 409),
    _Row(errors.FailedPreconditionError, StatusCode.FAILED_PRECONDITION, 400),
    _Row(errors.ResourceExhaustedError, StatusCode.RESOURCE_EXHAUSTED, 429),
    _Row(errors.AbortedError, StatusCode.ABORTED, 409),
    _Row(errors.UnavailableError, StatusCode.UNAVAILABLE, 503),
    _Row(errors.DeadlineExceededError, StatusCode.DEADLINE_EXCEEDED, 504),
    _Row(errors.CancelledError, StatusCode.CANCELLED, 499),
    _Row(errors.InternalError, StatusCode.INTERNAL, 500),
)
_BY_ERROR = {row.error: row for row in _TABLE}
_BY_CODE = {row.code: row for row in _TABLE} | {
    # Codes that only gRPC itself sends, or that say no more to us than these.
    StatusCode.OUT_OF_RANGE: _BY_ERROR[errors.InvalidArgumentError],
}
_BY_NUMBER: dict[int, StatusCode] = {code.value[0]: code for code in StatusCode}
_INTERNAL = _BY_ERROR[errors.InternalError]
OUR_FAULT = frozenset({StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.DATA_LOSS, StatusCode.UNIMPLEMENTED})
"""Codes that are a defect of ours, whoever called."""


def code_of_number(number: int) -> StatusCode:
    """Returns the gRPC code that travels as this number; UNKNOWN for one that stands for none."""
    return _BY_NUMBER.get(number, StatusCode.UNKNOWN)


def grpc_code(error: FlotillaError) -> StatusCode:
    """Returns the gRPC code of an error."""
    return _row(error).code


def http_status(error: FlotillaError) -> int:
    """Returns the HTTP status of an error."""
    return _row(error).http


def error_for(
    code: StatusCode,
    message: str,
    *,
    reason: str | None = None,
    field: str | None = None,
    retry_after_s: float | None = None,
) -> FlotillaError:
    """Returns the error that a gRPC code stands for; a code without a class of its own is an InternalError."""
    error = _BY_CODE.get(code, _INTERNAL).error
    return error(message, reason=reason, field=field, retry_after_s=retry_after_s)


def _row(error: FlotillaError) -> _Row:
    # A service may subclass an error: the nearest class in the table counts.
    return next((_BY_ERROR[kind] for kind in type(error).__mro__ if kind in _BY_ERROR), _INTERNAL)
