"""Server-sent events on raw ASGI: flushed per write, with a comment when nothing else is to say."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from starlette.types import Send

RETRY = b"retry: 1000\n"
_PING = b": ping\n\n"
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class EventStream:
    """One reply's events.

    ping_s: how long nothing may be said.
    stall_s: how long a reader may take no byte; then the task that writes is cancelled.
    """

    def __init__(self, send: Send, *, ping_s: float = 15.0, stall_s: float = 60.0) -> None:
        self._send = send
        self._ping_s = ping_s
        self._stall_s = stall_s
        self._loop = asyncio.get_running_loop()
        self._written_at = self._loop.time()
        self._is_writing = False
        self._timer: asyncio.TimerHandle | None = None
        self._ping: asyncio.Task[None] | None = None
        self._owner = asyncio.current_task()

    async def open(self, first: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Sends status, headers and the first events."""
        await self._send({"type": "http.response.start", "status": 200, "headers": [*_HEADERS, *headers]})
        self._timer = self._loop.call_later(self._ping_s, self._tick)
        await self.write(first)

    async def write(self, frames: bytes) -> None:
        """Sends whole events."""
        self._written_at = self._loop.time()
        self._is_writing = True
        await self._send({"type": "http.response.body", "body": frames, "more_body": True})
        self._is_writing = False

    async def close(self, last: bytes = b"") -> None:
        """Sends the last events and ends the reply."""
        self.stop()
        await self._send({"type": "http.response.body", "body": last, "more_body": False})

    def stop(self) -> None:
        """Stops the pings, however the reply ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        quiet_s = self._loop.time() - self._written_at
        if self._is_writing and quiet_s > self._stall_s and self._owner is not None:
            self._owner.cancel()
            return
        if quiet_s >= self._ping_s and not self._is_writing:
            self._ping = self._loop.create_task(self.write(_PING))
            quiet_s = 0.0
        wait_s = self._ping_s if self._is_writing else self._ping_s - quiet_s
        self._timer = self._loop.call_later(max(wait_s, 0.01), self._tick)
