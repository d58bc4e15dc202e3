"""Errors as the OpenAI wire shows them: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

from typing import Any

import orjson
from flotilla.orchestrator.v1.event_pb2 import RunFailed
from flotilla.orchestrator.v1.run_pb2 import (
    ERROR_CLASS_BUDGET,
    ERROR_CLASS_POLICY,
    ERROR_CLASS_RETRYABLE,
    RUN_STATUS_CANCELLED,
    RUN_STATUS_TIMED_OUT,
)
from flotilla_common.errors import (
    AbortedError,
    CancelledError,
    DeadlineExceededError,
    FlotillaError,
    InternalError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnavailableError,
)
from flotilla_common.status import http_status

IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
_STATUS_BY_REASON = {
    IDEMPOTENCY_KEY_REUSED: 422,
    "body_too_large": 413,
    "unsupported_encoding": 415,
    "body_too_slow": 408,
    "method_not_allowed": 405,
}
_TYPES = {403: "permission_error", 429: "rate_limit_error"}
# Clients know these two by OpenAI's own codes.
_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}


class RunEndedError(FlotillaError):
    """A run was accepted and gave no answer: the same request again would be another run."""

    def __init__(self, cause: FlotillaError) -> None:
        super().__init__(cause.message, reason=cause.reason, field=cause.field, retry_after_s=cause.retry_after_s)
        self.cause = cause


def status_of(error: FlotillaError) -> int:
    """Returns the HTTP status of an error."""
    cause = error.cause if isinstance(error, RunEndedError) else error
    return _STATUS_BY_REASON.get(cause.reason or "") or http_status(cause)


def may_retry(error: FlotillaError) -> bool:
    """Whether a client that repeats the request by itself does no harm and may succeed."""
    return not isinstance(error, RunEndedError | AbortedError | DeadlineExceededError | CancelledError)


def error_object(error: FlotillaError) -> dict[str, Any]:
    """Returns the value of `error`."""
    status = status_of(error)
    return {
        "message": error.message,
        "type": _TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error"),
        "param": error.field,
        "code": error.reason or _CODES.get(status),
    }


def error_body(error: FlotillaError) -> bytes:
    """Returns a reply's body."""
    return orjson.dumps({"error": error_object(error)})


def model_not_found(model: str) -> NotFoundError:
    """Returns the error for an agent or release that is not there, in the words that this wire's clients know."""
    return NotFoundError(f"The model '{model}' does not exist.", reason="model_not_found", field="model")


def run_failure(failed: RunFailed) -> RunEndedError:
    """Returns the error that a run ended with."""
    message = failed.error.message or "The run ended without an answer."
    return RunEndedError(_kind_of(failed)(message, reason=failed.error.reason or None))


def _kind_of(failed: RunFailed) -> type[FlotillaError]:
    if failed.status == RUN_STATUS_CANCELLED:
        return CancelledError
    if failed.status == RUN_STATUS_TIMED_OUT:
        return DeadlineExceededError
    by_class: dict[int, type[FlotillaError]] = {
        ERROR_CLASS_RETRYABLE: UnavailableError,
        ERROR_CLASS_BUDGET: ResourceExhaustedError,
        ERROR_CLASS_POLICY: PermissionDeniedError,
    }
    return by_class.get(failed.error.error_class, InternalError)
