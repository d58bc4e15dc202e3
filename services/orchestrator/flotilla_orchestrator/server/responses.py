"""Plain values as the contract's messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from uuid import UUID

import orjson
from flotilla.common.v1 import message_pb2 as common
from flotilla.orchestrator.v1 import event_pb2, run_pb2, thread_pb2
from flotilla.orchestrator.v1 import orchestrator_service_pb2 as pb
from flotilla_llm.model import EmbeddingReply

from flotilla_orchestrator.clients.tool import ToolSpec
from flotilla_orchestrator.model import Run, StoredEvent, Thread, ThreadState
from flotilla_orchestrator.runs.event_log.codec import (
    dump_json,
    error_to_proto,
    finish_reason_to_proto,
    message_to_proto,
    status_to_proto,
    usage_to_proto,
)
from flotilla_orchestrator.service.agents import AgentView

_MESSAGE_BYTES = 1_000_000
"""Of the events that go together, as far as one of them is not larger by itself."""


def in_messages(stored: Sequence[StoredEvent]) -> Iterator[Sequence[StoredEvent]]:
    """Yields events as they go together in one message."""
    start = size = 0
    if len(stored) > 1:
        for place, entry in enumerate(stored):
            size += len(entry.payload)
            if size > _MESSAGE_BYTES and place > start:
                yield stored[start:place]
                start, size = place, len(entry.payload)
    yield stored[start:] if start else stored


def events_to_proto(stored: Iterable[StoredEvent]) -> list[event_pb2.RunEvent]:
    """Returns stored events with their numbers."""
    found = []
    for entry in stored:
        event = event_pb2.RunEvent.FromString(entry.payload)
        event.sequence = entry.sequence
        found.append(event)
    return found


def run_to_proto(run: Run) -> run_pb2.Run:
    """Returns a run."""
    message = run_pb2.Run(
        id=str(run.run_id),
        thread_id=str(run.thread_id),
        agent=run.agent,
        release=run.release,
        status=status_to_proto(run.status),
        attempt=run.attempt,
        wire=run.wire,
        finish_reason=finish_reason_to_proto(run.finish_reason),
        answer=message_to_proto(run.answer) if run.answer else None,
        usage=usage_to_proto(run.usage),
        error=error_to_proto(run.error) if run.error else None,
        metadata_json=dump_json(run.metadata),
    )
    message.create_time.FromDatetime(run.created_at)
    if run.finished_at is not None:
        message.finish_time.FromDatetime(run.finished_at)
    return message


def thread_to_proto(thread: Thread) -> thread_pb2.Thread:
    """Returns a thread."""
    message = thread_pb2.Thread(
        id=str(thread.thread_id),
        status=thread_pb2.ThreadStatus.ValueType(thread.status),
        metadata_json=dump_json(thread.metadata),
    )
    message.create_time.FromDatetime(thread.created_at)
    message.update_time.FromDatetime(thread.updated_at)
    if thread.expires_at is not None:
        message.expire_time.FromDatetime(thread.expires_at)
    return message


def state_to_proto(state: ThreadState) -> thread_pb2.ThreadState:
    """Returns a thread's state."""
    message = thread_pb2.ThreadState(
        thread_id=str(state.thread_id),
        checkpoint_id=str(state.checkpoint_id),
        namespace=state.namespace,
        parent_checkpoint_id=str(state.parent_id) if state.parent_id else "",
        values_json=state.values_json,
        next_nodes=state.next_nodes,
        metadata_json=state.metadata_json,
        interrupts=[
            thread_pb2.PendingInterrupt(id=interrupt.id, value_json=interrupt.value_json)
            for interrupt in state.interrupts
        ],
    )
    message.create_time.FromDatetime(state.created_at)
    return message


def empty_state(thread_id: UUID) -> thread_pb2.ThreadState:
    """Returns the state of a thread without runs."""
    return thread_pb2.ThreadState(thread_id=str(thread_id), values_json=b"{}", metadata_json=b"{}")


def agent_to_proto(agent: AgentView) -> thread_pb2.Agent:
    """Returns an agent."""
    release = agent.release
    message = thread_pb2.Agent(
        name=release.agent,
        description=release.description,
        pattern=release.pattern,
        release=release.hash,
        tools=[_tool_to_proto(tool) for tool in agent.tools],
    )
    message.create_time.FromDatetime(release.created_at)
    return message


def embeddings_to_proto(reply: EmbeddingReply) -> pb.CreateEmbeddingsResponse:
    """Returns embeddings."""
    return pb.CreateEmbeddingsResponse(
        embeddings=[pb.Embedding(values=vector) for vector in reply.vectors],
        model=reply.model,
        input_tokens=reply.usage.input_tokens,
    )


def _tool_to_proto(tool: ToolSpec) -> common.ToolDefinition:
    return common.ToolDefinition(
        name=tool.name, description=tool.description, parameters_json=orjson.dumps(tool.parameters)
    )
