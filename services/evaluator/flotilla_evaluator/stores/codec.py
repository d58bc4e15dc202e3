"""How messages and usage are written into a column: JSON bytes, which also hold what Postgres's text refuses."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from flotilla_evaluator.model import Message, Role, ToolCall, Usage


def encode(values: Sequence[Message] | Sequence[Usage]) -> bytes:
    """Returns the values as a JSON array."""
    return orjson.dumps(list(values))


def decode_messages(raw: bytes) -> list[Message]:
    """Returns the messages that `encode` wrote."""
    return [
        Message(
            **{
                **fields,
                "role": Role(fields["role"]),
                "tool_calls": tuple(ToolCall(**call) for call in fields["tool_calls"]),
            }
        )
        for fields in orjson.loads(raw)
    ]


def decode_usage(raw: bytes) -> list[Usage]:
    """Returns the usage that `encode` wrote."""
    return [Usage(**fields) for fields in orjson.loads(raw)]
