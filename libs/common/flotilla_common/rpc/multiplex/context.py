"""What a method is given of a call that came over a shared stream: the context that gRPC gives for one of its own."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NoReturn

from grpc import Compression, Status, StatusCode
from grpc.aio import AbortError, BaseError, ServicerContext

from flotilla_common.identity import Identity
from flotilla_common.rpc.multiplex.bounds import Metadata


class StreamedContext(ServicerContext[Any, Any]):
    """The call's metadata, deadline and status, and how a method that streams its answers writes them."""

    def __init__(
        self,
        metadata: Metadata,
        timeout_s: float | None,
        write: Callable[[Any], Awaitable[None]],
        connection: ServicerContext[Any, Any],
        vouch: Callable[[], Identity] | None,
    ) -> None:
        self.vouch = vouch
        """Proves for whom the call is; None where its metadata has a token."""
        self._metadata = metadata
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._write = write
        self._connection = connection
        self._callbacks: list[Callable[[Any], None]] = []
        self._trailing: Metadata = ()
        self._code: Any = 0
        self._details = ""
        self._is_done = False
        self.is_cancelled = False

    async def read(self) -> Any:
        """Raises: the one request is the method's argument."""
        raise BaseError("a method with one request reads none")

    async def write(self, message: Any) -> None:
        """Sends an answer; waits while the caller is slow to read."""
        await self._write(message)

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        """Does nothing: what is said before the first answer does not travel over shared streams."""

    async def abort(self, code: StatusCode, details: str = "", trailing_metadata: Any = ()) -> NoReturn:
        """Ends the call with a status."""
        self._code, self._details = code, details
        if trailing_metadata:
            self._trailing = tuple(trailing_metadata)
        raise AbortError("locally aborted")

    async def abort_with_status(self, status: Status) -> NoReturn:
        """Ends the call with a status."""
        await self.abort(status.code, status.details, status.trailing_metadata or ())

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        """Sets what travels with the status."""
        self._trailing = tuple(trailing_metadata)

    def invocation_metadata(self) -> Any:
        """Returns the caller's metadata."""
        return self._metadata

    def time_remaining(self) -> float | None:  # type: ignore[override] # as gRPC's own, which is typed too narrowly
        """Returns the seconds until the caller's deadline, None without one."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def set_code(self, code: Any) -> None:
        """Sets the status code."""
        self._code = code

    def code(self) -> Any:
        """Returns the status code; 0 when none was set."""
        return self._code

    def set_details(self, details: str) -> None:
        """Sets the status's message."""
        self._details = details

    def details(self) -> str:
        """Returns the status's message."""
        return self._details

    def trailing_metadata(self) -> Any:
        """Returns what travels with the status."""
        return self._trailing

    def set_compression(self, compression: Compression) -> None:
        """Does nothing: answers share their stream's compression."""

    def disable_next_message_compression(self) -> None:
        """Does nothing: answers share their stream's compression."""

    def peer(self) -> str:
        """Returns the address of the caller."""
        return self._connection.peer()

    def peer_identities(self) -> Iterable[bytes] | None:
        """Returns what TLS says of the caller."""
        return self._connection.peer_identities()

    def peer_identity_key(self) -> str | None:
        """Returns which of TLS's words names the caller."""
        return self._connection.peer_identity_key()

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Returns what TLS says of the connection."""
        return self._connection.auth_context()

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Has a function called when the call has ended."""
        self._callbacks.append(callback)

    def cancelled(self) -> bool:
        """True if the caller went or its deadline passed."""
        return self.is_cancelled

    def done(self) -> bool:
        """True once the call has ended."""
        return self._is_done

    def finish(self) -> None:
        """Ends the call and tells those who wanted to know."""
        self._is_done = True
        for callback in self._callbacks:
            callback(self)
