"""A model that says what a script tells it, token by token, and can be held, cut or made to differ."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

from flotilla_common.errors import UnavailableError
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
from flotilla_llm.routes import Route


@dataclass(frozen=True, slots=True)
class Reply:
    """One scripted reply."""

    text: str = ""
    calls: Sequence[tuple[str, str]] = ()
    """Name and arguments of each tool call."""
    cut_after: int | None = None
    """Break the stream after this many tokens."""
    hold_after: int | None = None
    """Wait after this many tokens until `ScriptedModel.go_on` is set."""
    error: Exception | None = None
    gap_s: float = 0.0


Script = Callable[[ChatRequest, int], Reply]
"""Gives the reply to a request; the number counts the model's calls from 0."""


@dataclass
class ScriptedModel:
    """Implements ModelClient."""

    script: Script
    requests: list[ChatRequest] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    holding: asyncio.Event = field(default_factory=asyncio.Event)
    closed: int = 0
    """Streams that their reader closed before the end."""

    async def stream(self, request: ChatRequest, *, routes: Sequence[str]) -> AsyncGenerator[StreamPart, None]:
        reply = self.script(request, len(self.requests))
        self.requests.append(request)
        if reply.error is not None:
            raise reply.error
        tokens = split(reply.text)
        has_ended = False
        try:
            for place, token in enumerate(tokens):
                await self._pause(reply, place)
                yield TextDelta(token)
            if reply.hold_after is not None and reply.hold_after >= len(tokens):
                await self._pause(reply, reply.hold_after)
            for index, (name, arguments) in enumerate(reply.calls):
                half = len(arguments) // 2
                yield ToolCallDelta(index, f"theirs-{index}", name, arguments[:half])
                yield ToolCallDelta(index, "", "", arguments[half:])
            yield ReplyEnd("tool_calls" if reply.calls else "stop", Usage("scripted", 10, len(tokens), 7), "default")
            has_ended = True
        finally:
            self.closed += not has_ended

    async def complete(self, request: ChatRequest, *, routes: Sequence[str]) -> ChatReply:
        text, calls, end = "", dict[int, ToolCall](), None
        async for part in self.stream(request, routes=routes):
            if isinstance(part, TextDelta):
                text += part.text
            elif isinstance(part, ToolCallDelta):
                before = calls.get(part.index, ToolCall("", "", ""))
                calls[part.index] = ToolCall(
                    before.id or part.id, before.name + part.name, before.arguments + part.arguments
                )
            else:
                end = part
        if end is None:
            raise UnavailableError("cut", reason="model_stream_broken")
        return ChatReply(text, list(calls.values()), end.finish_reason, end.usage, end.route)

    async def embed(self, texts: Sequence[str], *, route: str) -> EmbeddingReply:
        vectors = [[float(len(text)), 1.0] for text in texts]
        return EmbeddingReply(vectors, "scripted-embed", Usage("scripted-embed", len(texts), 0, 0))

    def route(self, name: str) -> Route:
        return Route(base_url="http://127.0.0.1:1/v1", model="scripted-embed")

    async def _pause(self, reply: Reply, place: int) -> None:
        if place == reply.cut_after:
            raise UnavailableError("cut", reason="model_stream_broken")
        if place == reply.hold_after:
            self.holding.set()
            await self.go_on.wait()
        await asyncio.sleep(reply.gap_s)


def split(text: str) -> list[str]:
    """Returns a text's tokens: each word with the space before it."""
    words = text.split(" ")
    return [words[0], *(f" {word}" for word in words[1:])] if text else []


def always(text: str, **options: object) -> Script:
    """Returns a script that says the same every time."""
    return lambda request, number: Reply(text, **options)  # type: ignore[arg-type] # tests name Reply's own fields


def in_turn(*replies: Reply) -> Script:
    """Returns a script of one reply a call; the last one is repeated."""
    return lambda request, number: replies[min(number, len(replies) - 1)]
