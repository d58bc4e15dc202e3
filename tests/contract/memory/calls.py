"""What tests of memory's contract say to it, and how they hear its answers."""

from __future__ import annotations

from typing import TypeAlias
from uuid import UUID, uuid4

from flotilla.common.v1 import message_pb2
from flotilla.memory.v1 import memory_service_pb2 as pb
from flotilla.memory.v1 import memory_service_pb2_grpc as pb_grpc

Memory: TypeAlias = "pb_grpc.MemoryServiceAsyncStub"


def turn(
    said: str, answered: str = "Noted.", *, run_id: UUID | None = None, thread_id: UUID | str = ""
) -> pb.CommitTurnRequest:
    human = message_pb2.Message(role=message_pb2.MESSAGE_ROLE_HUMAN, content=said)
    assistant = message_pb2.Message(role=message_pb2.MESSAGE_ROLE_ASSISTANT, content=answered)
    request = pb.CommitTurnRequest(
        run_id=str(run_id or uuid4()), thread_id=str(thread_id), messages=[human, assistant], agent="assistant"
    )
    request.finish_time.FromJsonString("2025-03-01T12:00:00Z")
    return request


async def recalled(memory: Memory, question: str, *, thread_id: str = "") -> list[str]:
    response = await memory.LoadContext(pb.LoadContextRequest(question=question, thread_id=thread_id))
    return [found.text for found in response.memories]
