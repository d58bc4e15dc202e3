"""Balancing, health checks and retries, between real servers."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from contract.common.peer import IDENTITY, SERVICE, Peer, Serve, Transport, all_of, bare_channel, settings, until
from flotilla_common.errors import UnavailableError
from flotilla_common.identity import IdentitySigner
from flotilla_common.request import acting_as
from flotilla_common.rpc.guard import map_rpc_errors
from flotilla_common.serve import open_server
from grpc.aio import AioRpcError
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub


def named(name: str) -> Any:
    async def answer(request: bytes, context: Any) -> bytes:
        return name.encode()

    return answer


def both(*peers: Peer) -> str:
    return ",".join(f"127.0.0.1:{peer.server.port}" for peer in peers)


async def ask(channel: Any, times: int) -> Counter[bytes]:
    unary = channel.unary_unary(f"/{SERVICE}/Unary")
    with acting_as(IDENTITY):
        return Counter([await unary(b"") for _ in range(times)])


async def until_both_answer(channel: Any) -> None:
    async with asyncio.timeout(10):
        while len(await ask(channel, 2)) < 2:
            pass


async def test_calls_are_spread_over_all_targets(serve: Serve, transport: Transport, signer: IdentitySigner) -> None:
    one, two = await serve(Unary=named("one")), await serve(Unary=named("two"))

    async with transport.open(both(one, two), signer) as channel:
        await transport.settle(channel)
        await until_both_answer(channel)
        answers = await ask(channel, 20)

    assert answers == {b"one": 10, b"two": 10}


async def test_backend_that_is_not_serving_gets_no_calls_and_none_fails(
    serve: Serve, transport: Transport, signer: IdentitySigner
) -> None:
    one, two = await serve(Unary=named("one")), await serve(Unary=named("two"))

    async with transport.open(both(one, two), signer) as channel:
        await transport.settle(channel)
        await until_both_answer(channel)
        await one.server.health.set_serving(False)
        async with asyncio.timeout(10):
            while b"one" in await ask(channel, 2):
                pass

        assert await ask(channel, 20) == {b"two": 20}

        await one.server.health.set_serving(True)
        await until_both_answer(channel)


async def test_unavailable_answer_is_tried_again(serve: Serve) -> None:
    attempts = 0

    async def third_time(request: bytes, context: Any) -> bytes:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise UnavailableError("not yet")
        return b"now"

    peer = await serve(Unary=third_time)

    with acting_as(IDENTITY):
        assert await peer.Unary(b"") == b"now"
    assert attempts == 3


async def test_unavailable_answer_is_given_up_after_four_attempts(serve: Serve) -> None:
    attempts = 0

    async def never(request: bytes, context: Any) -> bytes:
        nonlocal attempts
        attempts += 1
        raise UnavailableError("away", reason="database_unavailable")

    peer = await serve(Unary=never)

    with acting_as(IDENTITY), pytest.raises(UnavailableError) as caught, map_rpc_errors("memory"):
        await peer.Unary(b"")

    assert (attempts, caught.value.reason) == (4, "database_unavailable")


async def test_restarted_peer_is_found_again(transport: Transport, keys: Path, signer: IdentitySigner) -> None:
    def register(server: grpc.aio.Server) -> None:
        handler: Any = grpc.unary_unary_rpc_method_handler(named("here"))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Unary": handler}),))

    def server_on(port: int) -> Any:
        given = settings(keys, grpc_port=port)
        return open_server(given, service_name="memory", full_service_names=[SERVICE], register=register)

    async with AsyncExitStack() as stack:
        async with server_on(0) as first:
            address = f"127.0.0.1:{first.port}"
            channel = await stack.enter_async_context(transport.open(address, signer))
            await transport.settle(channel)
            assert await ask(channel, 1)
        with pytest.raises(AioRpcError):
            await ask(channel, 1)
        await stack.enter_async_context(server_on(first.port))

        async with asyncio.timeout(10):
            while not await answers(channel):  # noqa: ASYNC110 - the server sends no event
                await asyncio.sleep(0.05)


async def answers(channel: Any) -> bool:
    try:
        return await ask(channel, 1) == {b"here": 1}
    except AioRpcError as exc:
        if exc.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return False


async def test_metadata_that_the_caller_gives_is_kept(serve: Serve) -> None:
    async def key(request: bytes, context: Any) -> bytes:
        return str(dict(context.invocation_metadata())["idempotency-key"]).encode()

    peer = await serve(Unary=key)

    with acting_as(IDENTITY, idempotency_key="of the request"):
        assert await peer.Unary(b"") == b"of the request"
        assert await peer.Unary(b"", metadata=(("idempotency-key", "of the call"),)) == b"of the call"


async def test_request_streams_carry_identity_too(serve: Serve) -> None:
    async def count(requests: Any, context: Any) -> bytes:
        return str(len(await all_of(requests))).encode()

    async def echo(requests: Any, context: Any) -> Any:
        async for request in requests:
            yield request

    peer = await serve(Collect=count, Talk=echo)

    with acting_as(IDENTITY):
        assert await peer.Collect(iter([b"a", b"b"])) == b"2"
        assert await all_of(peer.Talk(iter([b"a", b"b"]))) == [b"a", b"b"]


async def test_health_is_one_map_on_both_ports(serve: Serve) -> None:
    peer = await serve(Unary=named("one"))

    async def statuses() -> set[int]:
        found = set()
        for port in (peer.server.port, peer.server.health_port):
            async with bare_channel(port) as channel:
                stub: Any = HealthStub(channel)
                for name in ("", "memory", SERVICE):
                    found.add((await stub.Check(HealthCheckRequest(service=name))).status)
        return found

    assert await statuses() == {1}
    await peer.server.health.set_serving(False)
    assert await statuses() == {2}


async def test_health_port_serves_health_only(serve: Serve) -> None:
    peer = await serve(Unary=named("one"))

    async with bare_channel(peer.server.health_port) as channel:
        with pytest.raises(AioRpcError) as caught:
            await channel.unary_unary(f"/{SERVICE}/Unary")(b"")

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_watchers_of_health_do_not_count_as_work(serve: Serve, signer: IdentitySigner) -> None:
    peer = await serve(Unary=named("one"))

    await ask(peer.channel, 1)

    await until(lambda: peer.server.lifecycle.work.in_flight == 0)
    async with asyncio.timeout(10):
        assert await peer.server.lifecycle.drain()


async def test_draining_server_says_goodbye_and_ends_its_calls(serve: Serve) -> None:
    may_end = asyncio.Event()

    async def slow(request: bytes, context: Any) -> bytes:
        await may_end.wait()
        return b"done"

    peer = await serve(Unary=slow)
    call = asyncio.create_task(ask(peer.channel, 1))
    await until(lambda: peer.server.lifecycle.work.in_flight == 1)
    async with bare_channel(peer.server.port) as other:
        stub: Any = HealthStub(other)
        await stub.Check(HealthCheckRequest())
        draining = asyncio.create_task(peer.server.lifecycle.drain())

        await until(lambda: other.get_state() is not grpc.ChannelConnectivity.READY)

    assert not draining.done()
    may_end.set()
    assert await call == {b"done": 1}
    assert await draining


async def test_grpc_still_knows_what_is_switched_off() -> None:
    open_one = "import flotilla_common.rpc, grpc; grpc.insecure_channel('127.0.0.1:1').close()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", open_one, env={"PATH": ""}, stderr=asyncio.subprocess.PIPE
    )

    _, errors = await process.communicate()

    assert (process.returncode, errors.decode()) == (0, "")
