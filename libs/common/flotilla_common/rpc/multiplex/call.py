"""A caller's call over a shared stream: tried again, limited and given up as one over plain gRPC."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from flotilla.common.v1.call_service_pb2 import CallAnswer, CallEnd, CallOpening
from grpc import StatusCode
from grpc.aio import AioRpcError, BaseError
from grpc.aio import Metadata as GrpcMetadata

from flotilla_common.identity import SESSION_OVER, Identity
from flotilla_common.rpc.details import details_in
from flotilla_common.rpc.multiplex.bounds import Metadata, unpack_metadata
from flotilla_common.rpc.policy import LARGEST_MESSAGE, MOST_ATTEMPTS, backoff_s
from flotilla_common.status import code_of_number

if TYPE_CHECKING:
    from flotilla_common.rpc.multiplex.stream import CallStream

_LONGEST_TIMEOUT_MS = 2**32 - 1


class Pick(Protocol):
    """Where a call finds a stream."""

    def pick(self) -> CallStream | None:
        """Returns a stream that takes a call now, or None."""


@dataclass(frozen=True, slots=True)
class Method:
    """What is the same in all calls of a method."""

    path: str
    plain: Callable[..., Any]
    """Calls it over plain gRPC."""
    deserialise: Callable[[bytes], Any] | None


class StreamedCall:
    """What calls with one answer and calls with many have in common.

    A call whose server answers UNAVAILABLE before anything else is tried again as the channel's retry policy would;
    one whose stream breaks before any answer, or whose session is over, goes over plain gRPC at once.
    """

    def __init__(
        self,
        streams: Pick,
        method: Method,
        request: Any,
        data: bytes,
        metadata: Metadata,
        identity: Identity | None,
        timeout_s: float | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._streams = streams
        self._method = method
        self._request = request
        self._data = data
        self._metadata = metadata
        self._identity = identity
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._timer = None if timeout_s is None else self._loop.call_later(timeout_s, self._expire)
        self._retry: asyncio.TimerHandle | None = None
        self._attempts = 0
        self._stream: CallStream | None = None
        self._id = 0
        self._over_plain: asyncio.Task[None] | None = None
        self._pieces: list[bytes] = []
        self._has_answers = False
        self._code: StatusCode | None = None
        self._details = ""
        self._trailing: Metadata = ()
        self._callbacks: list[Callable[[Any], None]] = []
        self._is_given_up = False
        self._done: asyncio.Future[None] = self._loop.create_future()

    # What the channel and the stream do with it.

    def start(self, stream: CallStream) -> None:
        """Opens the call on a stream."""
        self._attempts += 1
        self._stream = stream
        opening = CallOpening(method=self._method.path, request=self._data)
        if (timeout_s := self.time_remaining()) is not None:
            opening.timeout_ms = min(int(timeout_s * 1000), _LONGEST_TIMEOUT_MS)
        self._id = stream.open(self, opening, self._metadata, self._identity)

    def hear_answer(self, answer: CallAnswer) -> None:
        """Takes an answer or a piece of it."""
        if answer.has_more or self._pieces:
            self._pieces.append(answer.piece)
            if answer.has_more:
                return
            data = b"".join(self._pieces)
            self._pieces.clear()
        else:
            data = answer.piece
        self._take_data(data)

    def hear_end(self, end: CallEnd) -> None:
        """Takes how the call ended."""
        self._stream = None
        code = code_of_number(end.code)
        if end.HasField("answer"):
            self._take_data(end.answer)
        if self._code is not None:
            return
        trailing = unpack_metadata(end.trailing_metadata)
        if code is not StatusCode.UNAVAILABLE or self._has_answers:
            self._finish(code, end.message, trailing)
        elif (details := details_in(trailing)) is not None and details.reason == SESSION_OVER:
            self._go_over_plain()
        elif self._attempts < MOST_ATTEMPTS:
            wait_s = backoff_s(self._attempts) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter is no secret
            self._retry = self._loop.call_later(wait_s, self._try_again)
        else:
            self._finish(code, end.message, trailing)

    def hear_break(self) -> None:
        """Takes that the stream is gone and the call's fate unknown."""
        self._stream = None
        if self._has_answers:
            self._finish(StatusCode.UNAVAILABLE, "the stream of calls broke")
        else:
            self._go_over_plain()

    # What its caller does with it.

    def cancel(self) -> bool:
        """Gives the call up; returns False if it has ended."""
        if self._code is not None:
            return False
        self._is_given_up = True
        self._end_here(StatusCode.CANCELLED, "Locally cancelled by application!")
        return True

    def cancelled(self) -> bool:
        """True if the caller gave it up or the server says that it is cancelled."""
        return self._code is StatusCode.CANCELLED

    def done(self) -> bool:
        """True once the call has ended."""
        return self._code is not None

    def time_remaining(self) -> float | None:
        """Returns the seconds until the deadline, None without one."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Has a function called when the call has ended."""
        if self._code is None:
            self._callbacks.append(callback)
        else:
            callback(self)

    @property
    def known_code(self) -> StatusCode | None:
        """How it ended; None while it goes on."""
        return self._code

    async def initial_metadata(self) -> GrpcMetadata:
        """Returns nothing: none travels over shared streams."""
        return GrpcMetadata()

    async def trailing_metadata(self) -> GrpcMetadata:
        """Waits for the end and returns what came with the status."""
        await self._until_done()
        return GrpcMetadata(*self._trailing)

    async def code(self) -> StatusCode:
        """Waits for the end and returns the status code."""
        await self._until_done()
        return self._code or StatusCode.UNKNOWN

    async def details(self) -> str:
        """Waits for the end and returns the status's message."""
        await self._until_done()
        return self._details

    async def wait_for_connection(self) -> None:
        """Returns at once: the stream is up."""

    # What the two kinds do differently.

    def _take(self, answer: Any, size: int) -> None:
        raise NotImplementedError

    async def _call_plain(self) -> None:
        raise NotImplementedError

    # The rest.

    async def _until_done(self) -> None:
        if self._code is None:
            await asyncio.shield(self._done)

    def _call_plainly(self) -> Any:
        return self._method.plain(
            self._request, timeout=self.time_remaining(), metadata=self._metadata, identity=self._identity
        )

    def _take_data(self, data: bytes) -> None:
        self._has_answers = True
        if self._code is not None:
            return
        if len(data) > LARGEST_MESSAGE:
            self._end_here(StatusCode.RESOURCE_EXHAUSTED, "the answer is too large")
            return
        try:
            answer = data if self._method.deserialise is None else self._method.deserialise(data)
        except Exception:  # noqa: BLE001 - whatever a deserialiser raises, the answer is what is wrong
            self._end_here(StatusCode.INTERNAL, "Exception deserializing response!")
            return
        self._take(answer, len(data))

    def _try_again(self) -> None:
        stream = self._streams.pick()
        if stream is None:
            self._go_over_plain()
        else:
            self.start(stream)

    def _go_over_plain(self) -> None:
        self._over_plain = self._loop.create_task(self._finish_over_plain(), name="call over plain gRPC")

    async def _finish_over_plain(self) -> None:
        try:
            await self._call_plain()
        except AioRpcError as exc:
            self._finish(exc.code(), exc.details() or "", tuple(exc.trailing_metadata() or ()))
        except (asyncio.CancelledError, BaseError):
            # The channel was closed, or the call was given up before.
            self.cancel()
        else:
            self._finish(StatusCode.OK, "")

    def _expire(self) -> None:
        self._end_here(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

    def _end_here(self, code: StatusCode, details: str) -> None:
        """Ends the call on this side, and tells the other."""
        if self._stream is not None:
            self._stream.cancel(self._id)
            self._stream = None
        if self._over_plain is not None:
            self._over_plain.cancel()
        self._finish(code, details)

    def _finish(self, code: StatusCode, details: str, trailing: Metadata = ()) -> None:
        if self._code is not None:
            return
        self._code, self._details, self._trailing = code, details, trailing
        for timer in (self._timer, self._retry):
            if timer is not None:
                timer.cancel()
        if not self._done.done():
            self._done.set_result(None)
        for callback in self._callbacks:
            callback(self)

    def _raise_for_status(self) -> None:
        if self._is_given_up:
            raise asyncio.CancelledError
        if self._code is not StatusCode.OK:
            code = self._code or StatusCode.UNKNOWN
            raise AioRpcError(code, GrpcMetadata(), GrpcMetadata(*self._trailing), details=self._details)
