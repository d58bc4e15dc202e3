"""Serves flotilla.orchestrator.v1; decides nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from flotilla.orchestrator.v1 import orchestrator_service_pb2 as pb
from flotilla.orchestrator.v1 import orchestrator_service_pb2_grpc as pb_grpc
from flotilla_common.request import current_identity
from grpc.aio import ServicerContext

from flotilla_orchestrator.model import ThreadStatus
from flotilla_orchestrator.server.requests import (
    read_json,
    read_optional_uuid,
    read_run_page,
    read_seconds,
    read_start,
    read_thread_page,
    write_page_token,
)
from flotilla_orchestrator.server.responses import (
    agent_to_proto,
    embeddings_to_proto,
    empty_state,
    events_to_proto,
    in_messages,
    run_to_proto,
    state_to_proto,
    thread_to_proto,
)
from flotilla_orchestrator.service.agents import AgentService
from flotilla_orchestrator.service.conversation import read_uuid
from flotilla_orchestrator.service.runs import RunService
from flotilla_orchestrator.service.threads import ThreadService

Context = ServicerContext[Any, Any]

_NOBODY_READS_ALONG_S = 0.25
"""How long a run that is not read while it runs may take to be told in one message, its acceptance with its end."""


class OrchestratorServicer(pb_grpc.OrchestratorServiceServicer):
    """Serves flotilla.orchestrator.v1.OrchestratorService."""

    def __init__(self, *, runs: RunService, threads: ThreadService, agents: AgentService) -> None:
        self._runs = runs
        self._threads = threads
        self._agents = agents

    async def StartRun(self, request: pb.StartRunRequest, context: Context) -> AsyncIterator[pb.StartRunResponse]:
        """Accepts a run and streams its events."""
        with await self._runs.start(current_identity(), read_start(request)) as view:
            if request.omit_tokens:
                await view.linger(_NOBODY_READS_ALONG_S)
            async for stored in view:
                for together in in_messages(stored):
                    yield pb.StartRunResponse(events=events_to_proto(together))

    async def WatchRun(self, request: pb.WatchRunRequest, context: Context) -> AsyncIterator[pb.WatchRunResponse]:
        """Streams a run's events after a sequence number."""
        run_id = read_uuid(request.run_id, field="run_id")
        view = await self._runs.watch(current_identity(), run_id, after_sequence=request.after_sequence)
        with view:
            async for stored in view:
                for together in in_messages(stored):
                    yield pb.WatchRunResponse(events=events_to_proto(together))

    async def GetRun(self, request: pb.GetRunRequest, context: Context) -> pb.GetRunResponse:
        """Returns a run."""
        run = await self._runs.get(current_identity(), read_uuid(request.run_id, field="run_id"))
        return pb.GetRunResponse(run=run_to_proto(run))

    async def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:
        """Returns a page of a thread's runs."""
        runs, following = await self._runs.list(
            current_identity(),
            read_uuid(request.thread_id, field="thread_id"),
            before=read_run_page(request.page_token),
            page_size=request.page_size,
        )
        return pb.ListRunsResponse(runs=map(run_to_proto, runs), next_page_token=write_page_token(following))

    async def CancelRun(self, request: pb.CancelRunRequest, context: Context) -> pb.CancelRunResponse:
        """Asks a run to stop."""
        run = await self._runs.cancel(current_identity(), read_uuid(request.run_id, field="run_id"))
        return pb.CancelRunResponse(run=run_to_proto(run))

    async def CreateThread(self, request: pb.CreateThreadRequest, context: Context) -> pb.CreateThreadResponse:
        """Creates a thread."""
        lives = request.HasField("time_to_live")
        thread = await self._threads.create(
            current_identity(),
            read_optional_uuid(request.thread_id, field="thread_id"),
            metadata=read_json(request.metadata_json, field="metadata"),
            ttl_s=read_seconds(request.time_to_live) if lives else None,
            may_exist=request.if_exists == pb.IF_THREAD_EXISTS_RETURN,
        )
        return pb.CreateThreadResponse(thread=thread_to_proto(thread))

    async def GetThread(self, request: pb.GetThreadRequest, context: Context) -> pb.GetThreadResponse:
        """Returns a thread."""
        thread = await self._threads.get(current_identity(), read_uuid(request.thread_id, field="thread_id"))
        return pb.GetThreadResponse(thread=thread_to_proto(thread))

    async def UpdateThread(self, request: pb.UpdateThreadRequest, context: Context) -> pb.UpdateThreadResponse:
        """Merges keys into a thread's metadata."""
        thread = await self._threads.update(
            current_identity(),
            read_uuid(request.thread_id, field="thread_id"),
            metadata=read_json(request.metadata_json, field="metadata"),
        )
        return pb.UpdateThreadResponse(thread=thread_to_proto(thread))

    async def DeleteThread(self, request: pb.DeleteThreadRequest, context: Context) -> pb.DeleteThreadResponse:
        """Deletes a thread."""
        await self._threads.delete(current_identity(), read_uuid(request.thread_id, field="thread_id"))
        return pb.DeleteThreadResponse()

    async def SearchThreads(self, request: pb.SearchThreadsRequest, context: Context) -> pb.SearchThreadsResponse:
        """Returns a page of the caller's threads."""
        threads, following = await self._threads.search(
            current_identity(),
            metadata=read_json(request.metadata_json, field="metadata"),
            status=ThreadStatus(request.status) if request.status else None,
            before=read_thread_page(request.page_token),
            page_size=request.page_size,
        )
        return pb.SearchThreadsResponse(
            threads=map(thread_to_proto, threads), next_page_token=write_page_token(following)
        )

    async def GetThreadState(self, request: pb.GetThreadStateRequest, context: Context) -> pb.GetThreadStateResponse:
        """Returns the state of a thread."""
        thread_id = read_uuid(request.thread_id, field="thread_id")
        state = await self._threads.state(
            current_identity(),
            thread_id,
            checkpoint_id=read_optional_uuid(request.checkpoint_id, field="checkpoint_id"),
            namespace=request.namespace,
        )
        return pb.GetThreadStateResponse(state=state_to_proto(state) if state else empty_state(thread_id))

    async def ListThreadHistory(
        self, request: pb.ListThreadHistoryRequest, context: Context
    ) -> pb.ListThreadHistoryResponse:
        """Returns a thread's checkpoints."""
        states = await self._threads.history(
            current_identity(),
            read_uuid(request.thread_id, field="thread_id"),
            before=read_optional_uuid(request.before_checkpoint_id, field="before_checkpoint_id"),
            limit=request.page_size,
        )
        return pb.ListThreadHistoryResponse(states=map(state_to_proto, states))

    async def ListAgents(self, request: pb.ListAgentsRequest, context: Context) -> pb.ListAgentsResponse:
        """Returns all agents."""
        return pb.ListAgentsResponse(agents=map(agent_to_proto, await self._agents.list()))

    async def GetAgent(self, request: pb.GetAgentRequest, context: Context) -> pb.GetAgentResponse:
        """Returns one agent."""
        return pb.GetAgentResponse(agent=agent_to_proto(await self._agents.get(request.name)))

    async def CreateEmbeddings(
        self, request: pb.CreateEmbeddingsRequest, context: Context
    ) -> pb.CreateEmbeddingsResponse:
        """Embeds texts."""
        return embeddings_to_proto(await self._agents.embed(list(request.texts), model=request.model))
