"""Memory's own resources: what is remembered about a person, to be seen and forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from flotilla.memory.v1 import memory_service_pb2 as pb
from flotilla.memory.v1 import memory_service_pb2_grpc as pb_grpc
from flotilla_common.rpc.guard import map_rpc_errors

if TYPE_CHECKING:
    import grpc

_PEER = "memory"


class Memories(Protocol):
    """The calls that the gateway makes. All raise flotilla_common.errors."""

    async def list_memories(self, *, page_size: int, page_token: str) -> pb.ListMemoriesResponse:
        """Returns a page of the person's memories, newest first."""
        ...

    async def delete_memory(self, memory_id: str) -> None:
        """Forgets one memory for good."""
        ...


class GrpcMemories:
    """Memory over gRPC."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: pb_grpc.MemoryServiceAsyncStub = pb_grpc.MemoryServiceStub(channel)

    async def list_memories(self, *, page_size: int, page_token: str) -> pb.ListMemoriesResponse:
        """Returns a page of memories."""
        with map_rpc_errors(_PEER):
            return await self._stub.ListMemories(pb.ListMemoriesRequest(page_size=page_size, page_token=page_token))

    async def delete_memory(self, memory_id: str) -> None:
        """Forgets one memory. Raises NotFoundError."""
        with map_rpc_errors(_PEER):
            await self._stub.DeleteMemory(pb.DeleteMemoryRequest(memory_id=memory_id))
