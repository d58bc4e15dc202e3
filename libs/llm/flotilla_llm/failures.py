"""How a model call fails: each reason is one error class, and one line says what the model layer does about it."""

from __future__ import annotations

from dataclasses import dataclass

from flotilla_common.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    FlotillaError,
    InvalidArgumentError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnavailableError,
)


@dataclass(frozen=True, slots=True)
class Handling:
    """What may be done about a reason before the reply's first token."""

    error: type[FlotillaError]
    repeats: bool
    """The same route may be asked again."""
    falls_back: bool
    """The next route may be asked."""
    trips: bool
    """It counts against the route's breaker."""


_YES, _NO = True, False
HANDLING = {
    #                                                            repeats falls_back trips
    "model_unavailable": Handling(UnavailableError,                 _YES, _YES, _YES),
    "model_stream_broken": Handling(UnavailableError,               _YES, _YES, _YES),
    "model_bad_reply": Handling(UnavailableError,                   _YES, _YES, _YES),
    "model_timeout": Handling(DeadlineExceededError,                _NO,  _YES, _YES),
    "model_rate_limited": Handling(UnavailableError,                _YES, _YES, _NO),
    "model_saturated": Handling(UnavailableError,                   _NO,  _YES, _NO),
    "model_circuit_open": Handling(UnavailableError,                _NO,  _YES, _NO),
    "model_quota_spent": Handling(ResourceExhaustedError,           _NO,  _YES, _NO),
    "model_credentials_refused": Handling(FailedPreconditionError,  _NO,  _YES, _YES),
    "model_not_found": Handling(FailedPreconditionError,            _NO,  _YES, _YES),
    "model_context_exceeded": Handling(InvalidArgumentError,        _NO,  _YES, _NO),
    "model_content_filtered": Handling(PermissionDeniedError,       _NO,  _NO,  _NO),
    "model_rejected": Handling(InvalidArgumentError,                _NO,  _NO,  _NO),
}  # fmt: skip

_NEVER = Handling(FlotillaError, repeats=False, falls_back=False, trips=False)


def failure(reason: str, message: str, *, retry_after_s: float | None = None) -> FlotillaError:
    """Returns the error of that reason, to be raised."""
    return HANDLING[reason].error(message, reason=reason, retry_after_s=retry_after_s)


def handling(error: FlotillaError) -> Handling:
    """Returns what may be done about an error; nothing when its reason is not ours."""
    return HANDLING.get(error.reason or "", _NEVER)
