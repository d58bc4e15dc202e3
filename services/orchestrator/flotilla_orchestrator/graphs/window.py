"""Fits a conversation into a model's context window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flotilla_llm.tokens import at_most, count_tools
from flotilla_llm.trim import trim_messages

from flotilla_orchestrator.model import MessageDict
from flotilla_orchestrator.runs.wire_messages import to_wire

_MESSAGE_TOKENS = 16
"""More than any wire charges for a message's frame or a tool call's."""
_LARGEST_RESERVE = 0.5
"""A reply never takes more than this share of the window from the history."""


def fit(
    messages: Sequence[MessageDict],
    tools: Sequence[Mapping[str, Any]],
    *,
    window_tokens: int,
    reserved_tokens: int,
) -> Sequence[MessageDict]:
    """Returns the messages that fit beside the tools' definitions and the reply: system and newest first to stay.

    Most conversations are far below the window: a bound that needs no counting settles those.
    """
    room = window_tokens - min(reserved_tokens, int(window_tokens * _LARGEST_RESERVE))
    if tools:
        room -= count_tools(tools)
    if sum(map(_at_most, messages)) <= room:
        return messages
    wire = [to_wire(message) for message in messages]
    by_identity = {id(sent): message for sent, message in zip(wire, messages, strict=True)}
    return [by_identity[id(kept)] for kept in trim_messages(wire, room)]


def _at_most(message: MessageDict) -> int:
    """Returns an upper bound of a message's tokens."""
    total = _MESSAGE_TOKENS + at_most(message.get("content", ""))
    for call in message.get("tool_calls") or ():
        total += _MESSAGE_TOKENS + at_most(call["name"]) + at_most(call["args_json"])
    return total
