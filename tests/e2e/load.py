"""Load through the ingress: unary chats at a fixed rate beside a fixed number of streams, all of them checked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count

import httpx

from e2e.edge import Edge, chat_body, counting
from e2e.ledger import Entry, Ledger

FACTOR = float(os.environ.get("FLOTILLA_E2E_LOAD", "1"))
"""Part of the load that is asked for, for machines that have other work to do."""
_UNARY_LAST = 12


@dataclass(frozen=True, slots=True)
class Shape:
    """How much is asked for."""

    unary_per_s: float = 20.0
    streams: int = 10
    """Streams that run at every moment; when one ends the next begins."""
    stream_tokens: int = 400
    stream_delay_ms: int = 50


@dataclass(slots=True)
class Load:
    """A load that runs until it is told to end, and then finishes what it began."""

    edge: Edge
    shape: Shape
    ledger: Ledger = field(default_factory=Ledger)
    _end: threading.Event = field(default_factory=threading.Event)
    _numbers: Iterator[int] = field(default_factory=count)

    def finished(self) -> int:
        """Returns how many conversations have ended."""
        return sum(entry.seconds > 0 for entry in list(self.ledger.entries))

    async def run(self) -> None:
        """Asks until the end is called, and waits for all answers."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
        async with (
            httpx.AsyncClient(
                base_url=self.edge.url, headers=self.edge.headers, timeout=httpx.Timeout(90, connect=10), limits=limits
            ) as client,
            asyncio.TaskGroup() as streams,
        ):
            for place in range(self.shape.streams):
                streams.create_task(self._stream_on_and_on(client, place))
            if self.shape.unary_per_s:
                streams.create_task(self._ask_at_rate(client))

    def end(self) -> None:
        """Begins nothing more."""
        self._end.set()

    async def _ask_at_rate(self, client: httpx.AsyncClient) -> None:
        async with asyncio.TaskGroup() as chats:
            due = time.monotonic()
            while not self._end.is_set():
                chats.create_task(self._ask(client))
                due += 1 / self.shape.unary_per_s
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _stream_on_and_on(self, client: httpx.AsyncClient, place: int) -> None:
        # They begin one after the other, so that at any moment some have just begun and some are about to end.
        await asyncio.sleep(place * self.shape.stream_tokens * self.shape.stream_delay_ms / 1000 / self.shape.streams)
        while not self._end.is_set():
            entry = self._entry(is_stream=True, last=self.shape.stream_tokens)
            await self._converse(client, entry)
            # A client that is refused tries again soon, not at once.
            await asyncio.sleep(1.0 if entry.failure else 0.0)

    async def _ask(self, client: httpx.AsyncClient) -> None:
        await self._converse(client, self._entry(is_stream=False, last=_UNARY_LAST))

    def _entry(self, *, is_stream: bool, last: int) -> Entry:
        entry = Entry(next(self._numbers), is_stream, last, time.monotonic())
        self.ledger.entries.append(entry)
        return entry

    async def _converse(self, client: httpx.AsyncClient, entry: Entry) -> None:
        try:
            await (self._read_stream(client, entry) if entry.is_stream else self._read_answer(client, entry))
        except httpx.TransportError as error:
            cut = "cut: " if entry.run_id else ""
            entry.failure = f"{cut}{type(error).__name__}"
        entry.judge()
        entry.seconds = time.monotonic() - entry.began_s

    async def _read_answer(self, client: httpx.AsyncClient, entry: Entry) -> None:
        question = counting(entry.last, salt=str(entry.number))
        reply = await client.post("/v1/chat/completions", json=chat_body(question, stream=False))
        entry.run_id = reply.headers.get("X-Run-Id", "")
        if reply.is_success:
            entry.text = reply.json()["choices"][0]["message"]["content"]
        else:
            entry.failure = _refusal(reply.status_code, reply.text)

    async def _read_stream(self, client: httpx.AsyncClient, entry: Entry) -> None:
        question = counting(entry.last, delay_ms=self.shape.stream_delay_ms, salt=str(entry.number))
        async with client.stream("POST", "/v1/chat/completions", json=chat_body(question, stream=True)) as reply:
            entry.run_id = reply.headers.get("X-Run-Id", "")
            if not reply.is_success:
                entry.failure = _refusal(reply.status_code, (await reply.aread()).decode())
                return
            entry.failure = "cut: no [DONE]"
            heard = time.monotonic()
            async for line in reply.aiter_lines():
                if line == "data: [DONE]":
                    entry.failure = entry.failure if entry.failure.startswith("error") else ""
                elif line.startswith("data: "):
                    entry.hear(since=heard)
                    heard = time.monotonic()
                    _take(entry, json.loads(line[6:]))


def _take(entry: Entry, chunk: dict[str, object]) -> None:
    if isinstance(error := chunk.get("error"), dict):
        entry.failure = f"error in the stream: {error.get('code') or error.get('type')}"
        return
    choices = chunk["choices"]
    assert isinstance(choices, list)
    entry.text += "".join(choice["delta"].get("content") or "" for choice in choices)


def _refusal(status: int, body: str) -> str:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        error = json.loads(body)["error"]
        return f"{status} {error.get('code') or error.get('type')}"
    return f"{status} from the way there"


@contextmanager
def running_load(edge: Edge, shape: Shape | None = None) -> Iterator[Load]:
    """Runs a load beside the block, in a thread of its own, and returns when all its answers are in."""
    asked = shape or Shape()
    part = replace(asked, unary_per_s=asked.unary_per_s * FACTOR, streams=max(1, round(asked.streams * FACTOR)))
    load = Load(edge, part)
    thread = threading.Thread(target=lambda: asyncio.run(load.run()), name="load")
    thread.start()
    try:
        yield load
    finally:
        load.end()
        thread.join(timeout=180)
        assert not thread.is_alive(), "the load does not end"
