"""Fits a request to the windows of the routes that it is sent to: once a window, and what is large in a thread."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from flotilla_llm.model import ChatRequest
from flotilla_llm.tokens import REPLY_OVERHEAD, count_tools, message_at_most, tools_at_most
from flotilla_llm.trim import trim_messages

_OUTPUT_RESERVE = 4096
_COUNTED_AT_ONCE = 64 * 1024
"""Bytes that are counted on the event loop: some 20 ms where none of them is in the cache, and none where all are."""


class Fitting:
    """One request, and what of it fits each window that was asked for."""

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._fitted: dict[int, ChatRequest] = {}

    async def to(self, context_window: int) -> ChatRequest:
        """Returns the request with the messages that fit; a large one is counted in a thread."""
        fitted = self._fitted.get(context_window)
        if fitted is None:
            fitted = self._fitted[context_window] = await _fit(self._request, context_window)
        return fitted


async def _fit(request: ChatRequest, context_window: int) -> ChatRequest:
    size = sum(map(message_at_most, request.messages)) + tools_at_most(request.tools)
    if size <= _room(request, context_window):
        return request
    if size <= _COUNTED_AT_ONCE:
        return fit(request, context_window)
    return await asyncio.to_thread(fit, request, context_window)


def fit(request: ChatRequest, context_window: int) -> ChatRequest:
    """Returns the request with the messages that fit the window, beside its tools and the reply."""
    room = _room(request, context_window) - count_tools(request.tools)
    messages = trim_messages(request.messages, room)
    return request if len(messages) == len(request.messages) else replace(request, messages=messages)


def _room(request: ChatRequest, context_window: int) -> int:
    """Returns the tokens that messages and tools may take."""
    return context_window - (request.max_output_tokens or min(_OUTPUT_RESERVE, context_window // 4)) - REPLY_OVERHEAD
