"""Replies as bytes of the OpenAI wire; a streamed token costs one join of prepared bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

DONE = b"data: [DONE]\n\n"
_TOKEN = re.compile(r"\s*\S{1,12}|\s+")


@dataclass(frozen=True, slots=True)
class WrittenCall:
    """A tool call as the model writes it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says."""

    text: str = ""
    calls: Sequence[WrittenCall] = ()
    finish_reason: str = "stop"


@dataclass(frozen=True, slots=True)
class Counts:
    """The tokens of a request and its reply."""

    read: int
    written: int

    def as_json(self) -> dict[str, Any]:
        """Returns the wire's usage object."""
        return {
            "prompt_tokens": self.read,
            "completion_tokens": self.written,
            "total_tokens": self.read + self.written,
        }


def tokens_of(text: str) -> list[str]:
    """Returns the text cut into the tokens in which it is streamed and counted."""
    return _TOKEN.findall(text)


class ChunkFrames:
    """Writes the events of one streamed reply."""

    def __init__(self, reply_id: str, created: int, model: str) -> None:
        head = orjson.dumps({"id": reply_id, "object": "chat.completion.chunk", "created": created, "model": model})
        self._head = b"data: " + head[:-1] + b',"choices":'
        self._open = self._head + b'[{"index":0,"delta":'
        self._text = self._open + b'{"content":'

    def role(self) -> bytes:
        """Returns the first event, which says who speaks."""
        return self._open + b'{"role":"assistant","content":""},"finish_reason":null}]}\n\n'

    def texts(self, tokens: Iterable[str]) -> list[bytes]:
        """Returns one event a token."""
        head, dumps, tail = self._text, orjson.dumps, b'},"finish_reason":null}]}\n\n'
        return [head + dumps(token) + tail for token in tokens]

    def calls(self, calls: Iterable[WrittenCall]) -> list[bytes]:
        """Returns one event that begins each tool call and one for each piece of its arguments."""
        frames = []
        for index, call in enumerate(calls):
            begin = {"name": call.name, "arguments": ""}
            frames.append(self._call({"index": index, "id": call.id, "type": "function", "function": begin}))
            frames += [
                self._call({"index": index, "function": {"arguments": piece}}) for piece in tokens_of(call.arguments)
            ]
        return frames

    def finish(self, reason: str) -> bytes:
        """Returns the event that says why the reply ended."""
        return self._open + b'{},"finish_reason":' + orjson.dumps(reason) + b"}]}\n\n"

    def usage(self, counts: Counts) -> bytes:
        """Returns the event that `stream_options.include_usage` asks for."""
        return self._head + b'[],"usage":' + orjson.dumps(counts.as_json()) + b"}\n\n"

    def _call(self, call: dict[str, Any]) -> bytes:
        return self._open + b'{"tool_calls":[' + orjson.dumps(call) + b']},"finish_reason":null}]}\n\n'


def whole_reply(reply_id: str, created: int, model: str, reply: Reply, counts: Counts) -> bytes:
    """Returns a reply that is not streamed."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or (None if reply.calls else "")}
    if reply.calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in reply.calls
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}
    return orjson.dumps(
        {
            "id": reply_id,
            "object": "chat.completion",
            "created": created,
            "model": model,
            "choices": [choice],
            "usage": counts.as_json(),
        }
    )
