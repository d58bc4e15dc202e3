import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from flotilla_common.identity import Identity
from flotilla_common.logs import bind_log_fields, configure_logs
from flotilla_common.request import acting_as
from flotilla_common.settings import LogFormat, ProcessSettings
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext

log = logging.getLogger("flotilla.test")


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def configured(log_format: LogFormat) -> io.StringIO:
    stream = io.StringIO()
    configure_logs(ProcessSettings(log_format=log_format, replica="memory-1"), "memory", stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_line_says_who_logged_what() -> None:
    stream = configured("json")

    log.warning("thing happened", extra={"count": 3})

    (line,) = lines(stream)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "WARNING",
        "logger": "flotilla.test",
        "message": "thing happened",
        "service": "memory",
        "replica": "memory-1",
        "count": 3,
    }


def test_line_carries_request_and_trace_by_itself() -> None:
    stream = configured("json")
    identity = Identity(uuid4(), uuid4(), run_id=uuid4())
    span = NonRecordingSpan(SpanContext(1, 2, is_remote=False))

    with acting_as(identity, request_id="r-1"), trace.use_span(span):
        log.info("inside")
    log.info("outside")

    inside, outside = lines(stream)
    assert (inside["tenant_id"], inside["user_id"]) == (str(identity.tenant_id), str(identity.user_id))
    assert (inside["run_id"], inside["request_id"]) == (str(identity.run_id), "r-1")
    assert (inside["trace_id"], inside["span_id"]) == (f"{1:032x}", f"{2:016x}")
    assert not {"trace_id", "tenant_id", "run_id"} & outside.keys()


async def test_bound_fields_belong_to_the_task_that_bound_them() -> None:
    stream = configured("json")

    async def work(run_id: str) -> None:
        bind_log_fields(run_id=run_id)
        await asyncio.sleep(0)
        bind_log_fields(thread_id="t")
        log.info("working")

    await asyncio.gather(work("a"), work("b"))
    log.info("idle")

    assert [line.get("run_id") for line in lines(stream)] == ["a", "b", None]
    assert [line.get("thread_id") for line in lines(stream)] == ["t", "t", None]


def test_json_line_holds_the_traceback() -> None:
    stream = configured("json")

    try:
        raise RuntimeError("boom")
    except RuntimeError:
        log.exception("failed")

    assert "RuntimeError: boom" in lines(stream)[0]["exc_info"]


def test_field_that_json_does_not_know_does_not_lose_the_line() -> None:
    stream = configured("json")

    log.info("odd", extra={"value": object(), "ids": {uuid4()}})

    assert lines(stream)[0]["message"] == "odd"


def test_text_line_is_readable() -> None:
    stream = configured("text")

    log.info("thing happened", extra={"count": 3})

    assert stream.getvalue().endswith("INFO    memory flotilla.test: thing happened count=3\n")
