"""Sends a reply at its pace, with its fault, and stops the moment that the client is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from flotilla_llm.development.behaviour import Behaviour, Fault
from flotilla_llm.development.frames import DONE, ChunkFrames, Counts, Reply, tokens_of

_BROKEN_EVENT = b'data: {"choices": [oops\n\n'
_BROKEN_BODY = b'{"choices": [oops'


@dataclass(slots=True)
class Stats:
    """What the server did since its start; tests read it at /dev/stats."""

    requests: int = 0
    active: int = 0
    active_streams: int = 0
    completed: int = 0
    cancelled: int = 0
    """Requests whose client left before the answer's end."""
    faults: int = 0
    tokens_sent: int = 0


class Delivery:
    """Sends one answer."""

    def __init__(self, request: web.Request, behaviour: Behaviour, stats: Stats) -> None:
        self._request = request
        self._fault = behaviour.fault
        self._first_delay_s = behaviour.first_delay_ms / 1000
        self._delay_s = (behaviour.delay_ms or 0) / 1000
        self._stats = stats

    async def stream(
        self, response: web.StreamResponse, frames: ChunkFrames, reply: Reply, usage: Counts | None
    ) -> None:
        """Sends the events, token by token where there is a delay and in one write where there is none."""
        await response.prepare(self._request)
        self._stats.active_streams += 1
        try:
            await asyncio.sleep(self._first_delay_s)
            tokens = frames.texts(tokens_of(reply.text)) + frames.calls(reply.calls)
            end = frames.finish(reply.finish_reason) + (frames.usage(usage) if usage else b"") + DONE
            await self._send_with_fault(response, frames.role(), tokens, end)
        finally:
            self._stats.active_streams -= 1

    async def whole(self, response: web.StreamResponse, body: bytes, tokens: int) -> None:
        """Sends a reply that is not streamed, after the time that its tokens take."""
        fault = self._fault
        await asyncio.sleep(self._first_delay_s + self._delay_s * tokens)
        if fault is not None and fault.kind == "stall":
            await asyncio.sleep(fault.stall_s)
        if fault is not None and fault.kind == "bad_json":
            body = _BROKEN_BODY
        response.content_length = len(body)
        await response.prepare(self._request)
        if fault is not None and fault.kind == "cut":
            await response.write(body[: len(body) // 2])
            self._hang_up()
            return
        await response.write(body)
        self._stats.tokens_sent += tokens

    async def _send_with_fault(
        self, response: web.StreamResponse, head: bytes, tokens: Sequence[bytes], end: bytes
    ) -> None:
        fault = self._fault
        if fault is None or fault.kind not in ("cut", "stall", "bad_json"):
            await self._send(response, head, tokens, end)
            return
        await self._send(response, head, tokens[: fault.after], b"")
        if await self._fail(response, fault):
            await self._send(response, b"", tokens[fault.after :], end)

    async def _fail(self, response: web.StreamResponse, fault: Fault) -> bool:
        """Does the fault; returns whether the stream goes on."""
        if fault.kind == "cut":
            self._hang_up()
            return False
        if fault.kind == "stall":
            await asyncio.sleep(fault.stall_s)
        else:
            await response.write(_BROKEN_EVENT)
        return True

    async def _send(self, response: web.StreamResponse, head: bytes, tokens: Sequence[bytes], end: bytes) -> None:
        if self._delay_s <= 0:
            await response.write(head + b"".join(tokens) + end)
            self._stats.tokens_sent += len(tokens)
            return
        for token in tokens:
            await response.write(head + token)
            head = b""
            self._stats.tokens_sent += 1
            await asyncio.sleep(self._delay_s)
        if head or end:
            await response.write(head + end)

    def _hang_up(self) -> None:
        if self._request.transport is not None:
            self._request.transport.close()
