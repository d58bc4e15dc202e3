"""Shared streams that break, are retired or were never there: no call is lost with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from contract.common.peer import IDENTITY, SERVICE, Serve, Transport, echo, metric, sent, until
from flotilla.common.v1.call_service_pb2 import (
    CallAnswer,
    CallEnd,
    CallerFrame,
    ConnectRequest,
    ConnectResponse,
    Goodbye,
    ServerFrame,
)
from flotilla_common.errors import UnavailableError
from flotilla_common.identity import IdentitySigner
from flotilla_common.request import acting_as
from flotilla_common.rpc.guard import map_rpc_errors
from flotilla_common.rpc.multiplex.bounds import CONNECT, SERVER_KEY

pytestmark = pytest.mark.parametrize("transport", ["shared"], indirect=True)
UNARY = f"/{SERVICE}/Unary"


@asynccontextmanager
async def scripted(connect: Callable[[Any], Any]) -> AsyncIterator[int]:
    """Serves streams of calls as a test scripts them, and the method itself over plain gRPC."""
    plain: Any = grpc.unary_unary_rpc_method_handler(echo)

    async def serve_stream(_: Any, context: Any) -> None:
        await context.send_initial_metadata(((SERVER_KEY, "scripted"),))
        await connect(context)

    streams: Any = grpc.stream_stream_rpc_method_handler(
        serve_stream, ConnectRequest.FromString, ConnectResponse.SerializeToString
    )
    server = grpc.aio.server()
    service, _, method = CONNECT.lstrip("/").partition("/")
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(service, {method: streams}),
            grpc.method_handlers_generic_handler(SERVICE, {"Unary": plain}),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


async def next_opening(context: Any) -> CallerFrame:
    """Returns the next call of the service under test; that a stream is up is found out with other calls."""
    while True:
        batch = await context.read()
        for frame in batch.frames:
            if SERVICE in frame.opening.method:
                return frame  # type: ignore[no-any-return] # the context is untyped
            end = CallEnd(code=12)
            await context.write(ConnectResponse(frames=[ServerFrame(call_id=frame.call_id, end=end)]))


async def test_call_on_a_stream_that_breaks_is_tried_again_over_plain_grpc(transport: Transport) -> None:
    async def cut(context: Any) -> None:
        await next_opening(context)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "cut")

    async with scripted(cut) as port, transport.open(f"127.0.0.1:{port}", None) as channel:
        await transport.settle(channel)
        before = sent("shared")
        call: Any = channel.unary_unary(UNARY)

        assert await call(b"again") == b"again"
    assert sent("shared") == before + 1


async def test_stream_that_breaks_after_an_answer_fails_its_calls_as_unavailable(transport: Transport) -> None:
    async def answer_and_cut(context: Any) -> None:
        frame = await next_opening(context)
        answer = ServerFrame(call_id=frame.call_id, answer=CallAnswer(piece=b"1"))
        await context.write(ConnectResponse(frames=[answer]))
        await asyncio.sleep(0.05)

    async with scripted(answer_and_cut) as port, transport.open(f"127.0.0.1:{port}", None) as channel:
        await transport.settle(channel)
        call: Any = channel.unary_stream(f"/{SERVICE}/Stream")
        answers = call(b"")

        assert await answers.read() == b"1"
        with pytest.raises(UnavailableError) as caught, map_rpc_errors("memory"):
            await answers.read()
    assert caught.value.message == "memory is unavailable"


async def test_frames_for_calls_that_nobody_made_are_ignored(transport: Transport) -> None:
    async def confused(context: Any) -> None:
        frame = await next_opening(context)
        frames = [
            ServerFrame(call_id=10_000, answer=CallAnswer(piece=b"no")),
            ServerFrame(call_id=10_000, end=CallEnd(code=5)),
            ServerFrame(call_id=frame.call_id),
            ServerFrame(call_id=frame.call_id, end=CallEnd(answer=b"yes")),
        ]
        await context.write(ConnectResponse(frames=frames))
        await context.read()

    async with scripted(confused) as port, transport.open(f"127.0.0.1:{port}", None) as channel:
        await transport.settle(channel)
        call: Any = channel.unary_unary(UNARY)

        assert await call(b"") == b"yes"


async def test_stream_gets_no_calls_after_goodbye_and_ends_with_its_last(transport: Transport) -> None:
    closed, may_end = asyncio.Event(), asyncio.Event()
    openings = []

    async def goodbye(context: Any) -> None:
        frame = await next_opening(context)
        openings.append(frame.opening.request)
        await context.write(ConnectResponse(frames=[ServerFrame(goodbye=Goodbye())]))
        await may_end.wait()
        await context.write(ConnectResponse(frames=[ServerFrame(call_id=frame.call_id, end=CallEnd(answer=b"1"))]))
        if await context.read() is grpc.aio.EOF:
            closed.set()

    async with scripted(goodbye) as port, transport.open(f"127.0.0.1:{port}", None) as channel:
        await transport.settle(channel)
        call: Any = channel.unary_unary(UNARY)
        first = call(b"first")
        await until(lambda: openings == [b"first"])
        await asyncio.sleep(0.05)
        assert not first.done()
        may_end.set()

        assert await first == b"1"
        async with asyncio.timeout(10):
            await closed.wait()


async def test_peer_without_shared_streams_is_called_over_plain_grpc(
    serve: Serve, transport: Transport, signer: IdentitySigner
) -> None:
    peer = await serve(Unary=echo, multiplexed=False)
    before = sent("shared"), sent("plain")

    with acting_as(IDENTITY):
        for _ in range(5):
            assert await peer.Unary(b"a") == b"a"

    assert (sent("shared") - before[0], sent("plain") - before[1]) == (0, 5)


async def test_peers_of_which_one_has_no_shared_streams_get_equal_shares(
    serve: Serve, transport: Transport, signer: IdentitySigner
) -> None:
    def named(name: bytes) -> Any:
        async def answer(request: bytes, context: Any) -> bytes:
            return name

        return answer

    old, new = await serve(Unary=named(b"old"), multiplexed=False), await serve(Unary=named(b"new"))
    targets = f"127.0.0.1:{old.server.port},127.0.0.1:{new.server.port}"

    async with transport.open(targets, signer) as channel:
        call: Any = channel.unary_unary(UNARY)
        with acting_as(IDENTITY):
            await call(b"")
            await asyncio.sleep(0.5)
            async with asyncio.timeout(10):
                while True:
                    answers = [await call(b"") for _ in range(40)]
                    if answers.count(b"old") == answers.count(b"new"):
                        break


async def test_idle_channel_lets_its_streams_go(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flotilla_common.rpc.multiplex.streams.LIFE_S", 0.2)
    peer = await serve(Unary=echo)

    def is_up() -> bool:
        return any(task.get_name() == "run a stream of calls" for task in asyncio.all_tasks())

    await until(is_up)
    await until(lambda: not is_up())

    with acting_as(IDENTITY):
        assert await peer.Unary(b"a") == b"a"


async def test_streams_are_renewed_under_load_and_no_call_fails(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flotilla_common.rpc.multiplex.streams.LIFE_S", 0.1)
    peer = await serve(Unary=echo)
    before = metric("flotilla_rpc_handled_total", service=SERVICE, method="Unary", code="OK")

    async def ask() -> int:
        count = 0
        with acting_as(IDENTITY):
            while asyncio.get_running_loop().time() < end:
                assert await peer.Unary(b"%d" % count) == b"%d" % count
                count += 1
        return count

    end = asyncio.get_running_loop().time() + 1.0
    counts = await asyncio.gather(*(ask() for _ in range(10)))

    # A call is counted once its answer has left.
    await until(
        lambda: metric("flotilla_rpc_handled_total", service=SERVICE, method="Unary", code="OK") >= before + sum(counts)
    )
    assert metric("flotilla_rpc_handled_total", service=SERVICE, method="Unary", code="OK") == before + sum(counts)
