"""The orchestrator: everything that runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from flotilla.orchestrator.v1 import orchestrator_service_pb2 as pb
from flotilla.orchestrator.v1 import orchestrator_service_pb2_grpc as pb_grpc
from flotilla.orchestrator.v1.event_pb2 import RunEvent
from flotilla.orchestrator.v1.run_pb2 import Run
from flotilla.orchestrator.v1.thread_pb2 import Agent
from flotilla_common.rpc.guard import map_rpc_errors

if TYPE_CHECKING:
    import grpc

_PEER = "orchestrator"
SHORT_STREAMS = MappingProxyType(
    {"/flotilla.orchestrator.v1.OrchestratorService/StartRun": lambda request: bool(request.omit_tokens)}
)
"""Without its tokens a run's log is a few events, so that it may share a stream with other calls."""


class Orchestrator(Protocol):
    """The calls that the gateway makes. All raise flotilla_common.errors."""

    def start_run(self, request: pb.StartRunRequest) -> AsyncGenerator[Sequence[RunEvent], None]:
        """Accepts a run and streams its event log, one batch a flush."""
        ...

    def watch_run(self, run_id: str, *, after_sequence: int) -> AsyncGenerator[Sequence[RunEvent], None]:
        """Streams a run's event log after a sequence number."""
        ...

    async def get_run(self, run_id: str) -> Run:
        """Returns a run as it stands."""
        ...

    async def cancel_run(self, run_id: str) -> Run:
        """Asks a run to stop."""
        ...

    async def list_agents(self) -> Sequence[Agent]:
        """Returns all agents by name."""
        ...

    async def get_agent(self, name: str) -> Agent:
        """Returns one agent."""
        ...

    async def create_embeddings(self, texts: Sequence[str], *, model: str) -> pb.CreateEmbeddingsResponse:
        """Embeds texts by the platform's route."""
        ...


class GrpcOrchestrator:
    """The orchestrator over gRPC.

    watch_timeout_s: after that a stream is opened anew; a run is never a child of its stream.
    """

    def __init__(self, channel: grpc.aio.Channel, *, watch_timeout_s: float = 3600.0) -> None:
        self._stub: pb_grpc.OrchestratorServiceAsyncStub = pb_grpc.OrchestratorServiceStub(channel)
        self._channel = channel
        self._watch_timeout_s = watch_timeout_s

    async def ping(self) -> None:
        """Returns once an orchestrator is connected and healthy."""
        await self._channel.channel_ready()

    async def start_run(self, request: pb.StartRunRequest) -> AsyncGenerator[Sequence[RunEvent], None]:
        """Accepts a run and streams its event log."""
        call = self._stub.StartRun(request, timeout=self._watch_timeout_s)
        try:
            with map_rpc_errors(_PEER):
                async for response in call:
                    yield response.events
        finally:
            call.cancel()

    async def watch_run(self, run_id: str, *, after_sequence: int) -> AsyncGenerator[Sequence[RunEvent], None]:
        """Streams a run's event log after a sequence number."""
        request = pb.WatchRunRequest(run_id=run_id, after_sequence=after_sequence)
        call = self._stub.WatchRun(request, timeout=self._watch_timeout_s)
        try:
            with map_rpc_errors(_PEER):
                async for response in call:
                    yield response.events
        finally:
            call.cancel()

    async def get_run(self, run_id: str) -> Run:
        """Returns a run. Raises NotFoundError."""
        with map_rpc_errors(_PEER):
            return (await self._stub.GetRun(pb.GetRunRequest(run_id=run_id))).run

    async def cancel_run(self, run_id: str) -> Run:
        """Asks a run to stop. Raises NotFoundError."""
        with map_rpc_errors(_PEER):
            return (await self._stub.CancelRun(pb.CancelRunRequest(run_id=run_id))).run

    async def list_agents(self) -> Sequence[Agent]:
        """Returns all agents by name."""
        with map_rpc_errors(_PEER):
            return (await self._stub.ListAgents(pb.ListAgentsRequest())).agents

    async def get_agent(self, name: str) -> Agent:
        """Returns one agent. Raises NotFoundError."""
        with map_rpc_errors(_PEER):
            return (await self._stub.GetAgent(pb.GetAgentRequest(name=name))).agent

    async def create_embeddings(self, texts: Sequence[str], *, model: str) -> pb.CreateEmbeddingsResponse:
        """Embeds texts. Raises NotFoundError for another model than the platform's."""
        with map_rpc_errors(_PEER):
            return await self._stub.CreateEmbeddings(pb.CreateEmbeddingsRequest(texts=texts, model=model))
