"""What is new where calls share streams: who goes where, and what stays apart."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from contract.common.peer import IDENTITY, SERVICE, Serve, Stuck, all_of, echo, metric, sent, until
from flotilla_common.errors import NotFoundError
from flotilla_common.request import acting_as
from flotilla_common.rpc.guard import map_rpc_errors
from flotilla_common.rpc.multiplex.bounds import LARGEST_PIECE, MOST_CALLS

pytestmark = pytest.mark.parametrize("transport", ["shared"], indirect=True)


def calls_in_memory() -> list[Any]:
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing).__name__ in ("UnaryCall", "ServedStreamCall")]


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
    await until(lambda: not calls_in_memory())


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
        async with asyncio.timeout(20):
            assert await peer.Unary(b"a") == b"a"
            assert await sleeping.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert await peer.Unary(b"b") == b"b"


async def test_trailing_metadata_travels_with_an_answer(serve: Serve) -> None:
    async def answer(request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("note", "hello"), ("note-bin", b"\xff")))
        return b"answer"

    peer = await serve(Unary=answer)

    with acting_as(IDENTITY):
        call = peer.Unary(b"")
        assert await call == b"answer"
    assert dict(await call.trailing_metadata()) == {"note": "hello", "note-bin": b"\xff"}
