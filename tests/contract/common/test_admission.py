"""Who is let in, and what a method knows about its request."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from contract.common.peer import IDENTITY, SERVICE, Serve, Transport, all_of, bare_channel
from flotilla_common.identity import Identity, IdentitySigner, generate_key_pair
from flotilla_common.request import acting_as, current_identity, current_request
from grpc.aio import AioRpcError
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

UNARY = f"/{SERVICE}/Unary"
STREAM = f"/{SERVICE}/Stream"


async def whoami(request: bytes, context: Any) -> bytes:
    return str(current_identity().user_id).encode()


async def watch_whoami(request: bytes, context: Any) -> AsyncIterator[bytes]:
    yield str(current_identity().user_id).encode()
    yield str(current_identity().user_id).encode()


async def code_of(transport: Transport, port: int, token: str | None, *, stream: bool) -> grpc.StatusCode:
    metadata = (("x-flotilla-identity", token),) if token is not None else ()
    async with transport.bare(port) as channel:
        if stream:
            answering = all_of(channel.unary_stream(STREAM)(b"", metadata=metadata))
        else:
            answering = channel.unary_unary(UNARY)(b"", metadata=metadata)
        with pytest.raises(AioRpcError) as caught:
            await answering
    return caught.value.code()


def expired(signer: IdentitySigner, monkeypatch: pytest.MonkeyPatch) -> str:
    now = time.time()
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: now - 120)
        return signer.sign(IDENTITY, audience="memory")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fault", ["missing", "empty", "spoofed", "expired", "wrong audience", "wrong issuer", "another's key"]
)
async def test_caller_without_a_good_token_is_unauthenticated(
    serve: Serve,
    transport: Transport,
    keys: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    stream: bool,
) -> None:
    peer = await serve(Unary=whoami, Stream=watch_whoami)
    signer = IdentitySigner("gateway", keys / "gateway.pem")
    generate_key_pair(tmp_path / "forged.pem", tmp_path / "forged.pub")
    tokens = {
        "missing": None,
        "empty": "",
        "spoofed": f'{{"tenant":"{uuid4()}"}}',
        "expired": expired(IdentitySigner("gateway", keys / "gateway.pem"), monkeypatch),
        "wrong audience": signer.sign(IDENTITY, audience="tool"),
        "wrong issuer": IdentitySigner("orchestrator", keys / "gateway.pem").sign(IDENTITY, audience="memory"),
        "another's key": IdentitySigner("gateway", tmp_path / "forged.pem").sign(IDENTITY, audience="memory"),
    }

    code = await code_of(transport, peer.server.port, tokens[fault], stream=stream)

    assert code is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("key", ["x-tenant-id", "tenant_id", "x-user-id", "authorization"])
async def test_other_metadata_says_nothing_about_identity(serve: Serve, key: str) -> None:
    peer = await serve(Unary=whoami)

    with acting_as(IDENTITY):
        answer = await peer.Unary(b"", metadata=((key, str(uuid4())),))

    assert answer == str(IDENTITY.user_id).encode()


@pytest.mark.parametrize("issuer", ["gateway", "orchestrator"])
async def test_method_knows_whom_it_serves(serve: Serve, transport: Transport, keys: Path, issuer: str) -> None:
    peer = await serve(Unary=whoami, Stream=watch_whoami)
    token = IdentitySigner(issuer, keys / f"{issuer}.pem").sign(IDENTITY, audience="memory")
    expected = str(IDENTITY.user_id).encode()

    async with transport.bare(peer.server.port) as channel:
        metadata = (("x-flotilla-identity", token),)
        assert await channel.unary_unary(UNARY)(b"", metadata=metadata) == expected
        answers = await all_of(channel.unary_stream(STREAM)(b"", metadata=metadata))

    assert answers == [expected, expected]


async def test_concurrent_calls_do_not_see_each_others_identity(serve: Serve) -> None:
    import asyncio

    peer = await serve(Stream=watch_whoami)

    async def ask(identity: Identity) -> bool:
        with acting_as(identity):
            answers = [answer async for answer in peer.Stream(b"")]
        return answers == [str(identity.user_id).encode()] * 2

    results = await asyncio.gather(*(ask(Identity(uuid4(), uuid4())) for _ in range(50)))

    assert all(results)


async def test_request_travels_with_its_ids_and_its_deadline(serve: Serve) -> None:
    async def answer(request: bytes, context: Any) -> bytes:
        seen = current_request()
        remaining_s = seen.remaining_s()
        assert remaining_s is not None
        return f"{seen.request_id} {seen.idempotency_key} {0 < remaining_s <= 5}".encode()

    peer = await serve(Unary=answer)

    with acting_as(IDENTITY, request_id="r-1", idempotency_key="k-1", deadline=time.monotonic() + 5):
        assert await peer.Unary(b"") == b"r-1 k-1 True"


async def test_scopes_and_run_travel(serve: Serve) -> None:
    async def answer(request: bytes, context: Any) -> bytes:
        return repr(current_identity() == acting).encode()

    acting = Identity(uuid4(), uuid4(), remembers=False, scopes=frozenset({"admin"}), run_id=uuid4())
    peer = await serve(Unary=answer)

    with acting_as(acting):
        assert await peer.Unary(b"") == b"True"


@pytest.mark.parametrize("app_env", ["test", "production"])
async def test_health_needs_no_identity(serve: Serve, app_env: str) -> None:
    peer = await serve(Unary=whoami, app_env=app_env)

    async with bare_channel(peer.server.port) as channel:
        stub: Any = HealthStub(channel)
        answer = await stub.Check(HealthCheckRequest(service=SERVICE))

    assert answer.status == HealthCheckResponse.SERVING


async def test_reflection_names_the_services(serve: Serve) -> None:
    peer = await serve(Unary=whoami, app_env="test")

    assert SERVICE in await reflected(peer.server.port)


async def test_reflection_is_not_there_in_production(serve: Serve) -> None:
    peer = await serve(Unary=whoami, app_env="production")

    with pytest.raises(AioRpcError) as caught:
        await reflected(peer.server.port)

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def reflected(port: int) -> list[str]:
    async with bare_channel(port) as channel:
        stub: Any = ServerReflectionStub(channel)
        answers = await all_of(stub.ServerReflectionInfo(iter([ServerReflectionRequest(list_services="")])))
    return [service.name for answer in answers for service in answer.list_services_response.service]


async def test_unknown_method_is_unimplemented(serve: Serve) -> None:
    peer = await serve(Unary=whoami)

    nothing: Any = peer.channel.unary_unary(f"/{SERVICE}/Nothing")

    with acting_as(IDENTITY), pytest.raises(AioRpcError) as caught:
        await nothing(b"")

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
