"""A state's messages in the shape that model providers read."""

from __future__ import annotations

from typing import Any

from flotilla_orchestrator.model import MessageDict

_ROLES = {"system": "system", "human": "user", "ai": "assistant", "tool": "tool"}


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
