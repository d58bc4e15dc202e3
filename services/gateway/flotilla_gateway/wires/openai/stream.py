"""A run's events as chunks of the OpenAI wire. Pure: bytes in the order they are to be sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from flotilla.common.v1.message_pb2 import MESSAGE_ROLE_ASSISTANT, Message, ModelUsage, ToolCall
from flotilla.orchestrator.v1.event_pb2 import ReplyRestarted, RunDone, RunEvent
from flotilla.orchestrator.v1.run_pb2 import (
    FINISH_REASON_CONTENT_FILTER,
    FINISH_REASON_LENGTH,
    FINISH_REASON_TOOL_CALLS,
)
from flotilla_common.errors import AbortedError, FailedPreconditionError, FlotillaError

from flotilla_gateway.wires.openai.errors import RunEndedError, error_body, run_failure
from flotilla_gateway.wires.sse import RETRY

_FINISH_REASONS = {
    FINISH_REASON_LENGTH: "length",
    FINISH_REASON_TOOL_CALLS: "tool_calls",
    FINISH_REASON_CONTENT_FILTER: "content_filter",
}
_BETWEEN_MESSAGES = "\n\n"
_RESTARTED = (
    "The reply was begun anew and differs. GET /v1/runs/{run_id}, or the same Idempotency-Key, gives the whole answer."
)
_DONE = b"data: [DONE]\n\n"


class ChatChunks:
    """Turns a run's events into chunks.

    Text of answers is passed on as it comes; an inner step's never is. `is_ended` is set by the last event that counts.
    """

    def __init__(self, *, run_id: str, created: int, model: str, include_usage: bool) -> None:
        head = {"id": completion_id(run_id), "object": "chat.completion.chunk", "created": created, "model": model}
        # Written once: only the delta differs between the chunks of a reply.
        self._head = b"data: " + orjson.dumps(head)[:-1]
        self._before = self._head + b',"choices":[{"index":0,"delta":'
        self._nothing_used = b',"usage":null' if include_usage else b""
        self._after = b',"finish_reason":null}]' + self._nothing_used + b"}\n\n"
        self._include_usage = include_usage
        self._spoken: set[str] = set()
        self._speaking = ""
        self.is_ended = False

    def opening(self) -> bytes:
        """Returns the first chunk, which says who speaks."""
        return RETRY + self._delta(b'{"role":"assistant","content":""}')

    def feed(self, events: Sequence[RunEvent]) -> bytes:
        """Returns the chunks that a batch of events is shown as; neighbouring text becomes one."""
        text, frames = "", b""
        for event in events:
            kind = event.WhichOneof("event")
            if kind == "token" and event.token.is_answer:
                text += self._say(event.token.message_id, event.token.text)
            elif kind == "message" and event.message.is_answer:
                text += self._say_unsaid(event.message.message)
            elif kind == "done":
                text += self._say_unsaid(event.done.answer)
                frames = self._finish(event.done)
            elif (error := interruption(event, self._spoken)) is not None:
                frames = self.error(error)
            if self.is_ended:
                break
        return (self._delta(b'{"content":' + orjson.dumps(text) + b"}") if text else b"") + frames

    def error(self, error: FlotillaError) -> bytes:
        """Returns the last chunk of a reply that goes wrong after its first byte."""
        self.is_ended = True
        return b"data: " + error_body(error) + b"\n\n"

    def _say(self, message_id: str, text: str) -> str:
        if not text:
            return ""
        separator = _BETWEEN_MESSAGES if self._speaking and self._speaking != message_id else ""
        self._speaking = message_id
        self._spoken.add(message_id)
        return separator + text

    def _say_unsaid(self, message: Message) -> str:
        """Returns the text of a message that came whole, such as one that a graph's own node wrote."""
        if message.role != MESSAGE_ROLE_ASSISTANT or message.id in self._spoken:
            return ""
        return self._say(message.id, message.content)

    def _finish(self, done: RunDone) -> bytes:
        self.is_ended = True
        reason = finish_reason(done)
        frames = b""
        if reason == "tool_calls":
            calls = [{"index": at, **tool_call(call)} for at, call in enumerate(done.answer.tool_calls)]
            frames += self._delta(b'{"tool_calls":' + orjson.dumps(calls) + b"}")
        frames += self._before + b'{},"finish_reason":"' + reason.encode() + b'"}]' + self._nothing_used + b"}\n\n"
        if self._include_usage:
            frames += self._head + b',"choices":[],"usage":' + orjson.dumps(usage(done.usage)) + b"}\n\n"
        return frames + _DONE

    def _delta(self, delta: bytes) -> bytes:
        return self._before + delta + self._after


def interruption(event: RunEvent, shown_messages: set[str]) -> FlotillaError | None:
    """Returns the error that ends a reply at this event, or None when it goes on.

    shown_messages: those whose text the client has and cannot be made to forget.
    """
    kind = event.WhichOneof("event")
    if kind == "failed":
        return run_failure(event.failed)
    if kind == "interrupted":
        return RunEndedError(
            FailedPreconditionError("The run waits for a person's decision.", reason="approval_required")
        )
    if kind == "reply_restarted" and _takes_back(event.reply_restarted, shown_messages):
        return RunEndedError(AbortedError(_RESTARTED, reason="reply_restarted"))
    return None


def completion_id(run_id: str) -> str:
    """Returns the id under which a run's answer is known on this wire."""
    return f"chatcmpl-{run_id}"


def finish_reason(done: RunDone) -> str:
    """Returns why the answer ended, in this wire's words."""
    return _FINISH_REASONS.get(done.finish_reason, "stop")


def tool_call(call: ToolCall) -> dict[str, Any]:
    """Returns a tool call as this wire shows it."""
    function = {"name": call.name, "arguments": call.arguments_json.decode()}
    return {"id": call.id, "type": "function", "function": function}


def usage(entries: Sequence[ModelUsage]) -> dict[str, int]:
    """Returns the tokens of all model calls of a run."""
    prompt = sum(entry.input_tokens for entry in entries)
    completion = sum(entry.output_tokens for entry in entries)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _takes_back(restarted: ReplyRestarted, shown_messages: set[str]) -> bool:
    return any(message_id in shown_messages for message_id in restarted.message_ids)
