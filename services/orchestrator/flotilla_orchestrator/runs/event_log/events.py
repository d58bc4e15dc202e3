"""Builds the entries of the event log: serialised RunEvents, still without their number."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from flotilla.orchestrator.v1 import event_pb2 as pb
from flotilla_common.errors import ResourceExhaustedError
from flotilla_common.rpc.policy import LARGEST_MESSAGE

from flotilla_orchestrator.model import FinishReason, MessageDict, ModelUsage, RunError, RunStatus, ToolCallDict
from flotilla_orchestrator.runs.event_log.codec import (
    error_to_proto,
    finish_reason_to_proto,
    message_to_proto,
    status_to_proto,
    usage_to_proto,
)

ENDS = frozenset({"failed", "done", "interrupted"})
"""Events after which a run writes nothing more; an interrupted run is continued by another run."""

MOST_BYTES = LARGEST_MESSAGE - 65_536
"""Of one event, so that it can be delivered with what a message adds to it."""


def fitting(payload: bytes) -> bytes:
    """Returns an event that can be delivered. Raises ResourceExhaustedError, with which the run ends."""
    if len(payload) > MOST_BYTES:
        raise ResourceExhaustedError(
            f"An event of the run is larger than {MOST_BYTES} bytes.", reason="event_too_large"
        )
    return payload


def accepted(*, run_id: UUID, thread_id: UUID, agent: str, release: str, at: datetime) -> bytes:
    """The run row is committed."""
    event = pb.RunAccepted(run_id=str(run_id), thread_id=str(thread_id), agent=agent, release=release)
    event.create_time.FromDatetime(at)
    return pb.RunEvent(accepted=event).SerializeToString()


def token(*, message_id: str, node: str, namespace: str, text: str, is_answer: bool) -> bytes:
    """A piece of a reply."""
    event = pb.TokenChunk(message_id=message_id, node=node, namespace=namespace, text=text, is_answer=is_answer)
    return pb.RunEvent(token=event).SerializeToString()


def message_finished(
    message: MessageDict,
    *,
    node: str = "",
    namespace: str = "",
    is_answer: bool = False,
    usage: ModelUsage | None = None,
    finish_reason: FinishReason | None = None,
) -> bytes:
    """A message was added to the thread."""
    event = pb.MessageFinished(
        message=message_to_proto(message),
        node=node,
        namespace=namespace,
        is_answer=is_answer,
        usage=usage_to_proto([usage])[0] if usage else None,
        finish_reason=finish_reason_to_proto(finish_reason),
    )
    return pb.RunEvent(message=event).SerializeToString()


def tool_started(call: ToolCallDict) -> bytes:
    """A server-side tool call began."""
    event = pb.ToolProgress(
        tool_call_id=call["id"],
        name=call["name"],
        phase=pb.TOOL_PHASE_STARTED,
        arguments_json=call["args_json"].encode(),
    )
    return pb.RunEvent(tool=event).SerializeToString()


def tool_ended(call: ToolCallDict, *, content: str, reason: str) -> bytes:
    """A server-side tool call ended; an empty reason means success."""
    phase = pb.TOOL_PHASE_FAILED if reason else pb.TOOL_PHASE_SUCCEEDED
    event = pb.ToolProgress(tool_call_id=call["id"], name=call["name"], phase=phase, content=content, reason=reason)
    return pb.RunEvent(tool=event).SerializeToString()


def state_committed(
    *, checkpoint_id: UUID, namespace: str, step: int, nodes: Sequence[str], next_nodes: Sequence[str]
) -> bytes:
    """A super-step ended and its checkpoint is stored."""
    event = pb.StateCommitted(
        checkpoint_id=str(checkpoint_id), namespace=namespace, step=step, nodes=nodes, next_nodes=next_nodes
    )
    return pb.RunEvent(state=event).SerializeToString()


def interrupted(*, interrupt_id: str, value_json: bytes) -> bytes:
    """The run waits for a person."""
    return pb.RunEvent(
        interrupted=pb.RunInterrupted(interrupt_id=interrupt_id, value_json=value_json)
    ).SerializeToString()


def reply_restarted(*, attempt: int, message_ids: Sequence[str]) -> bytes:
    """The remade reply differs from what was streamed."""
    return pb.RunEvent(reply_restarted=pb.ReplyRestarted(attempt=attempt, message_ids=message_ids)).SerializeToString()


def custom(*, data_json: bytes, namespace: str) -> bytes:
    """A graph sent data of its own."""
    return pb.RunEvent(custom=pb.CustomData(data_json=data_json, namespace=namespace)).SerializeToString()


def failed(*, status: RunStatus, error: RunError, usage: Sequence[ModelUsage]) -> bytes:
    """The run ended without an answer."""
    event = pb.RunFailed(status=status_to_proto(status), error=error_to_proto(error), usage=usage_to_proto(usage))
    return pb.RunEvent(failed=event).SerializeToString()


def done(*, finish_reason: FinishReason, answer: MessageDict, usage: Sequence[ModelUsage]) -> bytes:
    """The run ended and everything it made is stored."""
    event = pb.RunDone(
        finish_reason=finish_reason_to_proto(finish_reason),
        answer=message_to_proto(answer),
        usage=usage_to_proto(usage),
    )
    return pb.RunEvent(done=event).SerializeToString()


def json_of(value: Any) -> bytes:
    """Returns the JSON of what a graph gave; what JSON does not know becomes its text."""
    return orjson.dumps(value, default=str)


def ends_the_log(payload: bytes) -> bool:
    """Whether an event is a run's last."""
    return pb.RunEvent.FromString(payload).WhichOneof("event") in ENDS
