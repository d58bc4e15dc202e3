from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from flotilla_common.rpc.details import pack
from flotilla_common.status import grpc_code
from flotilla_llm.failures import failure
from flotilla_llm.openai_wire.problems import error_in, error_in_stream, provider_error, retry_after_s
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (400, {"message": "bad field"}, "model_rejected"),
        (400, {"code": "context_length_exceeded"}, "model_context_exceeded"),
        (400, {"message": "This model's maximum context length is 8192 tokens."}, "model_context_exceeded"),
        (400, {"code": "content_filter"}, "model_content_filtered"),
        (401, {"message": "Incorrect API key provided: sk-secret"}, "model_credentials_refused"),
        (403, {}, "model_credentials_refused"),
        (404, {}, "model_not_found"),
        (402, {}, "model_quota_spent"),
        (429, {"code": "insufficient_quota"}, "model_quota_spent"),
        (429, {}, "model_rate_limited"),
        (408, {}, "model_unavailable"),
        (500, {}, "model_unavailable"),
        (529, {}, "model_unavailable"),
        (302, {}, "model_unavailable"),
    ],
)
def test_status_has_its_reason(status: int, error: dict[str, str], reason: str) -> None:
    assert provider_error(status, error).reason == reason


def test_refused_credentials_do_not_quote_the_provider() -> None:
    assert "sk-secret" not in provider_error(401, {"message": "Incorrect API key provided: sk-secret"}).message


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ({"code": 429}, "model_rate_limited"),
        ({"code": "502"}, "model_unavailable"),
        ({"type": "invalid_request_error", "message": "no"}, "model_rejected"),
        ({"message": "overloaded"}, "model_unavailable"),
    ],
)
def test_error_event_has_its_reason(error: dict[str, object], reason: str) -> None:
    assert error_in_stream(error).reason == reason


@pytest.mark.parametrize("body", [{"error": {"message": "m"}}, [{"error": {"message": "m"}}], {"error": "m"}, "m"])
def test_error_is_found_in_every_shape(body: object) -> None:
    assert error_in(body)["message"] == "m"


def test_retry_after_is_read_in_seconds_milliseconds_and_as_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)

    assert retry_after_s({"Retry-After": "7"}) == 7
    assert retry_after_s({"retry-after-ms": "250", "Retry-After": "7"}) == 0.25
    assert 25 < (retry_after_s({"Retry-After": later}) or 0) <= 30
    assert retry_after_s({"Retry-After": "soon"}) is None
    assert retry_after_s({}) is None


def test_retry_after_as_a_date_without_a_zone_is_utc() -> None:
    later = (datetime.now(UTC) + timedelta(seconds=30)).strftime("%a, %d %b %Y %H:%M:%S -0000")

    assert 25 < (retry_after_s({"Retry-After": later}) or 0) <= 30


@pytest.mark.parametrize(
    "value",
    [
        "",
        "nan",
        "-1",
        "inf",
        "1e300",
        "Wed, 21 Oct 99999999999999999999 07:28:00 GMT",
        "Wed, 21 Oct 2030 07:28:00 +999999999999999999",
        "Wed, 41 Oct 2030 07:28:00 GMT",
    ],
)
def test_retry_after_that_cannot_be_read_is_absent(value: str) -> None:
    assert retry_after_s({"Retry-After": value}) is None
    assert retry_after_s({"retry-after-ms": value}) is None


@given(
    st.text()
    | st.floats().map(str)
    | st.integers().map(str)
    | st.from_regex(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{1,20} \d{1,2}:\d{1,2}:\d{1,2} ([+-]\d{1,20}|[A-Z]{1,3})")
    | st.datetimes().map(lambda moment: moment.strftime("%a, %d %b %Y %H:%M:%S -0000"))
)
def test_every_retry_after_is_a_wait_that_can_be_told_or_absent(value: str) -> None:
    seconds = retry_after_s({"Retry-After": value})

    assert seconds is None or seconds >= 0
    error = failure("model_rate_limited", "Too often.", retry_after_s=seconds)
    assert pack(error, grpc_code(error))
