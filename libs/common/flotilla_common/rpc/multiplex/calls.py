"""Both kinds of calls over a shared stream, with the faces that generated stubs show."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Generator
from typing import Any

from grpc import StatusCode
from grpc.aio import EOF

from flotilla_common.rpc.multiplex.call import StreamedCall

LARGEST_UNREAD = 4 * 1024 * 1024
"""Of answers that a caller leaves lying; with more its call is ended, because others share the stream."""


class UnaryCall(StreamedCall):
    """A call with one answer."""

    _answer: Any = None

    def __await__(self) -> Generator[Any, None, Any]:
        """Waits for the answer. Raises AioRpcError."""
        try:
            yield from self._done
        except asyncio.CancelledError:
            self.cancel()
            raise
        self._raise_for_status()
        return self._answer

    def _take(self, answer: Any, size: int) -> None:
        self._answer = answer

    async def _call_plain(self) -> None:
        self._take(await self._call_plainly(), 0)


class AnswersCall(StreamedCall):
    """A call with many answers; who reads them reads promptly."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._unread: deque[tuple[Any, int]] = deque()
        self._unread_size = 0
        self._reader: asyncio.Future[None] | None = None
        self.add_done_callback(lambda _: self._wake())

    def __aiter__(self) -> AnswersCall:
        """Iterates over the answers. Raises AioRpcError."""
        return self

    async def __anext__(self) -> Any:
        """Returns the next answer."""
        answer = await self.read()
        if answer is EOF:
            raise StopAsyncIteration
        return answer

    async def read(self) -> Any:
        """Returns the next answer, EOF after the last. Raises AioRpcError."""
        while not self._unread:
            if self.done():
                self._raise_for_status()
                return EOF
            await self._until_woken()
        answer, size = self._unread.popleft()
        self._unread_size -= size
        return answer

    async def _until_woken(self) -> None:
        self._reader = self._loop.create_future()
        try:
            await self._reader
        except asyncio.CancelledError:
            self.cancel()
            raise

    def _take(self, answer: Any, size: int) -> None:
        self._unread.append((answer, size))
        self._unread_size += size
        if self._unread_size > LARGEST_UNREAD and len(self._unread) > 1:
            self._end_here(StatusCode.RESOURCE_EXHAUSTED, "the answers are read too slowly")
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def _call_plain(self) -> None:
        async for answer in self._call_plainly():
            self._take(answer, 0)
