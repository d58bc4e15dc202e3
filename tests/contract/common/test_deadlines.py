"""Deadlines and cancellation: who ends a call, and what the method notices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from contract.common.peer import IDENTITY, SERVICE, Serve, Transport, all_of, metric, until
from flotilla_common import errors
from flotilla_common.request import acting_as
from flotilla_common.rpc.guard import map_rpc_errors
from grpc.aio import AioRpcError


class Endless:
    """Methods that never answer by themselves, and what becomes of them."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.cancelled = False

    async def unary(self, request: bytes, context: Any) -> bytes:
        return await self._forever()

    async def stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"1"
        await self._forever()

    async def _forever(self) -> bytes:
        self.started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        finally:
            self.ended.set()
        return b""


def handled(method: str, code: str) -> float:
    return metric("flotilla_rpc_handled_total", service=SERVICE, method=method, code=code)


def abandoned(method: str) -> float:
    """Returns how many calls ended unanswered; both ends have a clock, and the first to run out says as what."""
    return handled(method, "DEADLINE_EXCEEDED") + handled(method, "CANCELLED")


async def metadata_of(peer: Any, signer: Any) -> tuple[tuple[str, str], ...]:
    return (("x-flotilla-identity", signer.sign(IDENTITY, audience="memory")),)


async def test_call_without_a_deadline_gets_the_usual_one(serve: Serve, transport: Transport, signer: Any) -> None:
    endless = Endless()
    peer = await serve(Unary=endless.unary, default_timeout_s=0.2)

    async with transport.bare(peer.server.port) as channel:
        with pytest.raises(AioRpcError) as caught:
            await channel.unary_unary(f"/{SERVICE}/Unary")(b"", metadata=await metadata_of(peer, signer))

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert endless.cancelled


async def test_stream_without_a_deadline_has_none(serve: Serve) -> None:
    async def slow(request: bytes, context: Any) -> AsyncIterator[bytes]:
        await asyncio.sleep(0.5)
        yield b"1"

    peer = await serve(Stream=slow, default_timeout_s=0.1)

    with acting_as(IDENTITY):
        assert [answer async for answer in peer.Stream(b"")] == [b"1"]


async def test_timeout_inside_a_method_is_not_taken_for_the_deadline(
    serve: Serve, transport: Transport, signer: Any
) -> None:
    async def impatient(request: bytes, context: Any) -> bytes:
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()
        return b""

    peer = await serve(Unary=impatient)

    async with transport.bare(peer.server.port) as channel:
        with pytest.raises(AioRpcError) as caught:
            await channel.unary_unary(f"/{SERVICE}/Unary")(b"", metadata=await metadata_of(peer, signer))

    assert caught.value.code() is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize("kind", ["Unary", "Stream"])
async def test_passed_deadline_ends_the_method(serve: Serve, kind: str) -> None:
    endless = Endless()
    peer = await serve(Unary=endless.unary, Stream=endless.stream)
    before = abandoned(kind)

    with acting_as(IDENTITY, deadline=time.monotonic() + 1):
        answering = peer.Unary(b"") if kind == "Unary" else all_of(peer.Stream(b""))
        with pytest.raises(errors.DeadlineExceededError) as caught, map_rpc_errors("memory"):
            await answering

    assert caught.value.message == "memory did not answer in time"
    async with asyncio.timeout(10):
        await endless.ended.wait()
    assert endless.cancelled
    await until(lambda: abandoned(kind) == before + 1)


@pytest.mark.parametrize("kind", ["Unary", "Stream"])
async def test_caller_that_cancels_ends_the_method(serve: Serve, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    endless = Endless()
    peer = await serve(Unary=endless.unary, Stream=endless.stream)
    before = handled(kind, "CANCELLED")

    with acting_as(IDENTITY):
        call = peer.Unary(b"") if kind == "Unary" else peer.Stream(b"")
        if kind == "Stream":
            await call.read()
        await endless.started.wait()
        call.cancel()

    async with asyncio.timeout(10):
        await endless.ended.wait()
    assert endless.cancelled
    await until(lambda: handled(kind, "CANCELLED") == before + 1)
    await until(lambda: peer.server.lifecycle.work.in_flight == 0)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_writer_whose_reader_is_gone_is_no_error_of_ours(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    ended = asyncio.Event()

    async def flood(request: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
        finally:
            ended.set()

    peer = await serve(Stream=flood)
    before = handled("Stream", "CANCELLED")

    with acting_as(IDENTITY):
        call = peer.Stream(b"")
        await call.read()
        call.cancel()

    async with asyncio.timeout(10):
        await ended.wait()
    await until(lambda: handled("Stream", "CANCELLED") == before + 1)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_write_after_the_reader_is_gone_is_no_error_of_ours(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def write_to_the_end(request: bytes, context: Any) -> None:
        await context.write(b"1")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await context.write(b"2")

    peer = await serve(Stream=write_to_the_end)
    before = handled("Stream", "CANCELLED")

    with acting_as(IDENTITY):
        call = peer.Stream(b"")
        await call.read()
        call.cancel()

    await until(lambda: handled("Stream", "CANCELLED") == before + 1)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_call_inside_a_request_gets_no_more_time_than_the_request_has(serve: Serve) -> None:
    async def remaining(request: bytes, context: Any) -> bytes:
        return str(context.time_remaining()).encode()

    peer = await serve(Unary=remaining)

    with acting_as(IDENTITY, deadline=time.monotonic() + 3):
        assert float(await peer.Unary(b"")) <= 3.2
        assert float(await peer.Unary(b"", timeout=60)) <= 3.2
        assert float(await peer.Unary(b"", timeout=1)) <= 1.2
    with acting_as(IDENTITY):
        assert 5 < float(await peer.Unary(b"")) <= 10.2
