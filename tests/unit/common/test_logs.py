import asyncio
import io
import json
import logging
import subprocess
import sys
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
    log.warning("idle")

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


async def test_lines_of_a_moment_are_written_after_the_work_and_in_order() -> None:
    stream = configured("json")

    log.info("first")
    log.info("second")
    at_once = lines(stream)
    async with asyncio.timeout(5):
        while not lines(stream):  # noqa: ASYNC110 - a stream sends no event
            await asyncio.sleep(0.001)

    assert at_once == []
    assert [line["message"] for line in lines(stream)] == ["first", "second"]


async def test_lines_that_become_many_are_written_at_once() -> None:
    stream = configured("json")

    for number in range(150):
        log.info("line %d", number)

    assert [line["message"] for line in lines(stream)] == [f"line {number}" for number in range(100)]


async def test_warning_is_written_at_once_with_what_came_before() -> None:
    stream = configured("json")

    log.info("before")
    log.warning("odd")

    assert [line["message"] for line in lines(stream)] == ["before", "odd"]


def test_line_of_an_event_loop_that_ended_is_written_with_the_next() -> None:
    stream = configured("json")

    async def work() -> None:
        log.info("in the loop")

    asyncio.run(work())
    at_once = lines(stream)
    log.info("after it")

    assert at_once == []
    assert [line["message"] for line in lines(stream)] == ["in the loop", "after it"]


async def test_line_of_another_thread_is_written_at_once() -> None:
    stream = configured("json")

    await asyncio.to_thread(log.info, "outside of the loop")

    assert [line["message"] for line in lines(stream)] == ["outside of the loop"]


def test_process_that_ends_writes_what_waits() -> None:
    program = """
import asyncio, logging
from flotilla_common.logs import configure_logs
from flotilla_common.settings import ProcessSettings

async def main():
    logging.getLogger("flotilla.test").info("last words")

configure_logs(ProcessSettings(), "memory")
asyncio.run(main())
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert json.loads(done.stdout)["message"] == "last words"


async def test_line_that_cannot_be_formatted_takes_no_other_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    stream = configured("json")

    log.info("one of %d", "words")
    log.warning("fine")

    assert [line["message"] for line in lines(stream)] == ["fine"]
    assert "TypeError" in capsys.readouterr().err
