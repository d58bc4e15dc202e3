"""Streams with a session: whose calls are served without a token, and whose are not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from contract.common.peer import IDENTITY, SERVICE, Serve, all_of, bare_channel, echo, metric, sent, until
from flotilla.common.v1.call_service_pb2 import CallerFrame, CallOpening, ConnectRequest, ConnectResponse
from flotilla_common.identity import (
    CallerSession,
    Identity,
    IdentitySigner,
    IdentityVerifier,
    SealedCall,
    generate_key_pair,
)
from flotilla_common.identity import signer as signer_module
from flotilla_common.identity import verifier as verifier_module
from flotilla_common.request import acting_as, current_identity
from flotilla_common.rpc.multiplex import streams as streams_module
from flotilla_common.rpc.multiplex.bounds import (
    CONNECT,
    SEAL_KEY,
    SESSION_ANSWER_KEY,
    SESSION_KEY,
    pack_metadata,
)
from flotilla_common.rpc.multiplex.server_stream import ServedStreams
from flotilla_common.rpc.multiplex.streams import STREAMS_PER_SERVER
from flotilla_common.rpc.outgoing import IDENTITY_KEY
from flotilla_common.rpc.policy import MOST_ATTEMPTS
from flotilla_common.status import code_of_number
from grpc import StatusCode
from grpc.aio import AioRpcError

pytestmark = pytest.mark.parametrize("transport", ["shared"], indirect=True)
UNARY, STREAM = f"/{SERVICE}/Unary", f"/{SERVICE}/Stream"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Keys of each test's own, so that it may replace them."""
    for issuer in ("gateway", "orchestrator"):
        generate_key_pair(tmp_path / f"{issuer}.pem", tmp_path / f"{issuer}.pub")
    return tmp_path


@pytest.fixture
def rereading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has both ends see at once that a key is another one."""
    monkeypatch.setattr(verifier_module, "RECHECK_S", 0.0)
    monkeypatch.setattr(signer_module, "RECHECK_S", 0.0)


class Roll:
    """Methods that note for whom each request is served."""

    def __init__(self) -> None:
        self.served: dict[bytes, Identity] = {}

    async def unary(self, request: bytes, context: Any) -> bytes:
        self.served[request] = current_identity()
        return request

    async def stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield await self.unary(request, context)


def people(count: int) -> list[Identity]:
    """Returns so many identities that differ in everything."""
    return [
        Identity(
            uuid4(),
            uuid4(),
            remembers=number % 2 == 0,
            scopes=frozenset(f"scope {other} ⛵" for other in range(number % 4)),
            run_id=uuid4() if number % 3 == 0 else None,
        )
        for number in range(count)
    ]


def counted(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> list[object]:
    """Returns a list that gets longer whenever the method is called."""
    calls: list[object] = []
    method = getattr(owner, name)

    def count(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return method(*args, **kwargs)

    monkeypatch.setattr(owner, name, count)
    return calls


def refused_as_unavailable() -> float:
    return metric("flotilla_rpc_handled_total", service=SERVICE, method="Unary", code="UNAVAILABLE")


def replace_keys(keys: Path, *kinds: str) -> None:
    generate_key_pair(keys / "new.pem", keys / "new.pub")
    for kind in kinds:
        os.replace(keys / f"new.{kind}", keys / f"gateway.{kind}")


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


async def test_calls_of_many_are_each_served_as_their_own_and_nothing_is_signed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    unary, stream = Roll(), Roll()
    peer = await serve(Unary=unary.unary, Stream=stream.stream)
    signed = counted(monkeypatch, IdentitySigner, "sign")
    everyone = {b"%d" % number: identity for number, identity in enumerate(people(200))}
    before = sent("shared"), sent("plain")

    async def ask(request: bytes, identity: Identity) -> None:
        with acting_as(identity):
            assert await peer.Unary(request) == request
            assert await all_of(peer.Stream(request)) == [request]

    await asyncio.gather(*(ask(request, identity) for request, identity in everyone.items()))

    assert (unary.served, stream.served, signed) == (everyone, everyone, [])
    assert (sent("shared") - before[0], sent("plain") - before[1]) == (400, 0)


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


@pytest.mark.usefixtures("rereading")
async def test_callers_do_not_notice_that_keys_are_replaced(
    serve: Serve, keys: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    roll = Roll()
    begun = counted(monkeypatch, IdentityVerifier, "begin_session")
    peer = await serve(Unary=roll.unary)
    await until(lambda: len(begun) >= 2 * STREAMS_PER_SERVER)
    everyone = {b"%d" % number: identity for number, identity in enumerate(people(20))}
    before = refused_as_unavailable()

    async def ask(request: bytes, identity: Identity) -> None:
        with acting_as(identity):
            assert await peer.Unary(request) == request

    replace_keys(keys, "pem", "pub")
    await asyncio.gather(*(ask(request, identity) for request, identity in everyone.items()))

    assert roll.served == everyone
    assert refused_as_unavailable() >= before + 20


@pytest.mark.usefixtures("rereading")
async def test_calls_are_sealed_again_after_keys_were_replaced(
    serve: Serve, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roll = Roll()
    peer = await serve(Unary=roll.unary)
    replace_keys(keys, "pem", "pub")
    signed = counted(monkeypatch, IdentitySigner, "sign")

    async def is_sealed() -> bool:
        before = sent("shared"), len(signed)
        with acting_as(IDENTITY):
            await peer.Unary(b"a")
        return (sent("shared"), len(signed)) == (before[0] + 1, before[1])

    async with asyncio.timeout(10):
        while not await is_sealed():  # noqa: ASYNC110 - a stream that is up sends no event
            await asyncio.sleep(0.005)


async def test_server_with_another_key_from_the_start_leaves_callers_unauthenticated(
    serve: Serve, signer: IdentitySigner, keys: Path
) -> None:
    roll = Roll()
    replace_keys(keys, "pub")
    peer = await serve(Unary=roll.unary)
    before = sent("shared")

    async def ask(identity: Identity) -> StatusCode:
        with acting_as(identity), pytest.raises(AioRpcError) as caught:
            await peer.Unary(b"a", timeout=10)
        return caught.value.code()

    codes = await asyncio.gather(*(ask(identity) for identity in people(20)))

    assert (set(codes), roll.served) == ({StatusCode.UNAUTHENTICATED}, {})
    assert sent("shared") == before + 20


async def test_server_that_answers_no_key_is_told_by_tokens(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ServedStreams, "_begin_session", lambda *_: None)
    roll = Roll()
    peer = await serve(Unary=roll.unary)
    signed = counted(monkeypatch, IdentitySigner, "sign")
    everyone = {b"%d" % number: identity for number, identity in enumerate(people(20))}
    before = sent("shared")

    for request, identity in everyone.items():
        with acting_as(identity):
            assert await peer.Unary(request) == request

    assert (roll.served, len(signed)) == (everyone, 20)
    assert sent("shared") == before + 20


@pytest.mark.usefixtures("rereading")
async def test_call_succeeds_though_as_many_streams_have_old_keys_as_it_has_attempts(
    serve: Serve, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams_module, "_FIRST_WAIT_S", 30.0)  # no newer stream comes in time
    begun = counted(monkeypatch, IdentityVerifier, "begin_session")
    peer = await serve(Unary=echo)
    await until(lambda: len(begun) == MOST_ATTEMPTS)
    replace_keys(keys, "pem", "pub")

    with acting_as(IDENTITY):
        assert await peer.Unary(b"a") == b"a"
