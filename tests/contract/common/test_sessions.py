"""Streams with a session as callers see them: who is served, and what replaced keys do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from contract.common.peer import IDENTITY, SERVICE, Roll, Serve, all_of, echo, metric, sent, until
from fakes.keys import make_keys, replace_keys
from flotilla_common.identity import (
    Identity,
    IdentitySigner,
    IdentityVerifier,
)
from flotilla_common.request import acting_as
from flotilla_common.rpc.multiplex import streams as streams_module
from flotilla_common.rpc.multiplex.server_stream import ServedStreams
from flotilla_common.rpc.multiplex.streams import STREAMS_PER_SERVER
from flotilla_common.rpc.policy import MOST_ATTEMPTS
from grpc import StatusCode
from grpc.aio import AioRpcError

pytestmark = pytest.mark.parametrize("transport", ["shared"], indirect=True)
UNARY, STREAM = f"/{SERVICE}/Unary", f"/{SERVICE}/Stream"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Keys of each test's own, so that it may replace them."""
    return make_keys(tmp_path)


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
