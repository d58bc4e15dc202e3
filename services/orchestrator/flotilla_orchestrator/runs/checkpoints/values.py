"""A graph's state as JSON for people and clients: messages in LangChain's shape, the loop's own channels left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

import orjson
from pydantic import BaseModel

_OWN_CHANNELS = ("__", "branch:", "join:")
_MESSAGE_TYPES = {"system", "human", "ai", "tool"}


def state_json(channel_values: Mapping[str, Any]) -> bytes:
    """Returns the state's channels as a UTF-8 JSON object."""
    return to_json({name: value for name, value in channel_values.items() if not name.startswith(_OWN_CHANNELS)})


def to_json(value: Any) -> bytes:
    """Returns a value of a graph as UTF-8 JSON; what JSON cannot say is its text."""
    return orjson.dumps(_with_messages(value), default=_plain, option=orjson.OPT_NON_STR_KEYS)


def langchain_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a plain message in the JSON shape of LangChain's messages."""
    shape = {
        "content": message.get("content", ""),
        "additional_kwargs": {},
        "response_metadata": {},
        "type": message["type"],
        "name": message.get("name"),
        "id": message.get("id"),
    }
    if message["type"] == "ai":
        calls = [_tool_call(call) for call in message.get("tool_calls") or ()]
        shape["tool_calls"] = [call for call in calls if call["type"] == "tool_call"]
        shape["invalid_tool_calls"] = [call for call in calls if call["type"] != "tool_call"]
    if message["type"] == "tool":
        shape["tool_call_id"] = message.get("tool_call_id")
        shape["status"] = message.get("status", "success")
    return shape


def _tool_call(call: Mapping[str, Any]) -> dict[str, Any]:
    if "args_json" not in call:
        return {**call, "type": "tool_call"}
    named = {"name": call["name"], "id": call["id"]}
    try:
        arguments = orjson.loads(call["args_json"] or "{}")
    except orjson.JSONDecodeError as exc:
        return {**named, "args": call["args_json"], "error": str(exc), "type": "invalid_tool_call"}
    return {**named, "args": arguments, "type": "tool_call"}


def _with_messages(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_with_messages(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") in _MESSAGE_TYPES and "content" in value:
        return langchain_message(value)
    return {name: _with_messages(item) for name, item in value.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return str(value)
