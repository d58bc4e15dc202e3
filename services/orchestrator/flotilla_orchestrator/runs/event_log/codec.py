"""Plain values as the contracts' messages, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import orjson
from flotilla.common.v1 import message_pb2 as common
from flotilla.orchestrator.v1 import run_pb2 as pb

from flotilla_orchestrator.model import (
    ErrorClass,
    FinishReason,
    Json,
    MessageDict,
    ModelUsage,
    RunError,
    RunStatus,
    ToolCallDict,
)

MessageType = Literal["system", "human", "ai", "tool"]

_ROLES: dict[MessageType, common.MessageRole.ValueType] = {
    "system": common.MESSAGE_ROLE_SYSTEM,
    "human": common.MESSAGE_ROLE_HUMAN,
    "ai": common.MESSAGE_ROLE_ASSISTANT,
    "tool": common.MESSAGE_ROLE_TOOL,
}
_TYPES: dict[int, MessageType] = {int(role): kind for kind, role in _ROLES.items()}


def message_to_proto(message: MessageDict) -> common.Message:
    """Returns a state's message as the contract's."""
    return common.Message(
        id=message.get("id", ""),
        role=_ROLES[message["type"]],
        content=message.get("content", ""),
        tool_calls=[
            common.ToolCall(id=call["id"], name=call["name"], arguments_json=call["args_json"].encode())
            for call in message.get("tool_calls", ())
        ],
        tool_call_id=message.get("tool_call_id", ""),
        name=message.get("name", ""),
    )


def message_from_proto(message: common.Message) -> MessageDict:
    """Returns the contract's message as a state's, without its empty fields. Raises KeyError without a role."""
    value = MessageDict(id=message.id, type=_TYPES[message.role], content=message.content)
    if message.tool_calls:
        value["tool_calls"] = [
            ToolCallDict(id=call.id, name=call.name, args_json=call.arguments_json.decode())
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        value["tool_call_id"] = message.tool_call_id
    if message.name:
        value["name"] = message.name
    return value


def usage_to_proto(usage: Iterable[ModelUsage]) -> list[common.ModelUsage]:
    """Returns usage as the contract's."""
    return [
        common.ModelUsage(
            model=entry.model,
            input_tokens=entry.input_tokens,
            output_tokens=entry.output_tokens,
            cost_micro_usd=entry.cost_micro_usd,
        )
        for entry in usage
    ]


def usage_from_proto(usage: common.ModelUsage) -> ModelUsage:
    """Returns the contract's usage as ours."""
    return ModelUsage(usage.model, usage.input_tokens, usage.output_tokens, usage.cost_micro_usd)


def status_to_proto(status: RunStatus) -> pb.RunStatus.ValueType:
    """Returns the contract's number, which leaves 0 for "unspecified"."""
    return pb.RunStatus.ValueType(status + 1)


def finish_reason_to_proto(reason: FinishReason | None) -> pb.FinishReason.ValueType:
    """Returns the contract's number, or 0 where there is no reason."""
    return pb.FinishReason.ValueType(reason or 0)


def error_to_proto(error: RunError) -> pb.RunError:
    """Returns an error as the contract's."""
    return pb.RunError(error_class=class_to_proto(error.error_class), reason=error.reason, message=error.message)


def class_to_proto(error_class: ErrorClass) -> pb.ErrorClass.ValueType:
    """Returns the contract's number."""
    return pb.ErrorClass.ValueType(error_class)


def dump_json(value: Json) -> bytes:
    """Returns a JSON object's text."""
    return orjson.dumps(value)
