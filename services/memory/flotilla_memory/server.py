"""The edge of flotilla.memory.v1: requests to values, values to responses; decides nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flotilla.common.v1 import message_pb2
from flotilla.memory.v1 import memory_service_pb2 as pb
from flotilla.memory.v1 import memory_service_pb2_grpc as pb_grpc
from flotilla_common.errors import FlotillaError
from flotilla_common.identity import IdentityVerifier
from flotilla_common.request import current_identity, current_request
from flotilla_common.rpc.batch import pack_error, serve_each
from flotilla_common.rpc.fields import read_id, read_optional_id, read_page_token, read_time, write_page_token
from grpc.aio import ServicerContext

from flotilla_memory.model import Memory, MemoryKind, PagePosition, Speaker, SpokenMessage, Turn
from flotilla_memory.service import MemoryService

Context = ServicerContext[Any, Any]

_KINDS = {MemoryKind.EPISODE: pb.MEMORY_KIND_EPISODE, MemoryKind.FACT: pb.MEMORY_KIND_FACT}
_SPEAKERS = {
    message_pb2.MESSAGE_ROLE_HUMAN: Speaker.HUMAN,
    message_pb2.MESSAGE_ROLE_ASSISTANT: Speaker.ASSISTANT,
}


class MemoryServicer(pb_grpc.MemoryServiceServicer):
    """Serves flotilla.memory.v1.MemoryService."""

    def __init__(self, service: MemoryService, verifier: IdentityVerifier) -> None:
        self._service = service
        self._verifier = verifier

    async def LoadContext(self, request: pb.LoadContextRequest, context: Context) -> pb.LoadContextResponse:
        """Returns what an answer may use."""
        loaded = await self._service.load_context(
            current_identity(),
            question=request.question,
            thread_id=read_optional_id(request.thread_id, field="thread_id"),
            max_memories=request.max_memories,
        )
        blocks = [pb.CoreBlock(label=block.label, text=block.text) for block in loaded.core_blocks]
        return pb.LoadContextResponse(memories=map(_to_proto, loaded.memories), core_blocks=blocks)

    async def CommitTurn(self, request: pb.CommitTurnRequest, context: Context) -> pb.CommitTurnResponse:
        """Stores a turn."""
        is_new = await self._service.commit_turn(current_identity(), _turn(request))
        return pb.CommitTurnResponse(created=is_new)

    async def BatchCommitTurns(
        self, request: pb.BatchCommitTurnsRequest, context: Context
    ) -> pb.BatchCommitTurnsResponse:
        """Stores turns, each for its own person; side by side, so that they share statements and the model's call."""
        outcomes = await serve_each(
            request.commits,
            self._commit,
            verifier=self._verifier,
            field="commits",
            identities_token=request.identities_token,
        )
        return pb.BatchCommitTurnsResponse(results=map(_result, outcomes))

    async def SearchMemories(self, request: pb.SearchMemoriesRequest, context: Context) -> pb.SearchMemoriesResponse:
        """Returns the memories nearest to a query."""
        memories = await self._service.search(
            current_identity(), query=request.query, max_memories=request.max_memories
        )
        return pb.SearchMemoriesResponse(memories=map(_to_proto, memories))

    async def CreateMemory(self, request: pb.CreateMemoryRequest, context: Context) -> pb.CreateMemoryResponse:
        """Stores a fact."""
        memory = await self._service.create_memory(
            current_identity(),
            text=request.text,
            run_id=read_optional_id(request.run_id, field="run_id"),
            idempotency_key=current_request().idempotency_key,
        )
        return pb.CreateMemoryResponse(memory=_to_proto(memory))

    async def ListMemories(self, request: pb.ListMemoriesRequest, context: Context) -> pb.ListMemoriesResponse:
        """Returns a page of memories."""
        page = await self._service.list_memories(
            current_identity(), page_size=request.page_size, after=read_page_token(request.page_token, PagePosition)
        )
        return pb.ListMemoriesResponse(
            memories=map(_to_proto, page.memories), next_page_token=write_page_token(page.next)
        )

    async def DeleteMemory(self, request: pb.DeleteMemoryRequest, context: Context) -> pb.DeleteMemoryResponse:
        """Forgets a memory."""
        await self._service.delete_memory(current_identity(), read_id(request.memory_id, field="memory_id"))
        return pb.DeleteMemoryResponse()

    async def _commit(self, commit: pb.TurnCommit) -> bool:
        return await self._service.commit_turn(current_identity(), _turn(commit.request))


def _turn(request: pb.CommitTurnRequest) -> Turn:
    has_time = request.HasField("finish_time")
    return Turn(
        run_id=read_id(request.run_id, field="run_id"),
        thread_id=read_optional_id(request.thread_id, field="thread_id"),
        messages=[_message(message) for message in request.messages],
        finished_at=read_time(request.finish_time, field="finish_time") if has_time else datetime.now(UTC),
        agent=request.agent,
    )


def _result(outcome: bool | FlotillaError) -> pb.TurnCommitResult:
    if isinstance(outcome, FlotillaError):
        return pb.TurnCommitResult(error_status=pack_error(outcome))
    return pb.TurnCommitResult(created=outcome)


def _message(message: message_pb2.Message) -> SpokenMessage:
    return SpokenMessage(_SPEAKERS.get(message.role, Speaker.OTHER), message.content)


def _to_proto(memory: Memory) -> pb.Memory:
    response = pb.Memory(
        id=str(memory.id),
        kind=_KINDS[memory.kind],
        text=memory.text,
        score=memory.score,
        run_id=str(memory.run_id or ""),
        thread_id=str(memory.thread_id or ""),
    )
    response.create_time.FromDatetime(memory.created_at)
    return response
