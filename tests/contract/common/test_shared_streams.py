"""What is new where calls share streams: streams that break, frames that nobody should send, and what stays apart."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from contract.common.peer import (
    IDENTITY,
    SERVICE,
    Peer,
    Serve,
    Transport,
    all_of,
    bare_channel,
    metric,
    sent,
    settings,
    until,
)
from flotilla.common.v1.call_service_pb2 import (
    CallAnswer,
    CallCancellation,
    CallEnd,
    CallerFrame,
    CallOpening,
    ConnectRequest,
    ConnectResponse,
    Goodbye,
    ServerFrame,
)
from flotilla_common.errors import NotFoundError, UnavailableError
from flotilla_common.identity import IdentitySigner
from flotilla_common.request import acting_as
from flotilla_common.rpc.guard import map_rpc_errors
from flotilla_common.rpc.multiplex.bounds import CONNECT, LARGEST_PIECE, MOST_CALLS, SERVER_KEY, pack_metadata
from flotilla_common.serve import open_server
from grpc.aio import AioRpcError

pytestmark = pytest.mark.parametrize("transport", ["shared"], indirect=True)
UNARY = f"/{SERVICE}/Unary"


async def echo(request: bytes, context: Any) -> bytes:
    return request


class Stuck:
    """A method that never answers."""

    def __init__(self) -> None:
        self.running = 0

    async def unary(self, request: bytes, context: Any) -> bytes:
        self.running += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.running -= 1
        return b""


async def test_calls_go_over_shared_streams(serve: Serve) -> None:
    async def count(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for number in (b"1", b"2", b"3"):
            yield number

    peer = await serve(Unary=echo, Stream=count)
    before = sent("shared"), sent("plain")

    with acting_as(IDENTITY):
        assert await peer.Unary(b"a") == b"a"
        assert await all_of(peer.Stream(b"")) == [b"1", b"2", b"3"]

    assert (sent("shared") - before[0], sent("plain") - before[1]) == (2, 0)


async def test_thousand_concurrent_calls_of_all_sizes_get_their_own_answers(serve: Serve) -> None:
    async def double(request: bytes, context: Any) -> bytes:
        await asyncio.sleep(len(request) % 7 / 1000)
        if request.startswith(b"3"):
            raise NotFoundError(request[:8].decode())
        return request * 2

    peer = await serve(Unary=double)

    async def ask(number: int) -> bool:
        request = b"%08d" % (number * 10_000_000 % 99_999_999) + b"x" * (
            number * 7919 % 3000 * (200 if number % 40 == 0 else 1)
        )
        with acting_as(IDENTITY):
            try:
                with map_rpc_errors("memory"):
                    return bool(await peer.Unary(request, timeout=60) == request * 2)
            except NotFoundError as error:
                return request.startswith(b"3") and error.message == request[:8].decode()

    assert all(await asyncio.gather(*(ask(number) for number in range(1000))))
    await until(lambda: peer.server.lifecycle.work.in_flight == 0)


@pytest.mark.parametrize("size", [0, LARGEST_PIECE, LARGEST_PIECE + 1, 4 * 1024 * 1024])
async def test_answers_of_any_allowed_size_arrive_whole(serve: Serve, size: int) -> None:
    answer = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    async def once(request: bytes, context: Any) -> bytes:
        return answer

    async def twice(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield answer
        yield answer

    peer = await serve(Unary=once, Stream=twice)
    before = sent("plain")

    with acting_as(IDENTITY):
        assert await peer.Unary(b"") == answer
        call = peer.Stream(b"")
        assert [await call.read(), await call.read(), await call.read()] == [answer, answer, grpc.aio.EOF]

    assert sent("plain") == before


async def test_large_request_has_a_stream_of_its_own(serve: Serve) -> None:
    peer = await serve(Unary=echo)
    before = sent("plain")

    with acting_as(IDENTITY):
        request = b"x" * (LARGEST_PIECE + 1)
        assert await peer.Unary(request) == request

    assert sent("plain") == before + 1


async def test_calls_beyond_the_bound_of_a_stream_go_over_plain_grpc(serve: Serve) -> None:
    stuck = Stuck()
    peer = await serve(Unary=stuck.unary)
    before = sent("plain")

    with acting_as(IDENTITY):
        calls = [peer.Unary(b"") for _ in range(MOST_CALLS + 3)]
        await until(lambda: stuck.running == MOST_CALLS + 3, within_s=10)

    assert sent("plain") == before + 3
    for call in calls:
        call.cancel()
    await until(lambda: stuck.running == 0, within_s=10)


async def test_cancelled_calls_leave_nothing_behind(serve: Serve) -> None:
    stuck = Stuck()
    peer = await serve(Unary=stuck.unary)
    tasks = len(asyncio.all_tasks())

    async def impatient() -> None:
        with acting_as(IDENTITY):
            async with asyncio.timeout(0.3):
                await peer.Unary(b"")

    results = await asyncio.gather(*(impatient() for _ in range(100)), return_exceptions=True)

    assert {type(result) for result in results} == {TimeoutError}
    del results  # their tracebacks hold the calls
    await until(lambda: stuck.running == 0)
    await until(lambda: peer.server.lifecycle.work.in_flight == 0)
    await until(lambda: metric("flotilla_rpc_in_flight", service=SERVICE, method="Unary") == 0)
    await until(lambda: len(asyncio.all_tasks()) <= tasks)
    gc.collect()
    assert not [thing for thing in gc.get_objects() if type(thing).__name__ in ("UnaryCall", "ServedCall")]


async def test_call_that_is_cancelled_before_it_is_sent_or_served_ends(serve: Serve) -> None:
    stuck = Stuck()
    peer = await serve(Unary=stuck.unary)

    with acting_as(IDENTITY):
        call = peer.Unary(b"")
        assert call.cancel()

    assert not call.cancel()
    assert (call.cancelled(), await call.code()) == (True, grpc.StatusCode.CANCELLED)
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: peer.server.lifecycle.work.in_flight == 0)


async def test_reader_that_sleeps_holds_up_nobody_and_is_ended(serve: Serve) -> None:
    async def flood(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * LARGEST_PIECE

    peer = await serve(Unary=echo, Stream=flood)

    with acting_as(IDENTITY):
        sleeping = peer.Stream(b"")
        async with asyncio.timeout(5):
            assert await peer.Unary(b"a") == b"a"
            assert await sleeping.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert await peer.Unary(b"b") == b"b"


# Streams that end.


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
        async with asyncio.timeout(2):
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
            answers = [await call(b"") for _ in range(40)]

    assert answers.count(b"old") == answers.count(b"new")


async def test_trailing_metadata_travels_with_an_answer(serve: Serve) -> None:
    async def answer(request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("note", "hello"), ("note-bin", b"\xff")))
        return b"answer"

    peer = await serve(Unary=answer)

    with acting_as(IDENTITY):
        call = peer.Unary(b"")
        assert await call == b"answer"
    assert dict(await call.trailing_metadata()) == {"note": "hello", "note-bin": b"\xff"}


async def test_caller_that_does_not_read_is_not_listened_to(serve: Serve, signer: IdentitySigner) -> None:
    peer = await serve(Unary=echo)
    metadata = pack_metadata((("x-flotilla-identity", signer.sign(IDENTITY, audience="memory")),))
    opening = CallOpening(method=UNARY, metadata=metadata, request=b"x" * 100_000)
    written = 0

    async def write_on(stream: Any) -> None:
        nonlocal written
        while True:
            written += 1
            await stream.write(ConnectRequest(frames=[CallerFrame(call_id=written, opening=opening)]))

    async with connected(peer, request_serializer=ConnectRequest.SerializeToString) as stream:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(write_on(stream), 1)

    assert written < 200
    with acting_as(IDENTITY):
        assert await peer.Unary(b"a") == b"a"


async def test_idle_channel_lets_its_streams_go(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flotilla_common.rpc.multiplex.streams.LIFE_S", 0.2)
    peer = await serve(Unary=echo)
    tasks = [task for task in asyncio.all_tasks() if task.get_name() == "run a stream of calls"]
    assert tasks

    await until(lambda: all(task.done() for task in tasks), within_s=5)
    await until(
        lambda: not [task for task in asyncio.all_tasks() if task.get_name() == "run a stream of calls"], within_s=5
    )

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

    assert metric("flotilla_rpc_handled_total", service=SERVICE, method="Unary", code="OK") == before + sum(counts)


# What callers should not send.


@asynccontextmanager
async def connected(peer: Peer, **kinds: Any) -> AsyncIterator[Any]:
    async with bare_channel(peer.server.port) as channel:
        yield channel.stream_stream(CONNECT, **kinds)()


@pytest.mark.parametrize(
    "batch",
    [
        b"\xff\xff\xff",
        ConnectRequest(frames=[CallerFrame(call_id=1)]).SerializeToString(),
        ConnectRequest(frames=[CallerFrame(call_id=1, opening=CallOpening(method=UNARY))] * 2).SerializeToString(),
    ],
    ids=["no batch", "no kind", "id in use"],
)
async def test_malformed_frames_end_the_stream_as_invalid_argument(
    serve: Serve, batch: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    peer = await serve(Unary=echo)

    async with connected(peer) as stream:
        await stream.write(batch)
        assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT

    with acting_as(IDENTITY):
        assert await peer.Unary(b"a") == b"a"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_frames_about_unknown_calls_and_methods_harm_nobody(serve: Serve, signer: IdentitySigner) -> None:
    peer = await serve(Unary=echo)
    metadata = pack_metadata((("x-flotilla-identity", signer.sign(IDENTITY, audience="memory")),))
    frames = [
        CallerFrame(call_id=7, cancellation=CallCancellation()),
        CallerFrame(call_id=1, opening=CallOpening(method="nonsense")),
        CallerFrame(call_id=2, opening=CallOpening(method="/grpc.health.v1.Health/Check")),
        CallerFrame(call_id=3, opening=CallOpening(method=CONNECT)),
        CallerFrame(call_id=4, opening=CallOpening(method=UNARY, metadata=metadata, request=b"hello")),
    ]
    ends: dict[int, Any] = {}

    async with connected(
        peer,
        request_serializer=ConnectRequest.SerializeToString,
        response_deserializer=ConnectResponse.FromString,
    ) as stream:
        await stream.write(ConnectRequest(frames=frames))
        async with asyncio.timeout(5):
            while len(ends) < 4:
                for frame in (await stream.read()).frames:
                    ends[frame.call_id] = (frame.end.code, frame.end.answer)
        await stream.done_writing()
        assert await stream.code() is grpc.StatusCode.OK

    unimplemented = (grpc.StatusCode.UNIMPLEMENTED.value[0], b"")
    assert ends == {1: unimplemented, 2: unimplemented, 3: unimplemented, 4: (0, b"hello")}


async def test_caller_that_goes_with_its_stream_cancels_its_calls(serve: Serve, signer: IdentitySigner) -> None:
    stuck = Stuck()
    peer = await serve(Unary=stuck.unary)
    metadata = pack_metadata((("x-flotilla-identity", signer.sign(IDENTITY, audience="memory")),))
    opening = CallOpening(method=UNARY, metadata=metadata)

    async with connected(peer, request_serializer=ConnectRequest.SerializeToString) as stream:
        await stream.write(ConnectRequest(frames=[CallerFrame(call_id=1, opening=opening)]))
        await until(lambda: stuck.running == 1)
        stream.cancel()

    await until(lambda: stuck.running == 0)
    await until(lambda: peer.server.lifecycle.work.in_flight == 0)


async def test_request_that_cannot_be_read_is_invalid(keys: Path, signer: IdentitySigner, transport: Transport) -> None:
    def register(server: grpc.aio.Server) -> None:
        handler: Any = grpc.unary_unary_rpc_method_handler(echo, CallOpening.FromString, CallOpening.SerializeToString)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Unary": handler}),))

    async with (
        open_server(settings(keys), service_name="memory", full_service_names=[SERVICE], register=register) as server,
        transport.open(f"127.0.0.1:{server.port}", signer) as channel,
    ):
        await transport.settle(channel)
        call: Any = channel.unary_unary(UNARY)
        with acting_as(IDENTITY), pytest.raises(AioRpcError) as caught:
            await call(b"\xff\xff")

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
