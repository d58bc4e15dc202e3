"""Shortens a conversation to a model's window: whole turns go, oldest first, and no tool call loses its result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from flotilla_llm.model import WireMessage
from flotilla_llm.tokens import count_message, message_at_least, message_at_most

Count = Callable[[WireMessage], int]
Block = list[WireMessage]
"""Messages that stay or go together: an assistant's tool calls and their results, or any other message alone."""

_SYSTEM = ("system", "developer")


@dataclass(frozen=True, slots=True)
class Measure:
    """How messages are measured: exactly, which takes its time, and by bounds that do not."""

    count: Count
    at_least: Count
    """Never more than `count`."""
    at_most: Count
    """Never less than `count`."""


TOKENS = Measure(count_message, message_at_least, message_at_most)


def trim_messages(messages: Sequence[WireMessage], max_tokens: int, measure: Measure = TOKENS) -> list[WireMessage]:
    """Returns the messages that fit, in their order; none is counted twice, nor where the bounds already tell.

    System messages, the last user message and the last block always stay, also when they alone exceed `max_tokens`.
    Of the rest the newest stay: first the steps since the last user message, then earlier turns (a user message and
    all that follows it). An earlier turn is worth less than a step of this one: none is kept when a step had to go.
    """
    system = [message for message in messages if message.get("role") in _SYSTEM]
    turns = _turns(_blocks(message for message in messages if message.get("role") not in _SYSTEM))
    if not turns:
        return system
    *earlier, current = turns
    opening = current[0] if len(current) > 1 else []
    *steps, last = current[1:] if opening else current
    parts = [*map(_flat, earlier), *steps]
    if not parts or sum(map(measure.at_most, messages)) <= max_tokens:
        return list(messages)
    needed = [*system, *opening, *last]
    kept = _newest_that_fit(parts, max_tokens - _cost(needed, max_tokens, measure), measure)
    return _in_order(messages, [needed, *kept])


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


def _flat(turn: Iterable[Block]) -> list[WireMessage]:
    return [message for block in turn for message in block]


def _newest_that_fit(parts: Sequence[list[WireMessage]], left: int, measure: Measure) -> Sequence[list[WireMessage]]:
    bounds = [sum(map(measure.at_most, part)) for part in parts]
    rest = sum(bounds)
    for at in range(len(parts) - 1, -1, -1):
        if rest <= left:
            return parts
        cost = _cost(parts[at], left, measure)
        if cost > left:
            return parts[at + 1 :]
        left -= cost
        rest -= bounds[at]
    return parts


def _cost(messages: Sequence[WireMessage], left: int, measure: Measure) -> int:
    """Returns what the messages cost, or something above `left` as soon as it is certain to be more than that."""
    cost = sum(map(measure.at_least, messages))
    for message in messages:
        if cost > left:
            break
        cost += measure.count(message) - measure.at_least(message)
    return cost


def _in_order(messages: Sequence[WireMessage], kept: Iterable[Block]) -> list[WireMessage]:
    chosen = {id(message) for block in kept for message in block}
    return [message for message in messages if id(message) in chosen]
