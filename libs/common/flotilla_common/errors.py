"""The errors of Flotilla, named as gRPC's codes; this module knows no transport.

FlotillaError
├── InvalidArgumentError      the request is wrong whatever the state is
├── UnauthenticatedError      nobody, or not who they say
├── PermissionDeniedError     known, but not allowed
├── NotFoundError             not there, or not for this caller
├── AlreadyExistsError        the id is taken
├── FailedPreconditionError   the state must change first
├── ResourceExhaustedError    a limit or budget is spent
├── AbortedError              lost against somebody else; the same again may win
├── UnavailableError          a dependency is away; the same again may succeed
├── DeadlineExceededError     out of time
├── CancelledError            somebody asked to stop
└── InternalError             our fault
"""

from __future__ import annotations


class FlotillaError(Exception):
    """A failure with a class, a message for the caller and, where it helps, a machine-readable reason.

    message: one sentence that may be shown to the caller.
    reason: machine-readable, snake_case, such as "thread_busy".
    field: the request field at fault, such as "messages[2].role".
    retry_after_s: seconds after which the same request may succeed.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        field: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.field = field
        self.retry_after_s = retry_after_s


class InvalidArgumentError(FlotillaError):
    """The request is wrong whatever the state is."""


class UnauthenticatedError(FlotillaError):
    """The caller is nobody, or not who they say."""


class PermissionDeniedError(FlotillaError):
    """The caller is known but not allowed."""


class NotFoundError(FlotillaError):
    """The thing is not there, or not for this caller."""


class AlreadyExistsError(FlotillaError):
    """The id is taken."""


class FailedPreconditionError(FlotillaError):
    """The state must change before this can succeed."""


class ResourceExhaustedError(FlotillaError):
    """A limit or budget is spent."""


class AbortedError(FlotillaError):
    """Lost against somebody else; the same again may win."""


class UnavailableError(FlotillaError):
    """A dependency is away; the same again may succeed."""


class DeadlineExceededError(FlotillaError):
    """Out of time."""


class CancelledError(FlotillaError):
    """Somebody asked to stop."""


class InternalError(FlotillaError):
    """Our fault."""
