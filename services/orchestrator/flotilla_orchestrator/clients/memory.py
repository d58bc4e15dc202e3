"""The memory service as the orchestrator calls it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

import grpc
from flotilla.memory.v1 import memory_service_pb2 as pb
from flotilla.memory.v1 import memory_service_pb2_grpc as pb_grpc
from flotilla_common.errors import FlotillaError
from flotilla_common.identity import IdentitySigner
from flotilla_common.rpc.guard import map_rpc_errors

from flotilla_orchestrator.clients.delivery import Delivery, outcomes_of

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

    async def commit_turns(self, deliveries: Sequence[Delivery]) -> Sequence[FlotillaError | None]:
        """Sends serialised CommitTurnRequests in one call; returns what each failed with, or None."""
        ...


class GrpcMemoryClient:
    """Calls flotilla.memory.v1.MemoryService."""

    def __init__(self, channel: grpc.aio.Channel, signer: IdentitySigner) -> None:
        self._stub: MemoryServiceAsyncStub = pb_grpc.MemoryServiceStub(channel)
        self._signer = signer

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

    async def commit_turns(self, deliveries: Sequence[Delivery]) -> Sequence[FlotillaError | None]:
        """Sends serialised CommitTurnRequests in one call; returns what each failed with, or None."""
        commits = [pb.TurnCommit(request=pb.CommitTurnRequest.FromString(delivery.payload)) for delivery in deliveries]
        token = self._signer.sign_all((delivery.identity for delivery in deliveries), audience="memory")
        with map_rpc_errors("memory"):
            answer = await self._stub.BatchCommitTurns(
                pb.BatchCommitTurnsRequest(commits=commits, identities_token=token)
            )
        return outcomes_of((result.error_status for result in answer.results), deliveries)
