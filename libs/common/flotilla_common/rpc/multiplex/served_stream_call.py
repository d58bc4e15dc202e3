"""One call that came over a shared stream, served by the same method as over plain gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

from flotilla.common.v1.call_service_pb2 import CallOpening
from grpc import RpcMethodHandler, StatusCode, aio

from flotilla_common.identity import Identity, SealedCall
from flotilla_common.rpc.call import Context
from flotilla_common.rpc.multiplex.answers import Answers
from flotilla_common.rpc.multiplex.bounds import SEAL_KEY, unpack_metadata
from flotilla_common.rpc.multiplex.context import StreamedContext
from flotilla_common.rpc.policy import LARGEST_MESSAGE

Handler: TypeAlias = "RpcMethodHandler[Any, Any]"
Find: TypeAlias = "Callable[[str], Awaitable[Handler | None]]"
_LATE_S = 0.002
"""Timers count whole milliseconds and may be early by one; a deadline never is."""


class ServedStreamCall:
    """A call with one request, from its opening to its end."""

    _is_late = False

    def __init__(
        self,
        call_id: int,
        opening: CallOpening,
        answers: Answers,
        connection: Context,
        open_seal: Callable[[bytes, SealedCall], Identity],
    ) -> None:
        self._call_id = call_id
        self._opening = opening
        self._answers = answers
        self._timeout_s = opening.timeout_ms / 1000 if opening.HasField("timeout_ms") else None
        metadata = unpack_metadata(opening.metadata)
        seal = next((value for key, value in metadata if key == SEAL_KEY), None)
        vouch = None
        if isinstance(seal, bytes):
            vouch = partial(open_seal, seal, SealedCall(call_id, opening.method, opening.request))
        self._context = StreamedContext(metadata, self._timeout_s, self._write, connection, vouch)
        self._serialise: Callable[[Any], bytes] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, find: Find) -> asyncio.Task[None]:
        """Serves the call in a task of its own, which fails only if what surrounds the method does."""
        self._task = asyncio.get_running_loop().create_task(self._serve(find))
        return self._task

    def cancel(self) -> None:
        """Cancels the call; nothing it writes from now on goes anywhere."""
        self._context.is_cancelled = True
        if self._task is not None:
            self._task.cancel()

    async def _serve(self, find: Find) -> None:
        handler: Any = await find(self._opening.method)
        if handler is None or handler.request_streaming:
            self._answers.end(self._call_id, StatusCode.UNIMPLEMENTED, "Method not found!")
            return
        self._serialise = handler.response_serializer
        timer = None
        if self._timeout_s is not None:
            timer = asyncio.get_running_loop().call_later(self._timeout_s + _LATE_S, self._expire)
        try:
            await self._run(handler)
        except asyncio.CancelledError:
            # Heard only if it was not the caller who cancelled.
            code = StatusCode.DEADLINE_EXCEEDED if self._is_late else StatusCode.CANCELLED
            self._answers.end(self._call_id, code)
            raise
        except aio.AbortError:
            self._end()
        except aio.InternalError:
            """The method wrote to a caller that is gone."""
        finally:
            if timer is not None:
                timer.cancel()
            self._context.finish()

    def _expire(self) -> None:
        self._is_late = True
        self.cancel()

    async def _run(self, handler: Any) -> None:
        context = self._context
        try:
            request = _converted(handler.request_deserializer, self._opening.request)
        except Exception:  # noqa: BLE001 - whatever a deserialiser raises, the request is what is wrong
            await context.abort(StatusCode.INVALID_ARGUMENT, "the request cannot be read")
        if handler.response_streaming:
            await handler.unary_stream(request, context)
            self._end()
            return
        answer = await handler.unary_unary(request, context)
        if context.code() not in (0, None, StatusCode.OK):
            self._end()
        elif context.trailing_metadata():
            await self._answers.answer(self._call_id, await self._serialised(answer))
            self._end()
        else:
            await self._answers.answer_and_end(self._call_id, await self._serialised(answer))

    def _end(self) -> None:
        context = self._context
        self._answers.end(self._call_id, context.code(), context.details(), context.trailing_metadata())

    async def _write(self, answer: Any) -> None:
        if self._context.is_cancelled:
            # As gRPC says it.
            raise aio.InternalError("the caller is gone")
        await self._answers.answer(self._call_id, await self._serialised(answer))

    async def _serialised(self, answer: Any) -> bytes:
        data: bytes = _converted(self._serialise, answer)
        if len(data) > LARGEST_MESSAGE:
            await self._context.abort(StatusCode.RESOURCE_EXHAUSTED, "Sent message larger than max")
        return data


def _converted(convert: Callable[[Any], Any] | None, value: Any) -> Any:
    return value if convert is None else convert(value)
