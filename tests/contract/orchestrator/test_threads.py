"""flotilla.orchestrator.v1: threads, agents and embeddings on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import grpc
import orjson
import pytest
from contract.leaf_service import person
from contract.orchestrator.conftest import Service
from contract.orchestrator.test_runs import refusal, started
from fakes.model_script import always
from fakes.run_engine import start_request
from flotilla.orchestrator.v1 import orchestrator_service_pb2 as pb
from flotilla.orchestrator.v1 import thread_pb2
from flotilla_common.request import acting_as, current_identity
from google.protobuf.duration_pb2 import Duration


async def create(service: Service, thread_id: str = "", **fields: Any) -> thread_pb2.Thread:
    return (await service.stub.CreateThread(pb.CreateThreadRequest(thread_id=thread_id, **fields))).thread


async def test_thread_is_created_once(service: Service) -> None:
    thread_id = str(uuid4())

    made = await create(service, thread_id, metadata_json=b'{"a": 1}')
    again = await create(service, thread_id, if_exists=pb.IF_THREAD_EXISTS_RETURN)
    code, _ = await refusal(service.stub.CreateThread(pb.CreateThreadRequest(thread_id=thread_id)))
    with acting_as(person(tenant_id=current_identity().tenant_id)):
        request = pb.CreateThreadRequest(thread_id=thread_id, if_exists=pb.IF_THREAD_EXISTS_RETURN)
        foreign, _ = await refusal(service.stub.CreateThread(request))

    assert made.id == again.id == thread_id
    assert (code, foreign) == (grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.ALREADY_EXISTS)


async def test_metadata_is_merged(service: Service) -> None:
    thread = await create(service, metadata_json=b'{"a": 1, "b": 1}')

    await service.stub.UpdateThread(pb.UpdateThreadRequest(thread_id=thread.id, metadata_json=b'{"b": 2}'))
    found = (await service.stub.GetThread(pb.GetThreadRequest(thread_id=thread.id))).thread

    assert orjson.loads(found.metadata_json) == {"a": 1, "b": 2}


async def test_search_pages_the_callers_own_threads(service: Service) -> None:
    for number in range(3):
        await create(service, metadata_json=orjson.dumps({"kind": "x", "n": number}))
    await create(service, metadata_json=b'{"kind": "y"}')
    with acting_as(person(tenant_id=current_identity().tenant_id)):
        await create(service, metadata_json=b'{"kind": "x"}')

    first = await service.stub.SearchThreads(pb.SearchThreadsRequest(metadata_json=b'{"kind": "x"}', page_size=2))
    rest = await service.stub.SearchThreads(
        pb.SearchThreadsRequest(metadata_json=b'{"kind": "x"}', page_size=2, page_token=first.next_page_token)
    )

    numbers = [orjson.loads(thread.metadata_json)["n"] for thread in [*first.threads, *rest.threads]]
    assert numbers == [2, 1, 0]
    assert rest.next_page_token == ""


async def test_state_and_history_show_what_was_said(service: Service) -> None:
    thread = await create(service)
    empty = (await service.stub.GetThreadState(pb.GetThreadStateRequest(thread_id=thread.id))).state
    for text in ("One", "Two"):
        await started(service, start_request(text, thread=pb.RunThread(thread_id=thread.id)))

    state = (await service.stub.GetThreadState(pb.GetThreadStateRequest(thread_id=thread.id))).state
    history = (await service.stub.ListThreadHistory(pb.ListThreadHistoryRequest(thread_id=thread.id))).states
    first = pb.GetThreadStateRequest(thread_id=thread.id, checkpoint_id=history[-1].checkpoint_id)
    earlier = (await service.stub.GetThreadState(first)).state

    assert empty.values_json == b"{}"
    assert said(state) == ["One", "Hello there", "Two", "Hello there"]
    assert history[0] == state
    assert state.parent_checkpoint_id == history[1].checkpoint_id
    assert said(earlier) == ["One", "Hello there"]
    assert list(state.next_nodes) == []


def said(state: thread_pb2.ThreadState) -> list[str]:
    return [message["content"] for message in orjson.loads(state.values_json)["messages"]]


async def test_unknown_checkpoint_is_not_found(service: Service) -> None:
    thread = await create(service)

    request = pb.GetThreadStateRequest(thread_id=thread.id, checkpoint_id=str(uuid4()))
    code, _ = await refusal(service.stub.GetThreadState(request))

    assert code is grpc.StatusCode.NOT_FOUND


async def test_busy_thread_is_not_deleted(service: Service) -> None:
    service.model.script = always("Hello", hold_after=0)
    thread = await create(service)
    running = asyncio.create_task(started(service, start_request("Hi", thread=pb.RunThread(thread_id=thread.id))))
    await service.model.holding.wait()

    code, error = await refusal(service.stub.DeleteThread(pb.DeleteThreadRequest(thread_id=thread.id)))
    service.model.go_on.set()
    await running
    await service.stub.DeleteThread(pb.DeleteThreadRequest(thread_id=thread.id))
    gone, _ = await refusal(service.stub.GetThread(pb.GetThreadRequest(thread_id=thread.id)))

    assert (code, error.reason) == (grpc.StatusCode.ABORTED, "thread_busy")
    assert gone is grpc.StatusCode.NOT_FOUND


CALLS: list[Callable[[Service, str], Any]] = [
    lambda service, thread_id: service.stub.GetThread(pb.GetThreadRequest(thread_id=thread_id)),
    lambda service, thread_id: service.stub.UpdateThread(pb.UpdateThreadRequest(thread_id=thread_id)),
    lambda service, thread_id: service.stub.DeleteThread(pb.DeleteThreadRequest(thread_id=thread_id)),
    lambda service, thread_id: service.stub.GetThreadState(pb.GetThreadStateRequest(thread_id=thread_id)),
    lambda service, thread_id: service.stub.ListThreadHistory(pb.ListThreadHistoryRequest(thread_id=thread_id)),
    lambda service, thread_id: service.stub.ListRuns(pb.ListRunsRequest(thread_id=thread_id)),
    lambda service, thread_id: service.stub.StartRun(
        start_request("Hi", thread=pb.RunThread(thread_id=thread_id, create_if_missing=True))
    ),
]


@pytest.mark.parametrize("call", CALLS)
async def test_another_users_thread_is_not_found(service: Service, call: Callable[[Service, str], Any]) -> None:
    thread = await create(service)

    with acting_as(person(tenant_id=current_identity().tenant_id)):
        code, _ = await refusal(call(service, thread.id))

    assert code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("call", CALLS[:6])
async def test_id_that_is_no_uuid_names_its_field(service: Service, call: Callable[[Service, str], Any]) -> None:
    code, error = await refusal(call(service, "x"))

    assert (code, error.field) == (grpc.StatusCode.INVALID_ARGUMENT, "thread_id")


@pytest.mark.parametrize("seconds", [-1, 0, 10**11, 2**62])
async def test_span_that_nothing_lives_names_its_field(service: Service, seconds: int) -> None:
    span = Duration(seconds=seconds)

    of_thread, thread_error = await refusal(service.stub.CreateThread(pb.CreateThreadRequest(time_to_live=span)))
    of_run, run_error = await refusal(service.stub.StartRun(start_request("Hi", time_limit=span)))

    assert (of_thread, thread_error.field) == (grpc.StatusCode.INVALID_ARGUMENT, "time_to_live")
    assert (of_run, run_error.field) == (grpc.StatusCode.INVALID_ARGUMENT, "time_limit")


async def test_page_of_less_than_nothing_names_its_field(service: Service) -> None:
    thread = await create(service)

    refused = [
        await refusal(service.stub.ListRuns(pb.ListRunsRequest(thread_id=thread.id, page_size=-5))),
        await refusal(service.stub.SearchThreads(pb.SearchThreadsRequest(page_size=-5))),
        await refusal(service.stub.ListThreadHistory(pb.ListThreadHistoryRequest(thread_id=thread.id, page_size=-5))),
    ]

    assert [(code, error.field) for code, error in refused] == [(grpc.StatusCode.INVALID_ARGUMENT, "page_size")] * 3


async def test_agents_are_listed_with_their_tools(service: Service) -> None:
    agents = (await service.stub.ListAgents(pb.ListAgentsRequest())).agents
    worker = (await service.stub.GetAgent(pb.GetAgentRequest(name="worker"))).agent
    code, _ = await refusal(service.stub.GetAgent(pb.GetAgentRequest(name="nobody")))

    assert [agent.name for agent in agents] == ["plain", "worker"]
    assert {tool.name for tool in worker.tools} == {"calculator", "search_memory", "remember"}
    assert len(worker.release) == 64
    assert code is grpc.StatusCode.NOT_FOUND


async def test_embeddings_come_in_the_order_of_the_texts(service: Service) -> None:
    made = await service.stub.CreateEmbeddings(pb.CreateEmbeddingsRequest(texts=["a", "bb"]))
    unknown, _ = await refusal(service.stub.CreateEmbeddings(pb.CreateEmbeddingsRequest(texts=["a"], model="other")))
    empty, error = await refusal(service.stub.CreateEmbeddings(pb.CreateEmbeddingsRequest(texts=["a", ""])))

    assert [embedding.values[0] for embedding in made.embeddings] == [1, 2]
    assert made.model == "scripted-embed"
    assert unknown is grpc.StatusCode.NOT_FOUND
    assert (empty, error.field) == (grpc.StatusCode.INVALID_ARGUMENT, "input[1]")
