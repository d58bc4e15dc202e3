"""What a method raises, as its caller sees it: for all kinds of methods, through guard and details."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from contract.common.peer import IDENTITY, Peer, Serve, Transport, until
from flotilla_common import errors
from flotilla_common.errors import FlotillaError
from flotilla_common.request import acting_as
from flotilla_common.rpc.guard import map_rpc_errors
from grpc.aio import AioRpcError


async def call(peer: Peer, kind: str) -> list[bytes]:
    """Calls a method of any kind and returns all its answers."""

    async def requests() -> AsyncIterator[bytes]:
        yield b"a"

    with acting_as(IDENTITY):
        if kind == "Unary":
            return [await peer.Unary(b"a")]
        if kind == "Collect":
            return [await peer.Collect(requests())]
        answers = peer.Stream(b"a") if kind == "Stream" else peer.Talk(requests())
        return [answer async for answer in answers]


def behavior(kind: str, error: Exception, *, written: bool = False) -> Any:
    """Returns a method that answers once, if it streams, and then raises."""

    async def once(request: Any, context: Any) -> bytes:
        raise error

    async def writes(request: Any, context: Any) -> None:
        await context.write(b"1")
        raise error

    async def yields(request: Any, context: Any) -> AsyncIterator[bytes]:
        yield b"1"
        raise error

    if kind in ("Unary", "Collect"):
        return once
    return writes if written else yields


KINDS = [("Unary", False), ("Collect", False), ("Stream", False), ("Stream", True), ("Talk", False), ("Talk", True)]


@pytest.mark.parametrize(("kind", "written"), KINDS)
async def test_error_arrives_as_itself(serve: Serve, kind: str, written: bool) -> None:
    error = errors.AbortedError("the thread is busy", reason="thread_busy", field="thread_id", retry_after_s=2.5)
    peer = await serve(**{kind: behavior(kind, error, written=written)})

    with pytest.raises(errors.AbortedError) as caught, map_rpc_errors("memory"):
        await call(peer, kind)

    found = caught.value
    assert (found.message, found.reason, found.field, found.retry_after_s) == (
        "the thread is busy", "thread_busy", "thread_id", 2.5,
    )  # fmt: skip


@pytest.mark.parametrize(
    "kind", [kind for kind in FlotillaError.__subclasses__() if kind.__module__ == FlotillaError.__module__]
)
async def test_each_error_class_arrives_as_itself(serve: Serve, kind: type[FlotillaError]) -> None:
    peer = await serve(Unary=behavior("Unary", kind("why")))

    with pytest.raises(kind, match="why"), map_rpc_errors("memory"):
        await call(peer, "Unary")


@pytest.mark.parametrize(("kind", "written"), KINDS)
async def test_unexpected_error_shows_nothing(
    serve: Serve, kind: str, written: bool, caplog: pytest.LogCaptureFixture
) -> None:
    peer = await serve(**{kind: behavior(kind, RuntimeError("password is hunter2"), written=written)})

    with pytest.raises(AioRpcError) as caught:
        await call(peer, kind)

    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INTERNAL, "internal error")
    assert "hunter2" not in str(caught.value) + str(caught.value.trailing_metadata())
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert "hunter2" in str(record.exc_info[1])
    assert record.__dict__["error_id"]


async def test_callers_fault_is_logged_at_info_without_traceback(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    peer = await serve(Unary=behavior("Unary", errors.NotFoundError("no such thread", reason="thread_unknown")))

    with pytest.raises(AioRpcError):
        await call(peer, "Unary")

    def lines() -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.name == "flotilla.access"]

    await until(lambda: bool(lines()))
    (record,) = lines()
    assert (record.levelno, record.exc_info) == (logging.INFO, None)
    assert (record.__dict__["code"], record.__dict__["reason"]) == ("NOT_FOUND", "thread_unknown")
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_our_own_internal_error_is_logged_with_traceback(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    peer = await serve(Unary=behavior("Unary", errors.InternalError("the ledger does not add up")))

    with pytest.raises(AioRpcError):
        await call(peer, "Unary")

    assert [record.exc_info is not None for record in caplog.records if record.levelno == logging.ERROR] == [True]


async def test_abort_by_the_method_itself_is_left_as_it_is(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async def abort(request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.OUT_OF_RANGE, "too far")
        return b""

    peer = await serve(Unary=abort)

    with pytest.raises(AioRpcError) as caught:
        await call(peer, "Unary")

    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.OUT_OF_RANGE, "too far")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("kind", ["Unary", "Stream"])
async def test_message_over_four_megabytes_is_refused(serve: Serve, kind: str) -> None:
    async def once(request: bytes, context: Any) -> bytes:
        return b"x" * (4 * 1024 * 1024 + 1)

    async def yields(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"x" * (4 * 1024 * 1024 + 1)

    peer = await serve(**{kind: once if kind == "Unary" else yields})

    with pytest.raises(errors.ResourceExhaustedError) as caught, map_rpc_errors("memory"):
        await call(peer, kind)

    assert caught.value.message == "the message to or from memory is too large"


async def test_request_over_four_megabytes_is_refused(serve: Serve) -> None:
    peer = await serve(Unary=behavior("Unary", errors.InternalError("never reached")))

    with pytest.raises(errors.ResourceExhaustedError), map_rpc_errors("memory"), acting_as(IDENTITY):
        await peer.Unary(b"x" * (4 * 1024 * 1024 + 1))


async def test_peer_that_is_away_is_unavailable_and_its_address_stays_ours(transport: Transport) -> None:
    def call_of(channel: Any) -> Any:
        return channel.unary_unary("/a.B/C")

    async with transport.open("127.0.0.1:1", None) as channel:
        with pytest.raises(errors.UnavailableError) as caught, map_rpc_errors("memory"):
            await call_of(channel)(b"", timeout=5)

    assert (caught.value.message, caught.value.reason) == ("memory is unavailable", "memory_unavailable")
    assert "127.0.0.1" not in json.dumps([caught.value.message, caught.value.reason])
