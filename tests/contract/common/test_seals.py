"""Seals on raw frames: which are opened, and which are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from contract.common.peer import IDENTITY, SERVICE, Roll, Serve, bare_channel
from fakes.keys import make_keys, replace_keys
from flotilla.common.v1.call_service_pb2 import CallerFrame, CallOpening, ConnectRequest, ConnectResponse
from flotilla_common.identity import CallerSession, Identity, IdentitySigner, SealedCall
from flotilla_common.rpc.multiplex.bounds import CONNECT, SEAL_KEY, SESSION_ANSWER_KEY, SESSION_KEY, pack_metadata
from flotilla_common.rpc.outgoing import IDENTITY_KEY
from flotilla_common.status import code_of_number
from grpc import StatusCode
from grpc.aio import AioRpcError

pytestmark = pytest.mark.parametrize("transport", ["shared"], indirect=True)
UNARY, STREAM = f"/{SERVICE}/Unary", f"/{SERVICE}/Stream"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Keys of each test's own, so that it may replace them."""
    return make_keys(tmp_path)


@asynccontextmanager
async def connected(port: int, session: CallerSession | None = None) -> AsyncIterator[Any]:
    """Opens a stream whose frames a test writes itself, and begins the session if there is one."""
    async with bare_channel(port) as channel:
        connect = channel.stream_stream(CONNECT, ConnectRequest.SerializeToString, ConnectResponse.FromString)
        stream = connect(metadata=((SESSION_KEY, session.token),) if session else ())
        said = dict(await stream.initial_metadata())
        if session is not None:
            session.agree(said[SESSION_ANSWER_KEY])
        yield stream


def sealed(session: CallerSession, call: SealedCall, identity: Identity = IDENTITY) -> tuple[str, bytes]:
    return SEAL_KEY, session.seal(identity, call)


def opened(call: SealedCall, *metadata: tuple[str, str | bytes]) -> CallerFrame:
    opening = CallOpening(method=call.method, metadata=pack_metadata(metadata), request=call.request)
    return CallerFrame(call_id=call.number, opening=opening)


async def end_of(stream: Any, frame: CallerFrame) -> tuple[StatusCode, bytes]:
    """Opens a call and returns how it ended, with its answer."""
    await stream.write(ConnectRequest(frames=[frame]))
    async with asyncio.timeout(5):
        while True:
            for heard in (await stream.read()).frames:
                if heard.call_id == frame.call_id and heard.HasField("end"):
                    return code_of_number(heard.end.code), heard.end.answer


async def test_call_with_the_seal_of_its_stream_is_served(serve: Serve, signer: IdentitySigner) -> None:
    roll = Roll()
    peer = await serve(Unary=roll.unary)
    session, call = signer.begin_session(audience="memory"), SealedCall(1, UNARY, b"a")

    async with connected(peer.server.port, session) as stream:
        end = await end_of(stream, opened(call, sealed(session, call)))

    assert (end, roll.served) == ((StatusCode.OK, b"a"), {b"a": IDENTITY})


async def test_seal_on_a_stream_without_a_session_is_unauthenticated(serve: Serve, signer: IdentitySigner) -> None:
    roll = Roll()
    peer = await serve(Unary=roll.unary)
    session, call = signer.begin_session(audience="memory"), SealedCall(1, UNARY, b"a")

    async with connected(peer.server.port, session), connected(peer.server.port) as bare:
        code, _ = await end_of(bare, opened(call, sealed(session, call)))

    assert (code, roll.served) == (StatusCode.UNAUTHENTICATED, {})


async def test_seal_over_plain_grpc_is_unauthenticated(serve: Serve, signer: IdentitySigner) -> None:
    roll = Roll()
    peer = await serve(Unary=roll.unary)
    session = signer.begin_session(audience="memory")

    async with connected(peer.server.port, session), bare_channel(peer.server.port) as channel:
        with pytest.raises(AioRpcError) as caught:
            await channel.unary_unary(UNARY)(b"a", metadata=(sealed(session, SealedCall(1, UNARY, b"a")),))

    assert (caught.value.code(), roll.served) == (StatusCode.UNAUTHENTICATED, {})


async def test_seal_of_another_stream_is_unauthenticated(serve: Serve, signer: IdentitySigner) -> None:
    roll = Roll()
    peer = await serve(Unary=roll.unary)
    session, other = signer.begin_session(audience="memory"), signer.begin_session(audience="memory")
    call = SealedCall(1, UNARY, b"a")

    async with connected(peer.server.port, session), connected(peer.server.port, other) as stream:
        code, _ = await end_of(stream, opened(call, sealed(session, call)))

    assert (code, roll.served) == (StatusCode.UNAUTHENTICATED, {})


