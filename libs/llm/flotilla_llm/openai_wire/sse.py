"""Reads server-sent events from network chunks, with one fast path for what providers really send."""

from __future__ import annotations

from flotilla_llm.failures import failure

MAX_EVENT_BYTES = 16 * 1024 * 1024
_EVENT_END = b"\n\n"


class EventParser:
    """Cuts a byte stream into the data of its server-sent events (WHATWG); comments and other fields are skipped."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Returns the data of every event that the chunk completes. Raises model_bad_reply for an endless event."""
        buffer = self._rest + chunk if self._rest else chunk
        if b"\r" in buffer:
            # A trailing CR may be half of a CRLF, so it waits for its other half.
            buffer, kept = (buffer[:-1], b"\r") if buffer.endswith(b"\r") else (buffer, b"")
            buffer = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n") + kept
        blocks = buffer.split(_EVENT_END)
        self._rest = blocks.pop()
        if len(self._rest) > MAX_EVENT_BYTES:
            raise failure("model_bad_reply", "The model's stream sent an event without an end.")
        return [data for block in blocks if (data := _data_of(block))]

    def finish(self) -> list[bytes]:
        """Returns what a server that ends without a blank line left behind."""
        rest, self._rest = self._rest, b""
        data = _data_of(rest.rstrip(b"\r\n"))
        return [data] if data else []


def _data_of(block: bytes) -> bytes:
    if block.startswith(b"data: ") and b"\n" not in block:
        return block[6:]
    lines = [line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines)
