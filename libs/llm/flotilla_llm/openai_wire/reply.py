"""Reads replies of the OpenAI wire, with the liberties that providers take with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from flotilla_llm.failures import failure
from flotilla_llm.model import (
    ChatReply,
    ChatRequest,
    EmbeddingReply,
    ReplyEnd,
    StreamPart,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from flotilla_llm.openai_wire.problems import error_in, error_in_stream
from flotilla_llm.routes import Price, Route
from flotilla_llm.tokens import MESSAGE_OVERHEAD, REPLY_OVERHEAD, count_message, count_text, count_tools, text_of

_FINISH_REASONS = {"stop", "length", "tool_calls", "content_filter"}


class StreamReader:
    """Reads the events of one streamed reply; texts that arrive together become one part."""

    def __init__(self) -> None:
        self.is_done = False
        self.is_alive = False
        """Whether the model has begun, visibly or by reasoning aloud."""
        self._finish_reason = ""
        self._model = ""
        self._usage: Mapping[str, Any] | None = None
        self._texts: list[str] = []
        self._calls = 0

    @property
    def is_complete(self) -> bool:
        """Whether the reply came to its end."""
        return self.is_done or bool(self._finish_reason)

    def read(self, events: Sequence[bytes]) -> list[StreamPart]:
        """Returns the parts in these events. Raises what an error event stands for."""
        parts: list[StreamPart] = []
        texts: list[str] = []
        for event in events:
            if event == b"[DONE]":
                self.is_done = True
                continue
            delta = self._read_chunk(orjson.loads(event))
            if delta is None:
                continue
            if text := delta.get("content"):
                texts.append(text)
                self._texts.append(text)
            if calls := delta.get("tool_calls"):
                _flush(texts, parts)
                parts.extend(self._read_call(call) for call in calls)
        _flush(texts, parts)
        if parts:
            self.is_alive = True
        return parts

    def end(self, name: str, route: Route, request: ChatRequest) -> ReplyEnd:
        """Returns the stream's last part; counts the tokens here when the provider did not."""
        reason = _finish_reason(self._finish_reason, calls_tools=self._calls > 0)
        model = self._model or route.model
        if self._usage is not None:
            return ReplyEnd(reason, read_usage(self._usage, model, route.price), name)
        return ReplyEnd(reason, estimate_usage(request, "".join(self._texts), model, route.price), name)

    def _read_chunk(self, chunk: Any) -> Mapping[str, Any] | None:
        if not isinstance(chunk, dict):
            raise failure("model_bad_reply", "The model provider's stream sent something that is not an object.")
        if chunk.get("error"):
            raise error_in_stream(error_in(chunk))
        if usage := chunk.get("usage"):
            self._usage = usage
        choices = chunk.get("choices")
        if not choices:
            return None
        self._model = chunk.get("model") or self._model
        choice = choices[0]
        if reason := choice.get("finish_reason"):
            self._finish_reason = reason
        delta: Mapping[str, Any] | None = choice.get("delta")
        if delta and (delta.get("reasoning_content") or delta.get("reasoning")):
            self.is_alive = True
        return delta

    def _read_call(self, call: Mapping[str, Any]) -> ToolCallDelta:
        function = call.get("function") or {}
        index = call.get("index")
        if index is None:
            # Some providers leave the index out: an id begins the next call.
            index = self._calls if call.get("id") else max(self._calls - 1, 0)
        self._calls = max(self._calls, index + 1)
        name, arguments = function.get("name") or "", function.get("arguments") or ""
        self._texts.append(name + arguments)
        return ToolCallDelta(index, call.get("id") or "", name, arguments)


def read_reply(body: Any, name: str, route: Route, request: ChatRequest) -> ChatReply:
    """Returns a whole reply. Raises model_bad_reply when it has no message."""
    if not isinstance(body, dict) or not body.get("choices"):
        raise failure("model_bad_reply", "The model provider's reply has no message.")
    choice = body["choices"][0]
    message = choice.get("message") or {}
    calls = [_whole_call(call) for call in message.get("tool_calls") or ()]
    content = text_of(message.get("content"))
    model = body.get("model") or route.model
    if usage := body.get("usage"):
        counted = read_usage(usage, model, route.price)
    else:
        written = content + "".join(call.name + call.arguments for call in calls)
        counted = estimate_usage(request, written, model, route.price)
    reason = _finish_reason(choice.get("finish_reason") or "", calls_tools=bool(calls))
    return ChatReply(content, calls, reason, counted, name)


def read_embeddings(body: Any, route: Route, texts: Sequence[str]) -> EmbeddingReply:
    """Returns the vectors in the order of the texts. Raises model_bad_reply when one is missing."""
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, list) or len(data) != len(texts):
        raise failure("model_bad_reply", "The embedding provider did not send one vector for each text.")
    vectors = [row["embedding"] for row in sorted(data, key=lambda row: int(row.get("index", 0)))]
    model = body.get("model") or route.model
    if usage := body.get("usage"):
        return EmbeddingReply(vectors, model, read_usage(usage, model, route.price))
    tokens = sum(map(count_text, texts))
    return EmbeddingReply(vectors, model, Usage(model, tokens, 0, _cost(route.price, tokens, 0, 0), is_estimated=True))


def read_usage(usage: Mapping[str, Any], model: str, price: Price) -> Usage:
    """Returns a provider's usage with its cost."""
    read, written = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
    cached = int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)
    return Usage(model, read, written, _cost(price, read, written, cached), cached_input_tokens=cached)


def estimate_usage(request: ChatRequest, written: str, model: str, price: Price) -> Usage:
    """Returns a usage that was counted here, and says so."""
    read = sum(map(count_message, request.messages)) + count_tools(request.tools) + REPLY_OVERHEAD
    output = count_text(written) + (MESSAGE_OVERHEAD if written else 0)
    return Usage(model, read, output, _cost(price, read, output, 0), is_estimated=True)


def _cost(price: Price, read: int, written: int, cached: int) -> int:
    cached_price = price.cached_input_usd_per_million
    if cached_price is None:
        cached_price = price.input_usd_per_million
    fresh = (read - cached) * price.input_usd_per_million
    return round(fresh + cached * cached_price + written * price.output_usd_per_million)


def _finish_reason(reason: str, *, calls_tools: bool) -> str:
    if calls_tools and reason not in ("length", "content_filter"):
        return "tool_calls"
    return reason if reason in _FINISH_REASONS else "stop"


def _whole_call(call: Mapping[str, Any]) -> ToolCall:
    function = call.get("function") or {}
    return ToolCall(call.get("id") or "", function.get("name") or "", function.get("arguments") or "")


def _flush(texts: list[str], parts: list[StreamPart]) -> None:
    if texts:
        parts.append(TextDelta("".join(texts)))
        texts.clear()