async def test_seal_is_unauthenticated_on_a_stream_begun_with_a_copy_of_its_token(
    serve: Serve, signer: IdentitySigner
) -> None:
    roll = Roll()
    peer = await serve(Unary=roll.unary)
    session, call = signer.begin_session(audience="memory"), SealedCall(1, UNARY, b"a")
    thief = CallerSession(lambda _: session.token, lasts_s=30)

    async with connected(peer.server.port, session), connected(peer.server.port, thief) as stream:
        replayed, _ = await end_of(stream, opened(call, sealed(session, call)))
        call = SealedCall(2, UNARY, b"a")
        made, _ = await end_of(stream, opened(call, sealed(thief, call)))

    assert (replayed, made, roll.served) == (StatusCode.UNAUTHENTICATED, StatusCode.UNAUTHENTICATED, {})


@pytest.mark.parametrize(
    "call",
    [SealedCall(1, UNARY, b"b"), SealedCall(2, UNARY, b"a"), SealedCall(1, STREAM, b"a")],
    ids=["request", "number", "method"],
)
async def test_seal_of_another_call_is_unauthenticated(serve: Serve, signer: IdentitySigner, call: SealedCall) -> None:
    roll = Roll()
    peer = await serve(Unary=roll.unary, Stream=roll.stream)
    session = signer.begin_session(audience="memory")

    async with connected(peer.server.port, session) as stream:
        code, _ = await end_of(stream, opened(call, sealed(session, SealedCall(1, UNARY, b"a"))))

    assert (code, roll.served) == (StatusCode.UNAUTHENTICATED, {})


async def test_token_does_not_mend_a_wrong_seal(serve: Serve, signer: IdentitySigner) -> None:
    roll = Roll()
    peer = await serve(Unary=roll.unary)
    session, call = signer.begin_session(audience="memory"), SealedCall(1, UNARY, b"a")
    token = IDENTITY_KEY, signer.sign(IDENTITY, audience="memory")

    async with connected(peer.server.port, session) as stream:
        code, _ = await end_of(stream, opened(call, (SEAL_KEY, b""), token))

    assert (code, roll.served) == (StatusCode.UNAUTHENTICATED, {})


async def test_call_with_neither_seal_nor_token_is_unauthenticated(serve: Serve, signer: IdentitySigner) -> None:
    roll = Roll()
    peer = await serve(Unary=roll.unary)

    async with connected(peer.server.port, signer.begin_session(audience="memory")) as stream:
        code, _ = await end_of(stream, opened(SealedCall(1, UNARY, b"a")))

    assert (code, roll.served) == (StatusCode.UNAUTHENTICATED, {})


@pytest.mark.parametrize("number", [7, 6, 0])
async def test_number_that_is_not_greater_ends_the_stream(serve: Serve, signer: IdentitySigner, number: int) -> None:
    roll = Roll()
    peer = await serve(Unary=roll.unary)
    session, first, second = (
        signer.begin_session(audience="memory"),
        SealedCall(7, UNARY, b"first"),
        SealedCall(number, UNARY, b"second"),
    )

    async with connected(peer.server.port, session) as stream:
        assert await end_of(stream, opened(first, sealed(session, first))) == (StatusCode.OK, b"first")
        await stream.write(ConnectRequest(frames=[opened(second, sealed(session, second))]))
        assert await stream.code() is StatusCode.INVALID_ARGUMENT

    assert roll.served == {b"first": IDENTITY}


async def test_repeated_frame_is_not_served_again(serve: Serve, signer: IdentitySigner) -> None:
    served = []

    async def count(request: bytes, context: Any) -> bytes:
        served.append(request)
        return request

    peer = await serve(Unary=count)
    session, call = signer.begin_session(audience="memory"), SealedCall(1, UNARY, b"a")

    async with connected(peer.server.port, session) as stream:
        frame = opened(call, sealed(session, call))
        await end_of(stream, frame)
        await stream.write(ConnectRequest(frames=[frame]))
        assert await stream.code() is StatusCode.INVALID_ARGUMENT

    assert served == [b"a"]


@pytest.mark.usefixtures("rereading")
async def test_server_with_another_key_says_unavailable_and_goodbye(
    serve: Serve, signer: IdentitySigner, keys: Path
) -> None:
    roll = Roll()
    peer = await serve(Unary=roll.unary)
    session, call = signer.begin_session(audience="memory"), SealedCall(1, UNARY, b"a")
    heard: dict[str, int] = {}

    async with connected(peer.server.port, session) as stream:
        replace_keys(keys, "pem", "pub")
        await stream.write(ConnectRequest(frames=[opened(call, sealed(session, call))]))
        async with asyncio.timeout(5):
            while len(heard) < 2:
                for frame in (await stream.read()).frames:
                    heard[str(frame.WhichOneof("kind"))] = frame.end.code

    assert heard == {"end": StatusCode.UNAVAILABLE.value[0], "goodbye": 0}
    assert roll.served == {}
