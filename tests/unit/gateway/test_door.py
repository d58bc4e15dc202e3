"""Work that is done while a limit is asked: what a caller hears when both go wrong."""

from __future__ import annotations

import asyncio

import pytest
from fakes.gateway import knock, open_door
from flotilla_common.errors import InvalidArgumentError, ResourceExhaustedError
from flotilla_gateway.model import Scope
from flotilla_gateway.wires.door import Door


@pytest.fixture
async def spent() -> Door:
    """A door whose limit the caller has used up."""
    door = open_door(requests_per_minute=1)
    await door.admit(knock(), Scope.CHAT)
    return door


async def work(door: Door, error: Exception) -> None:
    """Fails at something while the limit is asked."""
    async with door.admitting(knock(), Scope.CHAT):
        raise error


async def test_spent_limit_is_told_before_what_is_wrong_with_the_request(spent: Door) -> None:
    with pytest.raises(ResourceExhaustedError):
        await work(spent, InvalidArgumentError("no"))


async def test_what_is_wrong_with_the_request_is_told_with_the_limits_headers() -> None:
    scope = knock()

    with pytest.raises(InvalidArgumentError):
        async with open_door(requests_per_minute=1).admitting(scope, Scope.CHAT):
            raise InvalidArgumentError("no")

    assert (b"x-ratelimit-remaining-requests", b"0") in scope["state"]["reply_headers"]


async def test_defect_stays_one_when_the_limit_is_spent(spent: Door) -> None:
    with pytest.raises(ZeroDivisionError):
        await work(spent, ZeroDivisionError())


async def test_cancellation_stays_one_when_the_limit_is_spent(spent: Door) -> None:
    async def wait() -> None:
        async with spent.admitting(knock(), Scope.CHAT):
            waits.set()
            await asyncio.Event().wait()

    waits = asyncio.Event()
    task = asyncio.create_task(wait())
    await waits.wait()

    task.cancel()
    await asyncio.wait((task,))

    assert task.cancelled()
