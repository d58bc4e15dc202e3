"""What an exception of a graph means for its run: status, class, reason, and a sentence for the caller."""

from __future__ import annotations

import logging

from flotilla_common import errors
from flotilla_common.ids import new_id
from langgraph.errors import GraphRecursionError

from flotilla_orchestrator.model import ErrorClass, RunError, RunStatus

_log = logging.getLogger(__name__)

Failure = tuple[RunStatus, RunError]

CANCELLED: Failure = (
    RunStatus.CANCELLED,
    RunError(ErrorClass.PERMANENT, "cancelled", "The run was cancelled."),
)
TIMED_OUT: Failure = (
    RunStatus.TIMED_OUT,
    RunError(ErrorClass.BUDGET, "time_limit", "The run took longer than its time limit."),
)
CRASHED_TOO_OFTEN: Failure = (
    RunStatus.DEAD_LETTERED,
    RunError(ErrorClass.PERMANENT, "crashed_too_often", "The run crashed too often and was given up."),
)
_STEP_LIMIT: Failure = (
    RunStatus.FAILED,
    RunError(ErrorClass.BUDGET, "step_limit", "The run took more steps than its agent allows."),
)
_CLASSES: dict[type[errors.FlotillaError], tuple[ErrorClass, str]] = {
    errors.UnavailableError: (ErrorClass.RETRYABLE, "unavailable"),
    errors.DeadlineExceededError: (ErrorClass.RETRYABLE, "deadline_exceeded"),
    errors.AbortedError: (ErrorClass.RETRYABLE, "aborted"),
    errors.ResourceExhaustedError: (ErrorClass.BUDGET, "exhausted"),
    errors.PermissionDeniedError: (ErrorClass.POLICY, "permission_denied"),
    errors.UnauthenticatedError: (ErrorClass.POLICY, "unauthenticated"),
}


def failure_of(error: Exception) -> Failure:
    """Returns what a run ends with; what nobody foresaw is logged under an id, and the caller learns only the id."""
    if isinstance(error, GraphRecursionError):
        return _STEP_LIMIT
    if isinstance(error, errors.CancelledError):
        return CANCELLED
    if isinstance(error, errors.FlotillaError) and not isinstance(error, errors.InternalError):
        error_class, reason = _CLASSES.get(type(error), (ErrorClass.PERMANENT, "refused"))
        return RunStatus.FAILED, RunError(error_class, error.reason or reason, error.message)
    error_id = str(new_id())
    _log.error("a run's graph failed", extra={"error_id": error_id}, exc_info=error)
    message = f"An internal error occurred (error_id {error_id})."
    return RunStatus.FAILED, RunError(ErrorClass.PERMANENT, "graph_error", message)
