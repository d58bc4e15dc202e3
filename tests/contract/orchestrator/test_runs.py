"""flotilla.orchestrator.v1: runs on a real server, each success and each failure that the contract names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable
from typing import Any
from uuid import uuid4

import grpc
import pytest
from contract.leaf_service import person
from contract.orchestrator.conftest import Service
from fakes.model_script import Reply, always, in_turn
from fakes.run_engine import is_dense, kinds, start_request, text_of, until
from flotilla.common.v1 import message_pb2 as common
from flotilla.orchestrator.v1 import event_pb2, run_pb2
from flotilla.orchestrator.v1 import orchestrator_service_pb2 as pb
from flotilla_common.errors import FlotillaError, UnavailableError
from flotilla_common.ids import new_id
from flotilla_common.request import acting_as, current_identity
from flotilla_common.rpc.guard import map_rpc_errors
from grpc import aio

WEATHER = common.ToolDefinition(name="weather", description="Tells the weather.", parameters_json=b'{"type":"object"}')


async def read(stream: AsyncIterable[Any]) -> list[event_pb2.RunEvent]:
    found: list[event_pb2.RunEvent] = []
    async with asyncio.timeout(10):
        async for response in stream:
            found.extend(response.events)
    return found


async def started(service: Service, request: pb.StartRunRequest) -> list[event_pb2.RunEvent]:
    return await read(service.stub.StartRun(request))


async def refusal(call: Any) -> tuple[grpc.StatusCode, FlotillaError]:
    with pytest.raises(aio.AioRpcError) as caught:
        await (read(call) if hasattr(call, "__aiter__") else call)
    code = caught.value.code()
    assert isinstance(code, grpc.StatusCode)
    with pytest.raises(FlotillaError) as ours, map_rpc_errors("orchestrator"):
        raise caught.value
    return code, ours.value


async def test_log_that_is_larger_than_a_message_is_read_in_several(service: Service) -> None:
    service.tools.tools["calculator"] = lambda args: "x" * 64_000
    service.model.script = in_turn(Reply(calls=[("calculator", "{}")] * 40), Reply("It is large."))

    log = await started(service, request := start_request("Go", agent="worker"))
    replayed = await read(service.stub.WatchRun(pb.WatchRunRequest(run_id=request.run_id)))

    assert log[-1].done.answer.content == "It is large."
    assert is_dense(log)
    assert sum(event.ByteSize() for event in log) > 4 * 1024 * 1024
    assert replayed == log


async def test_start_run_streams_the_log_to_its_end(service: Service) -> None:
    request = start_request("Hi")

    log = await started(service, request)

    assert is_dense(log)
    assert (kinds(log)[0], kinds(log)[-1]) == ("accepted", "done")
    assert log[0].accepted.run_id == request.run_id
    assert text_of(log) == log[-1].done.answer.content == "Hello there"
    assert log[-1].done.finish_reason == run_pb2.FINISH_REASON_STOP


async def test_short_run_that_nobody_reads_along_is_told_in_one_message(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flotilla_orchestrator.server.servicer._NOBODY_READS_ALONG_S", 10.0)

    responses = [response async for response in service.stub.StartRun(start_request("Hi", omit_tokens=True))]

    assert [kinds(response.events)[-1] for response in responses] == ["done"]
    assert is_dense(responses[0].events)


async def test_long_run_that_nobody_reads_along_says_that_it_is_accepted(service: Service) -> None:
    service.model.script = always("Hello there", hold_after=0)
    stream = service.stub.StartRun(start_request("Hi", omit_tokens=True))

    async with asyncio.timeout(5):
        first = await anext(aiter(stream))
        service.model.go_on.set()
        rest = await read(stream)

    assert kinds(first.events) == ["accepted"]
    assert kinds(rest)[-1] == "done"


async def test_repeated_start_that_nobody_reads_along_is_told_the_same(service: Service) -> None:
    request = start_request("Hi", omit_tokens=True)

    assert await started(service, request) == await started(service, request)


async def test_run_goes_on_when_its_stream_is_cancelled(service: Service) -> None:
    service.model.script = always("Hello there", hold_after=1)
    request = start_request("Hi")
    stream = service.stub.StartRun(request)
    await service.model.holding.wait()
    stream.cancel()
    service.model.go_on.set()

    log = await read(service.stub.WatchRun(pb.WatchRunRequest(run_id=request.run_id)))

    assert log[-1].done.answer.content == "Hello there"


async def test_watch_run_goes_on_after_a_sequence_and_ends(service: Service) -> None:
    request = start_request("Hi")
    whole = await started(service, request)

    rest = await read(service.stub.WatchRun(pb.WatchRunRequest(run_id=request.run_id, after_sequence=2)))
    nothing = await read(service.stub.WatchRun(pb.WatchRunRequest(run_id=request.run_id, after_sequence=len(whole))))

    assert rest == whole[2:]
    assert nothing == []


async def test_start_run_again_watches_the_same_run(service: Service) -> None:
    request = start_request("Hi")

    first, second = await started(service, request), await started(service, request)

    assert first == second
    assert len(service.model.requests) == 1


async def test_idempotency_key_gives_the_run_of_the_first_request(service: Service) -> None:
    with acting_as(current_identity(), idempotency_key="key-1"):
        first = await started(service, start_request("Hi"))
        second = await started(service, start_request("Hi"))
        code, error = await refusal(service.stub.StartRun(start_request("Hi", body_hash=b"other")))

    assert first == second
    assert (code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "idempotency_key_reused")


async def test_thread_keeps_its_history_between_runs(service: Service) -> None:
    thread = pb.RunThread(thread_id=str(uuid4()), create_if_missing=True)

    await started(service, start_request("One", thread=thread))
    await started(service, start_request("Two", thread=thread))

    assert [message["content"] for message in service.model.requests[1].messages[1:]] == ["One", "Hello there", "Two"]


async def test_busy_thread_is_aborted(service: Service) -> None:
    service.model.script = always("Hello", hold_after=0)
    thread = pb.RunThread(thread_id=str(uuid4()), create_if_missing=True)
    first = asyncio.create_task(started(service, start_request("One", thread=thread)))
    await service.model.holding.wait()

    code, error = await refusal(service.stub.StartRun(start_request("Two", thread=thread)))
    service.model.go_on.set()
    await first

    assert (code, error.reason) == (grpc.StatusCode.ABORTED, "thread_busy")


async def test_callers_tool_ends_the_run_and_its_answer_goes_on(service: Service) -> None:
    call = Reply(calls=[("weather", '{"city": "Ulm"}')])
    service.model.script = in_turn(call, Reply("It is sunny."))
    options = pb.RunOptions(caller_tools=[WEATHER])

    asked = await started(service, start_request("Weather?", options=options))
    tool_call = asked[-1].done.answer.tool_calls[0]
    answer = common.Message(role=common.MESSAGE_ROLE_TOOL, tool_call_id=tool_call.id, content="sunny")
    thread = pb.RunThread(answered_tool_call_id=tool_call.id)
    given = start_request(thread=thread, input=pb.RunInput(messages=[answer]), options=options)
    log = await started(service, given)
    code, _ = await refusal(service.stub.StartRun(start_request(thread=thread, input=pb.RunInput(messages=[answer]))))

    assert asked[-1].done.finish_reason == run_pb2.FINISH_REASON_TOOL_CALLS
    assert (tool_call.name, tool_call.arguments_json) == ("weather", b'{"city": "Ulm"}')
    assert log[-1].done.answer.content == "It is sunny."
    assert [message["role"] for message in service.model.requests[1].messages] == [
        "system",
        "user",
        "assistant",
        "tool",
    ]
    assert code is grpc.StatusCode.NOT_FOUND


async def test_mixed_step_runs_server_tools_first_and_returns_the_callers_calls_only(service: Service) -> None:
    service.model.script = in_turn(Reply(calls=[("calculator", "{}"), ("weather", "{}")]))

    log = await started(service, start_request("?", agent="worker", options=pb.RunOptions(caller_tools=[WEATHER])))

    assert [call.name for call in service.tools.invoked] == ["calculator"]
    assert [call.name for call in log[-1].done.answer.tool_calls] == ["weather"]
    assert len(service.model.requests) == 1


async def test_tool_that_is_down_is_a_failed_result(service: Service) -> None:
    service.model.script = in_turn(Reply(calls=[("calculator", "{}")]), Reply("I cannot say."))
    service.tools.is_away = True

    log = await started(service, start_request("?", agent="worker"))

    ended = [event.tool for event in log if event.tool.phase == event_pb2.TOOL_PHASE_FAILED]
    assert log[-1].HasField("done")
    assert [progress.reason for progress in ended] == ["outcome_unknown"]


async def test_missing_memory_is_no_failure_and_the_warning_names_the_run(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.memory.is_away = True

    log = await started(service, start_request("Hi"))

    assert log[-1].HasField("done")
    (warning,) = [record for record in caplog.records if record.message == "memory is left out"]
    assert warning.__dict__["run_id"] == log[0].accepted.run_id


async def test_model_that_is_away_fails_the_run_with_its_reason(service: Service) -> None:
    service.model.script = in_turn(Reply(error=UnavailableError("No model.", reason="model_unavailable")))

    log = await started(service, start_request("Hi"))

    failed = log[-1].failed
    assert (failed.status, failed.error.reason) == (run_pb2.RUN_STATUS_FAILED, "model_unavailable")
    assert failed.error.error_class == run_pb2.ERROR_CLASS_RETRYABLE


async def test_stream_that_breaks_is_begun_again_without_a_token_twice(service: Service) -> None:
    service.model.script = in_turn(Reply("one two three four", cut_after=2), Reply("one two three four"))

    log = await started(service, start_request("Count"))

    assert "".join(event.token.text for event in log) == "one two three four"
    assert "reply_restarted" not in kinds(log)


async def test_unforeseen_failure_shows_an_id_and_nothing_else(service: Service) -> None:
    service.model.script = in_turn(Reply(error=RuntimeError("secret detail")))

    log = await started(service, start_request("Hi"))

    assert log[-1].failed.error.reason == "graph_error"
    assert "error_id" in log[-1].failed.error.message
    assert "secret" not in str(log[-1])


async def test_time_limit_ends_the_run(service: Service) -> None:
    service.model.script = always("Hello", hold_after=0)
    request = start_request("Hi")
    request.time_limit.FromMilliseconds(200)

    log = await started(service, request)

    assert log[-1].failed.status == run_pb2.RUN_STATUS_TIMED_OUT
    assert log[-1].failed.error.reason == "time_limit"


async def test_cancel_run_ends_it_and_leaves_a_finished_one(service: Service) -> None:
    service.model.script = always("Hello there", hold_after=1)
    request = start_request("Hi")
    reading = asyncio.create_task(started(service, request))
    await service.model.holding.wait()

    await service.stub.CancelRun(pb.CancelRunRequest(run_id=request.run_id))
    log = await reading
    again = await service.stub.CancelRun(pb.CancelRunRequest(run_id=request.run_id))

    assert log[-1].failed.status == run_pb2.RUN_STATUS_CANCELLED
    assert again.run.status == run_pb2.RUN_STATUS_CANCELLED
    assert service.model.closed == 1


async def test_get_run_shows_answer_and_usage(service: Service) -> None:
    request = start_request("Hi", metadata_json=b'{"a": 1}')
    await started(service, request)

    run = (await service.stub.GetRun(pb.GetRunRequest(run_id=request.run_id))).run

    assert (run.status, run.attempt, run.agent) == (run_pb2.RUN_STATUS_SUCCEEDED, 1, "plain")
    assert run.answer.content == "Hello there"
    assert run.usage[0].cost_micro_usd == 7
    assert run.metadata_json == b'{"a":1}'


async def test_list_runs_pages_newest_first(service: Service) -> None:
    thread = pb.RunThread(thread_id=str(uuid4()), create_if_missing=True)
    made = [start_request(str(number), thread=thread) for number in range(3)]
    for request in made:
        await started(service, request)

    first = await service.stub.ListRuns(pb.ListRunsRequest(thread_id=thread.thread_id, page_size=2))
    rest = await service.stub.ListRuns(
        pb.ListRunsRequest(thread_id=thread.thread_id, page_size=2, page_token=first.next_page_token)
    )

    assert [run.id for run in [*first.runs, *rest.runs]] == [request.run_id for request in reversed(made)]
    assert rest.next_page_token == ""


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"run_id": "x"}, "run_id"),
        ({"thread": pb.RunThread()}, "thread"),
        ({"input": pb.RunInput()}, "messages"),
        ({"options": pb.RunOptions(temperature=3)}, "options.temperature"),
        ({"options": pb.RunOptions(response_format_json=b"{")}, "input"),
        ({"metadata_json": b"[]"}, "metadata"),
        (
            {"agent": "worker", "options": pb.RunOptions(caller_tools=[common.ToolDefinition(name="calculator")])},
            "tools[0].function.name",
        ),
        (
            {"input": pb.RunInput(messages=[common.Message(role=common.MESSAGE_ROLE_TOOL, tool_call_id="?")])},
            "messages[0].tool_call_id",
        ),
        ({"thread": pb.RunThread(answered_tool_call_id="?")}, "thread.answered_tool_call_id"),
    ],
)
async def test_request_that_is_wrong_names_its_field(service: Service, changes: dict[str, Any], field: str) -> None:
    code, error = await refusal(service.stub.StartRun(start_request("Hi", **changes)))

    assert (code, error.field) == (grpc.StatusCode.INVALID_ARGUMENT, field)


@pytest.mark.parametrize(
    "changes",
    [
        {"agent": "nobody"},
        {"agent": "plain@00000000"},
        {"thread": pb.RunThread(thread_id=str(uuid4()))},
        {"thread": pb.RunThread(answered_tool_call_id=f"call_{'0' * 32}_1")},
    ],
)
async def test_start_run_of_what_is_not_there_is_not_found(service: Service, changes: dict[str, Any]) -> None:
    code, _ = await refusal(service.stub.StartRun(start_request("Hi", **changes)))

    assert code is grpc.StatusCode.NOT_FOUND


CALLS: list[Callable[[Service, str], Any]] = [
    lambda service, run_id: service.stub.WatchRun(pb.WatchRunRequest(run_id=run_id)),
    lambda service, run_id: service.stub.GetRun(pb.GetRunRequest(run_id=run_id)),
    lambda service, run_id: service.stub.CancelRun(pb.CancelRunRequest(run_id=run_id)),
]


@pytest.mark.parametrize("call", CALLS)
async def test_another_users_run_is_not_found(service: Service, call: Callable[[Service, str], Any]) -> None:
    request = start_request("Hi")
    await started(service, request)

    with acting_as(person(tenant_id=current_identity().tenant_id)):
        code, _ = await refusal(call(service, request.run_id))

    assert code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("call", CALLS)
async def test_unknown_run_is_not_found(service: Service, call: Callable[[Service, str], Any]) -> None:
    code, _ = await refusal(call(service, str(new_id())))

    assert code is grpc.StatusCode.NOT_FOUND


async def test_too_many_runs_are_refused_with_a_time_to_retry(service: Service) -> None:
    service.model.script = always("Hello", hold_after=0)
    waiting = [asyncio.create_task(started(service, start_request("Hi"))) for _ in range(20)]
    await until(lambda: service.orchestrator.engine.free == 0)

    code, error = await refusal(service.stub.StartRun(start_request("Hi")))
    service.model.go_on.set()
    await asyncio.gather(*waiting)

    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.retry_after_s == 1


async def test_draining_process_refuses_and_cuts_its_watchers(service: Service) -> None:
    service.model.script = always("Hello there", hold_after=1)
    watching = asyncio.create_task(refusal(service.stub.StartRun(start_request("Hi"))))
    await service.model.holding.wait()

    await service.orchestrator.engine.drain()
    cut, _ = await watching
    refused, error = await refusal(service.stub.StartRun(start_request("Hi")))

    assert cut is grpc.StatusCode.UNAVAILABLE
    assert (refused, error.reason) == (grpc.StatusCode.UNAVAILABLE, "draining")
