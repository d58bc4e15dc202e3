"""One call that came over a shared stream, served by the same method as over plain gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from flotilla.common.v1.call_service_pb2 import CallOpening
from grpc import RpcMethodHandler, StatusCode, aio

from flotilla_common.rpc.call import Context
from flotilla_common.rpc.multiplex.answers import Answers
from flotilla_common.rpc.multiplex.bounds import LARGEST_MESSAGE, unpack_metadata
from flotilla_common.rpc.multiplex.context import StreamedContext

Handler: TypeAlias = "RpcMethodHandler[Any, Any]"
Find: TypeAlias = "Callable[[str], Awaitable[Handler | None]]"
_LATE_S = 0.002
"""Timers count whole milliseconds and may be early by one; a deadline never is."""


class ServedCall:
    """A call with one request, from its opening to its end."""

    def __init__(self, call_id: int, opening: CallOpening, answers: Answers, connection: Context) -> None:
        self._call_id = call_id
        self._opening = opening
        self._answers = answers
        self._connection = connection

    async def serve(self, find: Find) -> None:
        """Serves the call and says how it ended, unless its caller has gone."""
        opening = self._opening
        handler: Any = await find(opening.method)
        if handler is None or handler.request_streaming:
            self._answers.end(self._call_id, StatusCode.UNIMPLEMENTED, "Method not found!")
            return
        timeout_s = opening.timeout_ms / 1000 if opening.HasField("timeout_ms") else None
        metadata = unpack_metadata(opening.metadata)
        context = StreamedContext(metadata, timeout_s, self._writer(handler), connection=self._connection)
        timer = _limit(timeout_s, context)
        try:
            await self._run(handler, context)
        except asyncio.CancelledError:
            context.is_cancelled = True
            if context.is_late:
                self._answers.end(self._call_id, StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
            raise
        except aio.AbortError:
            self._end(context)
        finally:
            if timer is not None:
                timer.cancel()
            context.finish()

    async def _run(self, handler: Any, context: StreamedContext) -> None:
        try:
            request = _converted(handler.request_deserializer, self._opening.request)
        except Exception:  # noqa: BLE001 - whatever a deserialiser raises, the request is what is wrong
            await context.abort(StatusCode.INVALID_ARGUMENT, "the request cannot be read")
        if handler.response_streaming:
            await handler.unary_stream(request, context)
            self._end(context)
            return
        answer = await handler.unary_unary(request, context)
        if context.code() or context.trailing_metadata():
            self._end(context)
            return
        await self._answers.answer_and_end(self._call_id, await _serialised(handler, answer, context))

    def _end(self, context: StreamedContext) -> None:
        self._answers.end(self._call_id, context.code(), context.details(), context.trailing_metadata())

    def _writer(self, handler: Any) -> Callable[[Any, StreamedContext], Awaitable[None]]:
        async def write(answer: Any, context: StreamedContext) -> None:
            await self._answers.answer(self._call_id, await _serialised(handler, answer, context))

        return write


def _limit(timeout_s: float | None, context: StreamedContext) -> asyncio.TimerHandle | None:
    if timeout_s is None:
        return None
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a call is served in a task

    def expire() -> None:
        context.is_late = True
        task.cancel()

    return asyncio.get_running_loop().call_later(timeout_s + _LATE_S, expire)


async def _serialised(handler: Any, answer: Any, context: StreamedContext) -> bytes:
    data: bytes = _converted(handler.response_serializer, answer)
    if len(data) > LARGEST_MESSAGE:
        await context.abort(StatusCode.RESOURCE_EXHAUSTED, "Sent message larger than max")
    return data


def _converted(convert: Callable[[Any], Any] | None, value: Any) -> Any:
    return value if convert is None else convert(value)
