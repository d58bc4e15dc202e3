"""HTTP/1.1 as uvicorn speaks it, with bounds on what comes before a request's body."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 65_536
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: 49\r\n\r\n" + b'{"detail":"The request\'s headers are too large."}'
)


class BoundedHttpProtocol(HttpToolsProtocol):
    """Closes a connection whose request line and headers come too slowly, and refuses those that are too large.

    What is neither head nor body, such as trailers or empty lines, is bounded in the same two ways.
    """

    def __init__(self, *args: Any, head_timeout_s: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timeout_s = head_timeout_s
        self._head_bytes = 0
        self._is_in_head = False
        self._idle_bytes = 0
        """Since the last byte of a head or a body."""
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Begins to wait for the first request."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no more."""
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses, and counts what does not complete a head yet and what belongs to nothing."""
        was_in_head = self._is_in_head
        self._idle_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if was_in_head and self._is_in_head:
            self._head_bytes += len(data)
        if max(self._head_bytes if self._is_in_head else 0, self._idle_bytes) > MOST_HEAD_BYTES:
            self._refuse()
        elif self.cycle is not None and self.cycle.response_complete and self._head_timer is None:
            # What comes after a reply has ended uvicorn's wait for the next request, even if it begins none.
            self._expect_head()

    def on_message_begin(self) -> None:
        """Begins a head."""
        self._head_bytes, self._is_in_head = 0, True
        if self._head_timer is None:
            self._expect_head()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a header; a trailer is dropped, as nobody reads any."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Takes a piece of a body, which has bounds of its own."""
        self._idle_bytes = 0
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """Ends a head. One that came in a single piece is measured only now."""
        self._is_in_head, self._idle_bytes = False, 0
        self._head_came()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MOST_HEAD_BYTES:
            self._refuse()
            # The parser hands on nothing more of this connection.
            raise ValueError("the head is too large")
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answers a broken request, unless it was refused already."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(self._head_timeout_s, self.transport.close)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self) -> None:
        self.transport.write(_TOO_LARGE)
        self.transport.close()
