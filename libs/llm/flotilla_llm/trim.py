"""Shortens a conversation to a model's window: whole turns go, oldest first, and no tool call loses its result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from flotilla_llm.model import ChatRequest, WireMessage
from flotilla_llm.routes import Route
from flotilla_llm.tokens import REPLY_OVERHEAD, count_message, count_tools, message_at_most

Count = Callable[[WireMessage], int]
Block = list[WireMessage]
"""Messages that stay or go together: an assistant's tool calls and their results, or any other message alone."""

T = TypeVar("T")

_SYSTEM = ("system", "developer")
_OUTPUT_RESERVE = 4096


def trim_messages(messages: Sequence[WireMessage], max_tokens: int, count: Count = count_message) -> list[WireMessage]:
    """Returns the messages that fit, in their order.

    System messages, the last user message and the last block always stay, also when they alone exceed `max_tokens`.
    Of the rest the newest stay: first the steps since the last user message, then earlier turns (a user message and
    all that follows it).
    """
    if count is count_message and sum(map(message_at_most, messages)) <= max_tokens:
        return list(messages)
    system = [message for message in messages if message.get("role") in _SYSTEM]
    turns = _turns(_blocks(message for message in messages if message.get("role") not in _SYSTEM))
    if not turns:
        return system
    *earlier, current = turns
    opening = [current[0]] if len(current) > 1 else []
    *steps, last = current[len(opening) :]
    left = max_tokens - _cost([system, *opening, last], count)
    kept_steps = _newest_that_fit(steps, left, lambda block: _cost([block], count))
    left -= _cost(kept_steps, count)
    # An earlier turn is worth less than a step of this one: none is kept when a step had to go.
    kept_turns = (
        _newest_that_fit(earlier, left, lambda turn: _cost(turn, count)) if len(kept_steps) == len(steps) else []
    )
    return _in_order(messages, [system, *(block for turn in kept_turns for block in turn), *opening, *kept_steps, last])


def fit(request: ChatRequest, route: Route) -> ChatRequest:
    """Returns the request with the messages that fit the route's window, beside its tools and the reply."""
    reserve = request.max_output_tokens or min(_OUTPUT_RESERVE, route.context_window // 4)
    room = route.context_window - reserve - REPLY_OVERHEAD
    if request.tools:
        room -= count_tools(request.tools)
    messages = trim_messages(request.messages, room)
    return request if len(messages) == len(request.messages) else replace(request, messages=messages)


def _blocks(messages: Iterable[WireMessage]) -> list[Block]:
    blocks: list[Block] = []
    open_calls: set[object] = set()
    for message in messages:
        if message.get("role") == "tool" and message.get("tool_call_id") in open_calls:
            blocks[-1].append(message)
            continue
        blocks.append([message])
        open_calls = {call.get("id") for call in message.get("tool_calls") or ()}
    return blocks


def _turns(blocks: Sequence[Block]) -> list[list[Block]]:
    turns: list[list[Block]] = []
    for block in blocks:
        if not turns or block[0].get("role") == "user":
            turns.append([])
        turns[-1].append(block)
    return turns


def _newest_that_fit(parts: Sequence[T], left: int, cost: Callable[[T], int]) -> list[T]:
    kept = len(parts)
    while kept and (left := left - cost(parts[kept - 1])) >= 0:
        kept -= 1
    return list(parts[kept:])


def _cost(blocks: Iterable[Block], count: Count) -> int:
    return sum(count(message) for block in blocks for message in block)


def _in_order(messages: Sequence[WireMessage], kept: Iterable[Block]) -> list[WireMessage]:
    chosen = {id(message) for block in kept for message in block}
    return [message for message in messages if id(message) in chosen]
