"""A state's messages in the shape that model providers read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flotilla_orchestrator.model import MessageDict

_ROLES = {"system": "system", "human": "user", "ai": "assistant", "tool": "tool"}


def conversation_to_wire(messages: Sequence[MessageDict]) -> list[dict[str, Any]]:
    """Returns messages as the OpenAI wire writes them.

    Providers refuse a tool call without a result for good. Where a run was stopped before its tools, or a caller never
    answered, a sentence stands in.
    """
    wire: list[dict[str, Any]] = []
    waiting: dict[str, None] = {}
    for message in messages:
        if message["type"] == "tool":
            waiting.pop(message["tool_call_id"], None)
        else:
            wire += [_unanswered(call_id) for call_id in waiting]
            waiting = {call["id"]: None for call in message.get("tool_calls", ())}
        wire.append(to_wire(message))
    return wire + [_unanswered(call_id) for call_id in waiting]


def to_wire(message: MessageDict) -> dict[str, Any]:
    """Returns a message as the OpenAI wire writes it."""
    wire: dict[str, Any] = {"role": _ROLES[message["type"]], "content": message.get("content", "")}
    if calls := message.get("tool_calls"):
        wire["tool_calls"] = [
            {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["args_json"]}}
            for call in calls
        ]
    if "tool_call_id" in message:
        wire["tool_call_id"] = message["tool_call_id"]
    elif name := message.get("name"):
        wire["name"] = name
    return wire


def _unanswered(call_id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": "This call was not answered."}
