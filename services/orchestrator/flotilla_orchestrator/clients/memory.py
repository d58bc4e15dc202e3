"""The memory service as the orchestrator calls it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

import grpc
from flotilla.memory.v1 import memory_service_pb2 as pb
from flotilla.memory.v1 import memory_service_pb2_grpc as pb_grpc
from flotilla_common.rpc.guard import map_rpc_errors

if TYPE_CHECKING:
    from flotilla.memory.v1.memory_service_pb2_grpc import MemoryServiceAsyncStub


@dataclass(frozen=True, slots=True)
class Recollection:
    """What memory gives for a question."""

    blocks: tuple[tuple[str, str], ...] = ()
    """Label and text of each core block."""
    memories: tuple[str, ...] = ()
    """Best first."""


class MemoryClient(Protocol):
    """What the orchestrator asks of memory, for the person of the current identity."""

    async def load_context(self, question: str, *, thread_id: UUID | None, timeout_s: float) -> Recollection:
        """Returns what is remembered for a question, without what the thread itself holds."""
        ...

    async def search(self, query: str) -> tuple[str, ...]:
        """Returns the memories nearest to a query, best first."""
        ...

    async def remember(self, text: str, *, run_id: UUID) -> None:
        """Stores a statement, once for the current request's idempotency key."""
        ...

    async def commit_turn(self, payload: bytes) -> None:
        """Sends a serialised CommitTurnRequest."""
        ...


class GrpcMemoryClient:
    """Calls flotilla.memory.v1.MemoryService."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: MemoryServiceAsyncStub = pb_grpc.MemoryServiceStub(channel)

    async def load_context(self, question: str, *, thread_id: UUID | None, timeout_s: float) -> Recollection:
        """Returns what is remembered for a question, without what the thread itself holds."""
        request = pb.LoadContextRequest(question=question, thread_id=str(thread_id) if thread_id else "")
        with map_rpc_errors("memory"):
            found = await self._stub.LoadContext(request, timeout=timeout_s)
        return Recollection(
            blocks=tuple((block.label, block.text) for block in found.core_blocks),
            memories=tuple(memory.text for memory in found.memories),
        )

    async def search(self, query: str) -> tuple[str, ...]:
        """Returns the memories nearest to a query, best first."""
        with map_rpc_errors("memory"):
            found = await self._stub.SearchMemories(pb.SearchMemoriesRequest(query=query))
        return tuple(memory.text for memory in found.memories)

    async def remember(self, text: str, *, run_id: UUID) -> None:
        """Stores a statement, once for the current request's idempotency key."""
        with map_rpc_errors("memory"):
            await self._stub.CreateMemory(pb.CreateMemoryRequest(text=text, run_id=str(run_id)))

    async def commit_turn(self, payload: bytes) -> None:
        """Sends a serialised CommitTurnRequest."""
        with map_rpc_errors("memory"):
            await self._stub.CommitTurn(pb.CommitTurnRequest.FromString(payload))
