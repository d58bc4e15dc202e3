import pytest
from flotilla_common import errors
from flotilla_common.errors import FlotillaError
from flotilla_common.status import error_for, grpc_code, http_status
from grpc import StatusCode

TABLE = [
    (errors.InvalidArgumentError, StatusCode.INVALID_ARGUMENT, 400),
    (errors.UnauthenticatedError, StatusCode.UNAUTHENTICATED, 401),
    (errors.PermissionDeniedError, StatusCode.PERMISSION_DENIED, 403),
    (errors.NotFoundError, StatusCode.NOT_FOUND, 404),
    (errors.AlreadyExistsError, StatusCode.ALREADY_EXISTS, 409),
    (errors.FailedPreconditionError, StatusCode.FAILED_PRECONDITION, 400),
    (errors.ResourceExhaustedError, StatusCode.RESOURCE_EXHAUSTED, 429),
    (errors.AbortedError, StatusCode.ABORTED, 409),
    (errors.UnavailableError, StatusCode.UNAVAILABLE, 503),
    (errors.DeadlineExceededError, StatusCode.DEADLINE_EXCEEDED, 504),
    (errors.CancelledError, StatusCode.CANCELLED, 499),
    (errors.InternalError, StatusCode.INTERNAL, 500),
]


@pytest.mark.parametrize(("kind", "code", "http"), TABLE)
def test_error_has_one_code_and_one_http_status(kind: type[FlotillaError], code: StatusCode, http: int) -> None:
    error = kind("why")

    assert grpc_code(error) is code
    assert http_status(error) == http
    assert type(error_for(code, "why")) is kind


def test_table_knows_every_error_class() -> None:
    tree = {kind for kind in FlotillaError.__subclasses__() if kind.__module__ == errors.__name__}

    assert {kind for kind, _, _ in TABLE} == tree


@pytest.mark.parametrize("code", [StatusCode.UNKNOWN, StatusCode.UNIMPLEMENTED, StatusCode.DATA_LOSS])
def test_code_without_a_class_is_our_fault(code: StatusCode) -> None:
    assert type(error_for(code, "why")) is errors.InternalError


def test_error_for_keeps_what_the_error_says() -> None:
    error = error_for(StatusCode.ABORTED, "busy", reason="thread_busy", field="thread_id", retry_after_s=1.5)

    assert (error.message, error.reason, error.field, error.retry_after_s) == ("busy", "thread_busy", "thread_id", 1.5)


def test_subclass_of_an_error_counts_as_the_error() -> None:
    class ThreadBusyError(errors.AbortedError):
        pass

    assert grpc_code(ThreadBusyError("busy")) is StatusCode.ABORTED


def test_bare_error_is_our_fault() -> None:
    assert http_status(FlotillaError("what")) == 500
