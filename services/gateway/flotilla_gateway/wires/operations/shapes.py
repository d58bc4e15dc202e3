"""Runs and their events as the operations API shows them."""

from __future__ import annotations

from typing import Any

import orjson
from flotilla.common.v1.message_pb2 import Message, MessageRole
from flotilla.orchestrator.v1.event_pb2 import RunEvent
from flotilla.orchestrator.v1.run_pb2 import ErrorClass, FinishReason, Run, RunError, RunStatus
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp

from flotilla_gateway.wires.openai.stream import tool_call, usage

_ROLES = {"HUMAN": "user"}


def run_object(run: Run) -> dict[str, Any]:
    """Returns a run."""
    return {
        "id": run.id,
        "object": "run",
        "thread_id": run.thread_id,
        "agent": run.agent,
        "release": run.release,
        "status": _name(RunStatus.Name(run.status), "RUN_STATUS_"),
        "attempt": run.attempt,
        "wire": run.wire,
        "created_at": _seconds(run.create_time),
        "finished_at": _seconds(run.finish_time) if run.HasField("finish_time") else None,
        "finish_reason": _finish_reason(run.finish_reason),
        "answer": message_object(run.answer) if run.HasField("answer") else None,
        "usage": {**usage(run.usage), "models": [_plain(entry) for entry in run.usage]},
        "error": error_object(run.error) if run.HasField("error") else None,
        "metadata": orjson.loads(run.metadata_json) if run.metadata_json else {},
    }


def event_object(event: RunEvent) -> dict[str, Any]:
    """Returns an event: its number, its type, and what it says."""
    kind = event.WhichOneof("event") or "unknown"
    said: Any = getattr(event, kind) if kind != "unknown" else None
    fields = _plain(said) if said is not None else {}
    if kind == "done":
        fields |= {"answer": message_object(said.answer), "finish_reason": _finish_reason(said.finish_reason)}
    if kind == "failed":
        fields |= {"error": error_object(said.error), "status": _name(RunStatus.Name(said.status), "RUN_STATUS_")}
    if kind == "message":
        fields |= {"message": message_object(said.message), "finish_reason": _finish_reason(said.finish_reason)}
    return {"sequence": event.sequence, "type": kind, **fields}


def message_object(message: Message) -> dict[str, Any]:
    """Returns a message in OpenAI's vocabulary, with its id."""
    role = _name(MessageRole.Name(message.role), "MESSAGE_ROLE_")
    shown: dict[str, Any] = {"id": message.id, "role": _ROLES.get(role.upper(), role), "content": message.content}
    if message.tool_calls:
        shown["tool_calls"] = [tool_call(call) for call in message.tool_calls]
    if message.tool_call_id:
        shown["tool_call_id"] = message.tool_call_id
    if message.name:
        shown["name"] = message.name
    return shown


def error_object(error: RunError) -> dict[str, Any]:
    """Returns why a run ended without an answer."""
    error_class = _name(ErrorClass.Name(error.error_class), "ERROR_CLASS_")
    return {"class": error_class, "reason": error.reason, "message": error.message}


def _plain(message: Any) -> dict[str, Any]:
    fields = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    for field in message.DESCRIPTOR.fields:
        if field.name.endswith("_json"):
            # JSON that travels as bytes is shown as what it is.
            fields.pop(field.name, None)
            fields[field.name.removesuffix("_json")] = _loaded(getattr(message, field.name))
        elif field.type == field.TYPE_INT64 and field.name in fields:
            fields[field.name] = getattr(message, field.name)
    return fields


def _loaded(encoded: bytes) -> Any:
    try:
        return orjson.loads(encoded) if encoded else None
    except orjson.JSONDecodeError:
        return encoded.decode(errors="replace")


def _finish_reason(reason: FinishReason.ValueType) -> str | None:
    return _name(FinishReason.Name(reason), "FINISH_REASON_") if reason else None


def _name(enum_name: str, prefix: str) -> str:
    return enum_name.removeprefix(prefix).lower()


def _seconds(time: Timestamp) -> float:
    return time.seconds + time.nanos // 1000 / 1e6
