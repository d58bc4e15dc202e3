"""The server's side of every call: trace, count, admit, limit, run, and turn what goes wrong into a status."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, TypeAlias

import grpc
from grpc import HandlerCallDetails, RpcMethodHandler, StatusCode, aio

from flotilla_common.errors import DeadlineExceededError, FlotillaError
from flotilla_common.identity import IdentityVerifier
from flotilla_common.lifecycle import Work
from flotilla_common.rpc.admission import admit
from flotilla_common.rpc.call import Context, ServedCall, abandoned_code, receive
from flotilla_common.rpc.failure import fail, fail_unexpectedly
from flotilla_common.rpc.multiplex.bounds import CONNECT
from flotilla_common.rpc.multiplex.server_stream import ServedStreams
from flotilla_common.rpc.observation import MethodObserver
from flotilla_common.rpc.policy import LARGEST_MESSAGE
from flotilla_common.rpc.trace_context import enter_server_span
from flotilla_common.status import code_of_number

DEFAULT_TIMEOUT_S = 30.0
HEALTH = "/grpc.health.v1.Health/"
REFLECTION = "/grpc.reflection."
MAX_CONNECTION_AGE_MS = 30_000
Behavior = Callable[[Any, Context], Any]
Handler: TypeAlias = "RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = "Callable[[HandlerCallDetails], Awaitable[Handler | None]]"


def create_server(interceptor: ServerInterceptor, *, drain_max_s: float) -> aio.Server:
    """Returns a server with our limits; it listens nowhere yet."""
    options = [
        ("grpc.max_receive_message_length", LARGEST_MESSAGE),
        ("grpc.max_send_message_length", LARGEST_MESSAGE),
        # Clients reconnect, and so resolve again, every half minute; longer streams are re-attached by their watchers.
        ("grpc.max_connection_age_ms", MAX_CONNECTION_AGE_MS),
        ("grpc.max_connection_age_grace_ms", int(drain_max_s * 1000)),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 20_000),
        ("grpc.so_reuseport", 0),
    ]
    return aio.server(interceptors=[interceptor], options=options)


class ServerInterceptor(aio.ServerInterceptor):
    """Wraps every method once, at its first call; later calls cost a dictionary lookup."""

    def __init__(
        self,
        verifier: IdentityVerifier,
        work: Work,
        *,
        default_timeout_s: float = DEFAULT_TIMEOUT_S,
        reflection: bool = False,
        streams: ServedStreams | None = None,
    ) -> None:
        """Takes the streams that calls may share; None refuses such streams."""
        self._verifier = verifier
        self._work = work
        self._default_timeout_s = default_timeout_s
        self._exempt = (HEALTH, REFLECTION) if reflection else (HEALTH,)
        self._streams = streams
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(self, continuation: Continuation, handler_call_details: HandlerCallDetails) -> Any:
        """Returns the wrapped method; health, and reflection where it is on, are served as they are."""
        path: str = handler_call_details.method
        known = self._wrapped.get(path)
        if known is not None:
            return known
        if path == CONNECT and self._streams is not None:
            # gRPC looks methods up by details of its own type only.
            find = partial(self._find, continuation, type(handler_call_details))
            known = self._wrapped[path] = self._streams.handler(find)
            return known
        plain = await continuation(handler_call_details)
        if plain is None or path.startswith(self._exempt):
            return plain
        wrapped = self._wrapped[path] = self._wrap(path, plain)
        return wrapped

    async def _find(self, continuation: Continuation, details: Callable[..., Any], path: str) -> Handler | None:
        """Returns a wrapped method for a call on a shared stream; what is served as it is has none."""
        if path not in self._wrapped:
            await self.intercept_service(continuation, details(path, ()))
        return self._wrapped.get(path)

    def _wrap(self, path: str, plain: Handler) -> Handler:
        # The stubs know the synchronous context only.
        behavior: Any = plain.unary_unary or plain.unary_stream or plain.stream_unary or plain.stream_stream
        method = ServedMethod(path, behavior, self._verifier, self._work, self._default_timeout_s)
        make = _MAKERS[plain.request_streaming, plain.response_streaming]
        serve = method.serve_stream if plain.response_streaming else method.serve
        return make(serve, plain.request_deserializer, plain.response_serializer)


class ServedMethod:
    """One method with all that surrounds it; request streams pass through untouched."""

    def __init__(
        self, path: str, behavior: Behavior, verifier: IdentityVerifier, work: Work, default_timeout_s: float
    ) -> None:
        self._path = path
        self._behavior = behavior
        self._verifier = verifier
        self._work = work
        self._default_timeout_s = default_timeout_s
        self._observer = MethodObserver(path)

    async def serve(self, request: Any, context: Context) -> Any:
        """Serves a method with one answer, within the caller's deadline or the usual one."""
        call = receive(context)
        if call.timeout_s is not None:
            # The caller's deadline needs no timer of ours: gRPC cancels the task when it has passed.
            return await self._observed(call, lambda: self._behavior(request, context))
        call.timeout_s = self._default_timeout_s
        return await self._observed(call, lambda: _limited(self._behavior(request, context), self._default_timeout_s))

    async def serve_stream(self, request: Any, context: Context) -> None:
        """Serves a method that streams its answers, whether it yields or writes them."""
        await self._observed(receive(context), lambda: _write_all(self._behavior(request, context), context))

    async def _observed(self, call: ServedCall, run: Callable[[], Awaitable[Any]]) -> Any:
        call.span = enter_server_span(call.metadata, self._path)
        self._observer.begin()
        self._work.begin()
        try:
            return await self._answered(call, run)
        finally:
            self._work.end()
            # The answer leaves with the loop's next turn; what is noted about it waits for the turn after that.
            loop = asyncio.get_running_loop()
            ended_ns = time.time_ns() if call.span.is_recording() else None
            loop.call_soon(loop.call_soon, self._observer.end, call, call.elapsed_s(), ended_ns)

    async def _answered(self, call: ServedCall, run: Callable[[], Awaitable[Any]]) -> Any:
        try:
            admit(call, self._verifier)
            answer = await run()
        except (asyncio.CancelledError, aio.InternalError):
            # The latter is how gRPC fails a write to a caller that is gone; it knows that and drops it.
            call.code = abandoned_code(call)
            raise
        except aio.AbortError:
            call.code = _code_of(call.context)
            raise
        except FlotillaError as exc:
            await fail(call, exc)
        except Exception as exc:  # noqa: BLE001 - the one place that answers for what nobody foresaw
            await fail_unexpectedly(call, exc)
        else:
            call.code = _code_of(call.context)
            return answer


async def _limited(answer: Awaitable[Any], timeout_s: float) -> Any:
    try:
        async with asyncio.timeout(timeout_s) as timer:
            return await answer
    except TimeoutError as exc:
        if not timer.expired():
            raise
        raise DeadlineExceededError("the call took too long", reason="deadline_exceeded") from exc


async def _write_all(answers: Any, context: Context) -> None:
    if not hasattr(answers, "__aiter__"):
        await answers
        return
    async with aclosing(answers):
        async for answer in answers:
            await context.write(answer)


def _code_of(context: Context) -> StatusCode:
    # A method may set a status itself; without one the code is None or 0.
    code: Any = context.code()
    return code if isinstance(code, StatusCode) else code_of_number(code or 0)


_MAKERS: dict[tuple[bool, bool], Callable[..., Handler]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
