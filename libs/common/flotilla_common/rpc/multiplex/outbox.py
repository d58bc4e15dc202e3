"""What waits to be written to a stream: all that comes during one write goes with the next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from flotilla_common.rpc.multiplex.bounds import LARGEST_BATCH

Frame = TypeVar("Frame")


class Outbox(Generic[Frame]):
    """Frames in the order they came, written in batches without a timer: nobody waits for company."""

    def __init__(self, write: Callable[[list[Frame]], Awaitable[None]]) -> None:
        self._write = write
        self._frames: deque[tuple[Frame, int]] = deque()
        self._size = 0
        self._is_closed = False
        self._wake: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._room.set()

    @property
    def is_full(self) -> bool:
        """True while more than one batch waits: the other side reads too slowly."""
        return self._size > LARGEST_BATCH

    def put(self, frame: Frame, size: int) -> None:
        """Adds a frame of about this many bytes; who adds large ones awaits `room` first."""
        self._frames.append((frame, size))
        self._size += size
        if self._size > LARGEST_BATCH:
            self._room.clear()
        self._rouse()

    async def room(self) -> None:
        """Waits until no more than a batch is waiting."""
        await self._room.wait()

    def close(self) -> None:
        """Lets `run` end once everything is written."""
        self._is_closed = True
        self._rouse()

    async def run(self) -> None:
        """Writes until closed; raises what writing raises."""
        while True:
            if not self._frames:
                if self._is_closed:
                    return
                self._wake = asyncio.get_running_loop().create_future()
                await self._wake
                continue
            await self._write(self._take())

    def _take(self) -> list[Frame]:
        if self._size <= LARGEST_BATCH:
            batch = [frame for frame, _ in self._frames]
            self._frames.clear()
            self._size = 0
            return batch
        batch, taken = [], 0
        while self._frames and taken < LARGEST_BATCH:
            frame, size = self._frames.popleft()
            batch.append(frame)
            taken += size
        self._size -= taken
        if self._size <= LARGEST_BATCH:
            self._room.set()
        return batch

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
