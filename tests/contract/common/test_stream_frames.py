"""What callers should not send over a shared stream, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from contract.common.peer import IDENTITY, SERVICE, Peer, Serve, Stuck, Transport, bare_channel, echo, settings, until
from flotilla.common.v1.call_service_pb2 import (
    CallCancellation,
    CallerFrame,
    CallOpening,
    ConnectRequest,
    ConnectResponse,
)
from flotilla_common.identity import IdentitySigner
from flotilla_common.request import acting_as
from flotilla_common.rpc.multiplex.bounds import CONNECT, pack_metadata
from flotilla_common.serve import open_server
from grpc.aio import AioRpcError

pytestmark = pytest.mark.parametrize("transport", ["shared"], indirect=True)
UNARY = f"/{SERVICE}/Unary"


@asynccontextmanager
async def connected(peer: Peer, **kinds: Any) -> AsyncIterator[Any]:
    async with bare_channel(peer.server.port) as channel:
        yield channel.stream_stream(CONNECT, **kinds)()


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
